/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/process.h"

#include "shard/post.h"
#include "shard/shard.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define ENTROPY_SIZE   64U
#define SNAPSHOT_TRIES 200 /* of 10 ms */
/* Pairs grow with the square of the shards; so that the sum stays bounded, each gets less then. */
#define MAILBOX_SLOTS_MAX    (1U << 22)
#define MAILBOX_CAPACITY_MIN 64U

struct process {
    struct fabric     fabric;
    struct shard     *shards;
    uint16_t          listeners_open;
    uint16_t          threads;
    sem_t             opened; /* a shard has opened, or failed to */
    sem_t             go;     /* posted once for each: run, or end, as `run` says */
    pthread_barrier_t left;   /* all shards have left their loops: rings may be closed */
    bool              run;
    _Atomic uint32_t  ended;
};

struct thread_start {
    struct process *process;
    uint16_t        number;
};

static int fail(char *why, size_t room, const char *what, int status)
{
    snprintf(why, room, "cannot %s: %s", what, strerror(-status));
    return status;
}

/* --- one thread a shard --- */

static void *shard_main(void *argument)
{
    struct thread_start *start = argument;
    struct process      *process = start->process;
    struct shard        *shard = &process->shards[start->number];

    shard->start_status = shard_open(shard, &process->fabric, start->number);
    free(start);
    sem_post(&process->opened);
    while (sem_wait(&process->go) != 0)
        ;

    if (shard->start_status == 0) {
        if (process->run) {
            shard_run(shard);
            pthread_barrier_wait(&process->left); /* until then siblings may wake its ring */
        }
        shard_close(shard);
    }
    atomic_fetch_add(&process->ended, 1);
    return NULL;
}

static int start_thread(struct process *process, uint16_t number)
{
    struct thread_start *start = malloc(sizeof(*start));
    if (start == NULL)
        return -ENOMEM;
    *start = (struct thread_start){process, number};

    int status = -pthread_create(&process->shards[number].thread, NULL, shard_main, start);
    if (status < 0)
        free(start);
    else
        process->threads++;
    return status;
}

/* Joins the threads, which were told to end, and frees what the shards hold. */
static void join_threads(struct process *process)
{
    for (uint16_t i = 0; i < process->threads; i++)
        pthread_join(process->shards[i].thread, NULL);
    post_drop_all(&process->fabric);
    for (uint16_t i = 0; i < process->threads; i++) {
        if (process->shards[i].start_status == 0)
            shard_destroy(&process->shards[i]);
    }
}

/* All or none. */
static int start_threads(struct process *process, char *why, size_t room)
{
    int status = 0;
    for (uint16_t i = 0; status == 0 && i < process->fabric.shard_count; i++)
        status = start_thread(process, i);
    if (status < 0)
        fail(why, room, "start a thread", status);

    for (uint16_t i = 0; i < process->threads; i++) {
        while (sem_wait(&process->opened) != 0)
            ;
    }
    for (uint16_t i = 0; status == 0 && i < process->threads; i++) {
        status = process->shards[i].start_status;
        if (status < 0)
            snprintf(why, room, "%s", process->shards[i].start_error);
    }

    if (status == 0) {
        status = -pthread_barrier_init(&process->left, NULL, process->threads);
        if (status < 0)
            fail(why, room, "start", status);
    }
    process->run = status == 0;
    for (uint16_t i = 0; i < process->threads; i++)
        sem_post(&process->go);
    if (status < 0)
        join_threads(process);
    return status;
}

/* --- what they share --- */

static int open_mailboxes(struct fabric *fabric)
{
    uint32_t pairs = (uint32_t)fabric->shard_count * fabric->shard_count;
    uint32_t capacity = fabric->options->runtime.mailbox_capacity;
    while (capacity > MAILBOX_CAPACITY_MIN && (uint64_t)capacity * pairs > MAILBOX_SLOTS_MAX)
        capacity /= 2;

    fabric->mailboxes = aligned_alloc(CACHE_LINE, pairs * sizeof(*fabric->mailboxes));
    if (fabric->mailboxes == NULL)
        return -ENOMEM;
    memset(fabric->mailboxes, 0, pairs * sizeof(*fabric->mailboxes));

    int status = 0;
    for (uint32_t pair = 0; status == 0 && pair < pairs; pair++)
        status = mailbox_init(&fabric->mailboxes[pair], capacity);
    return status;
}

static void close_mailboxes(struct fabric *fabric)
{
    uint32_t pairs = (uint32_t)fabric->shard_count * fabric->shard_count;
    for (uint32_t pair = 0; fabric->mailboxes != NULL && pair < pairs; pair++)
        mailbox_fini(&fabric->mailboxes[pair]);
    free(fabric->mailboxes);
}

static int open_memory(struct process *process)
{
    struct fabric *fabric = &process->fabric;
    uint16_t       count = fabric->shard_count;

    process->shards = aligned_alloc(64, count * ((sizeof(struct shard) + 63) / 64 * 64));
    fabric->parkings = aligned_alloc(CACHE_LINE, count * sizeof(*fabric->parkings));
    fabric->rings = calloc(count, sizeof(*fabric->rings));
    fabric->events = calloc(count, sizeof(*fabric->events));
    fabric->snapshots = calloc(count, sizeof(*fabric->snapshots));
    if (process->shards == NULL || fabric->parkings == NULL || fabric->rings == NULL ||
        fabric->events == NULL || fabric->snapshots == NULL)
        return -ENOMEM;

    memset(process->shards, 0, count * sizeof(struct shard));
    memset(fabric->parkings, 0, count * sizeof(*fabric->parkings));
    return open_mailboxes(fabric);
}

static void close_memory(struct process *process)
{
    struct fabric *fabric = &process->fabric;

    close_mailboxes(fabric);
    free(fabric->snapshots);
    free(fabric->events);
    free(fabric->rings);
    free(fabric->parkings);
    free(process->shards);
}

/* The secret of homes and topic keys, and the table that all shards read. */
static int open_topics(struct fabric *fabric)
{
    uint8_t entropy[ENTROPY_SIZE];
    if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy))
        return -errno;
    topic_secret_init(&fabric->secret, entropy, sizeof(entropy));

    if (fabric->shard_count == 1)
        return 0;
    fabric->interest = interest_create(&fabric->secret, fabric->shard_count);
    return fabric->interest != NULL ? 0 : -ENOMEM;
}

static void close_topics(struct fabric *fabric)
{
    if (fabric->interest != NULL)
        interest_destroy(fabric->interest);
    explicit_bzero(&fabric->secret, sizeof(fabric->secret));
}

static void close_listeners(struct process *process)
{
    while (process->listeners_open > 0)
        listener_close(&process->fabric.listeners[--process->listeners_open]);
}

static int open_listeners(struct process *process, char *why, size_t room)
{
    struct fabric *fabric = &process->fabric;

    for (uint16_t i = 0; i < fabric->options->listener_count; i++) {
        int status = listener_open(&fabric->listeners[i], &fabric->options->listeners[i],
                                   fabric->shard_count, why, room);
        if (status < 0) {
            close_listeners(process);
            return status;
        }
        process->listeners_open++;
    }
    return 0;
}

static int decide(struct fabric *fabric, const struct options *options, char *why, size_t room)
{
    fabric->options = options;
    int status = placement_make(&fabric->placement, options, why, room);
    if (status < 0)
        return status;
    fabric->shard_count = fabric->placement.shard_count;
    gate_init(&fabric->gate, &options->limits);
    return features_probe(&fabric->features, why, room);
}

int process_start(struct process **started, const struct options *options, char *why, size_t room)
{
    struct process *process = aligned_alloc(CACHE_LINE, (sizeof(*process) + 63) / 64 * 64);
    if (process == NULL)
        return fail(why, room, "start", -ENOMEM);
    memset(process, 0, sizeof(*process));
    (void)sem_init(&process->opened, 0, 0);
    (void)sem_init(&process->go, 0, 0);

    int status = decide(&process->fabric, options, why, room);
    if (status < 0)
        goto free_process;
    status = open_memory(process);
    if (status < 0) {
        fail(why, room, "start", status);
        goto close_memory;
    }
    status = open_topics(&process->fabric);
    if (status < 0) {
        fail(why, room, "make the topic tables", status);
        goto close_memory;
    }
    status = open_listeners(process, why, room);
    if (status < 0)
        goto close_topics;
    status = start_threads(process, why, room);
    if (status < 0)
        goto close_listeners;

    *started = process;
    return 0;

close_listeners:
    close_listeners(process);
close_topics:
    close_topics(&process->fabric);
close_memory:
    close_memory(process);
free_process:
    sem_destroy(&process->go);
    sem_destroy(&process->opened);
    free(process);
    return status;
}

/* --- while they run --- */

static void wake_all(struct process *process)
{
    for (uint16_t i = 0; i < process->fabric.shard_count; i++)
        (void)eventfd_write(process->fabric.events[i], 1);
}

void process_stop(struct process *process, bool at_once)
{
    /* Nothing else is published with it; a shard looks at it every turn. */
    atomic_store_explicit(&process->fabric.stop, at_once ? STOP_AT_ONCE : STOP_ORDERLY,
                          memory_order_release);
    if (!process_has_ended(process))
        wake_all(process);
}

bool process_has_ended(struct process *process)
{
    return atomic_load(&process->ended) > 0;
}

void process_finish(struct process *process)
{
    join_threads(process);
    pthread_barrier_destroy(&process->left);
    close_listeners(process);
    close_topics(&process->fabric);
    close_memory(process);
    sem_destroy(&process->go);
    sem_destroy(&process->opened);
    free(process);
}

void process_print_statistics(struct process *process, FILE *out)
{
    struct fabric        *fabric = &process->fabric;
    const struct timespec pause = {.tv_nsec = 10000000};
    char                 *text = NULL;
    size_t                size = 0;

    atomic_store_explicit(&fabric->snapshots_taken, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&fabric->snapshot_wanted, 1, memory_order_release);
    wake_all(process);

    uint32_t taken = 0;
    for (int tries = 0; taken < fabric->shard_count && tries < SNAPSHOT_TRIES; tries++) {
        nanosleep(&pause, NULL);
        /* Pairs with the release in each shard: its copy is whole. */
        taken = atomic_load_explicit(&fabric->snapshots_taken, memory_order_acquire);
    }
    if (taken < fabric->shard_count) {
        fprintf(out, "only %u of %u shards answered within two seconds\n", taken,
                fabric->shard_count);
        return;
    }

    /* In memory first, then in one piece: other lines must not fall between. */
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return;
    loop_statistics_print(memory, fabric->snapshots, fabric->shard_count);
    (void)fclose(memory);
    (void)fwrite(text, 1, size, out);
    (void)fflush(out);
    free(text);
}

uint16_t process_port(const struct process *process, uint16_t listener)
{
    assert(listener < process->listeners_open);
    return process->fabric.listeners[listener].address.port;
}

uint64_t process_links_max(const struct process *process)
{
    const struct placement *placement = &process->fabric.placement;
    return process->fabric.features.send_file
               ? (uint64_t)placement->links_max * placement->shard_count
               : placement->links_max;
}

char *process_describe(const struct process *process, char *text, size_t room)
{
    const struct fabric *fabric = &process->fabric;
    char                 kernel[FEATURES_TEXT_SIZE];
    size_t               at = 0;

    for (uint16_t i = 0; i < process->listeners_open && at < room; i++) {
        char address[ADDRESS_TEXT_SIZE];
        at += (size_t)snprintf(
            text + at, room - at, "%s%s", i > 0 ? ", " : "listening on ",
            address_print(&fabric->listeners[i].address, address, sizeof(address)));
    }
    if (at < room)
        snprintf(text + at, room - at, "; %u shard%s on %u CPU%s; Linux %s with %s",
                 fabric->shard_count, fabric->shard_count == 1 ? "" : "s",
                 fabric->placement.cpu_count, fabric->placement.cpu_count == 1 ? "" : "s",
                 fabric->features.release,
                 features_print(&fabric->features, kernel, sizeof(kernel)));
    return text;
}
