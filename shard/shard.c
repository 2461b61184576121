/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/shard.h"

#include "shard/lifecycle.h"
#include "shard/post.h"
#include "shard/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define REAP_BATCH         64U
#define COMPLETIONS_A_TURN 4096U
#define ACCEPT_RETRY_MS    100U
#define PARCELS_WAIT_US    100U /* a sibling with a full mailbox is at work; look again soon */
#define STOP_TURN_US       2000U

#define WILLS_MS_MAX   200U
#define LINKS_MS_MAX   2000U
#define CLOSING_MS_MAX 1000U
#define LAST_MS_MAX    500U
#define QUIET_TURNS    3U

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* --- opening and closing --- */

static int explain(struct shard *shard, const char *what, int status)
{
    snprintf(shard->start_error, sizeof(shard->start_error), "shard %u cannot %s: %s",
             shard->number, what, strerror(-status));
    return status;
}

static int open_ring(struct shard *shard)
{
    const struct options_runtime *runtime = &shard->options->runtime;
    const struct features        *features = &shard->fabric->features;
    const struct ring_setup       setup = {
              .entries = runtime->ring_entries,
              .completion_entries = runtime->ring_entries * 4,
              .files = features->send_file ? shard->fabric->placement.files : 0,
              .min_wait = features->min_wait,
    };
    shard->sends_max = runtime->ring_entries * 2;
    return ring_open(&shard->ring, &setup);
}

static int open_buffers(struct shard *shard)
{
    const struct options_runtime *runtime = &shard->options->runtime;
    return ring_buffers_open(
        shard->ring, &(struct ring_buffers){.count = runtime->receive_buffers,
                                            .size = runtime->receive_buffer_size,
                                            .incremental = shard->fabric->features.incremental});
}

static int open_broker(struct shard *shard)
{
    struct fabric      *fabric = shard->fabric;
    struct broker_place place = {
        .shard = shard->number,
        .shard_count = fabric->shard_count,
        .secret = &fabric->secret,
        .interest = fabric->interest,
        .options = shard->options,
        .links_max = fabric->placement.links_max,
    };
    if (getrandom(&place.seed, sizeof(place.seed), 0) != (ssize_t)sizeof(place.seed))
        return -errno;
    shard->broker = broker_create(&place, shard->now_ms);
    return shard->broker != NULL ? 0 : -ENOMEM;
}

static int open_connections(struct shard *shard)
{
    uint32_t          slots = shard->fabric->placement.links_max + 1;
    struct slot_list *lists[] = {&shard->timed, &shard->dirty, &shard->ended, &shard->resumed};
    int               status = connections_init(&shard->connections, slots);
    for (size_t list = 0; status == 0 && list < sizeof(lists) / sizeof(lists[0]); list++)
        status = slot_list_init(lists[list], slots);
    return status;
}

static void close_connections(struct shard *shard)
{
    connections_fini(&shard->connections);
    slot_list_fini(&shard->timed);
    slot_list_fini(&shard->dirty);
    slot_list_fini(&shard->ended);
    slot_list_fini(&shard->resumed);
}

int shard_open(struct shard *shard, struct fabric *fabric, uint16_t number)
{
    shard->fabric = fabric;
    shard->options = fabric->options;
    shard->number = number;
    shard->now_ms = clock_ns() / 1000000;
    shard->timed_due_ms = UINT64_MAX;
    batching_init(&shard->batching, shard->options->runtime.batching,
                  shard->options->runtime.wait_max_us);

    if (shard->options->runtime.pin && placement_pin(&fabric->placement, number) < 0)
        log_direct(LOG_WARNING, "shard %u could not be pinned to its CPU", number);

    int status = open_ring(shard);
    if (status < 0)
        return explain(shard, "open its ring", status);
    status = open_buffers(shard);
    if (status < 0) {
        explain(shard, "register its receive buffers", status);
        goto close_ring;
    }
    shard->event = eventfd(0, EFD_CLOEXEC);
    if (shard->event < 0) {
        status = explain(shard, "open an eventfd", -errno);
        goto close_ring;
    }
    status = open_connections(shard);
    if (status < 0) {
        explain(shard, "make room for connections", status);
        goto close_connections;
    }
    status = open_broker(shard);
    if (status < 0) {
        explain(shard, "make its broker", status);
        goto close_connections;
    }

    log_init(&shard->log, shard->ring, token_of(OPERATION_LOG, 0, 0), number,
             (enum log_level)shard->options->log_level);
    fabric->rings[number] = ring_descriptor(shard->ring);
    fabric->events[number] = shard->event;
    return 0;

close_connections:
    close_connections(shard);
    close(shard->event);
close_ring:
    ring_close(shard->ring);
    return status;
}

void shard_close(struct shard *shard)
{
    ring_close(shard->ring);
    log_fini(&shard->log);
}

void shard_destroy(struct shard *shard)
{
    struct outbox *outboxes = broker_outboxes(shard->broker);
    for (uint16_t sibling = 0; sibling < shard->fabric->shard_count; sibling++) {
        for (struct parcel *parcel = outbox_peek(&outboxes[sibling]); parcel != NULL;
             parcel = outbox_peek(&outboxes[sibling])) {
            if (parcel->kind < PARCEL_CORE_COUNT)
                parcel_drop(parcel);
            else
                lifecycle_drop(parcel);
            outbox_pop(&outboxes[sibling]);
        }
    }
    close(shard->event); /* only now: others wake this shard by it until they have ended */
    transport_fini(shard);
    broker_destroy(shard->broker);
    close_connections(shard);
}

/* --- accepting --- */

static void arm_accept(struct shard *shard, uint16_t listener)
{
    shard->listeners[listener] = (struct shard_listener){.armed = true};
    ring_accept_many(shard->ring, token_of(OPERATION_ACCEPT, listener, 0),
                     shard->fabric->listeners[listener].descriptors[shard->number]);
}

static void stop_accepting(struct shard *shard)
{
    for (uint16_t i = 0; i < shard->options->listener_count; i++) {
        shard->listeners[i].retry_ms = 0;
        if (shard->listeners[i].armed)
            ring_cancel(shard->ring, token_of(OPERATION_NONE, 0, 0),
                        token_of(OPERATION_ACCEPT, i, 0));
    }
}

static void retry_accepts(struct shard *shard)
{
    for (uint16_t i = 0; i < shard->options->listener_count; i++) {
        struct shard_listener *listener = &shard->listeners[i];
        if (listener->retry_ms != 0 && listener->retry_ms <= shard->now_ms)
            arm_accept(shard, i);
    }
}

static void on_accept_failed(struct shard *shard, uint16_t listener, int status)
{
    /* These concern one peer that went away before it was accepted. */
    bool passing = status == -ECONNABORTED || status == -EINTR || status == -EAGAIN ||
                   status == -EPROTO || status == -ECANCELED;
    if (passing)
        return;
    shard->statistics.accept_pauses++;
    shard->listeners[listener].retry_ms = shard->now_ms + ACCEPT_RETRY_MS;
    if (!shard->accept_trouble_said)
        log_line(&shard->log, LOG_WARNING,
                 "cannot accept connections, tried again every %u ms: %s%s", ACCEPT_RETRY_MS,
                 strerror(-status),
                 status == -EMFILE || status == -ENFILE ? " (raise RLIMIT_NOFILE)" : "");
    shard->accept_trouble_said = true;
}

static void on_accept(struct shard *shard, const struct completion *completion)
{
    uint16_t listener = (uint16_t)token_slot(completion->token);

    if (completion->result >= 0) {
        const struct link_origin origin = {
            .listener = listener,
            .refuse = gate_enter(&shard->fabric->gate, shard->now_ms),
        };
        shard->statistics.accepted++;
        shard->accept_trouble_said = false;
        lifecycle_open(shard, &origin, (uint32_t)completion->result, NULL);
    } else {
        on_accept_failed(shard, listener, completion->result);
    }
    if (completion_continues(completion))
        return;
    shard->listeners[listener].armed = false;
    if (shard->stage == STAGE_RUNNING && shard->listeners[listener].retry_ms == 0)
        arm_accept(shard, listener);
}

/* --- a turn --- */

static void arm_event(struct shard *shard)
{
    ring_read(shard->ring, token_of(OPERATION_EVENT, 0, 0), shard->event, &shard->event_count,
              sizeof(shard->event_count));
}

/* An operation of a link: the link is there, because it waits for its operations. */
static void on_link_completion(struct shard *shard, const struct completion *completion)
{
    uint32_t slot = token_slot(completion->token);
    assert(slot < shard->slots_used);
    struct connection *connection = connections_at(&shard->connections, slot);
    assert(connection->life != LIFE_FREE && connection->life != LIFE_ENDED);
    assert(token_is_of(completion->token, connection->generation));

    switch (token_operation(completion->token)) {
    case OPERATION_RECEIVE_MANY:
    case OPERATION_RECEIVE_INTO:
        transport_on_receive(shard, slot, completion);
        break;
    case OPERATION_POLL:
        transport_on_poll(shard, slot);
        break;
    case OPERATION_SEND:
        transport_on_send(shard, slot, completion->result);
        break;
    case OPERATION_SEND_FILE:
        lifecycle_on_send_file(shard, slot, completion->result);
        break;
    case OPERATION_SHUTDOWN:
        connection->operations--;
        lifecycle_progress(shard, slot);
        break;
    case OPERATION_NONE:
    case OPERATION_ACCEPT:
    case OPERATION_EVENT:
    case OPERATION_WAKE:
    case OPERATION_WOKEN:
    case OPERATION_LOG:
    default:
        assert(false);
    }
}

static void on_completion(struct shard *shard, const struct completion *completion)
{
    switch (token_operation(completion->token)) {
    case OPERATION_RECEIVE_MANY:
    case OPERATION_RECEIVE_INTO:
    case OPERATION_POLL:
    case OPERATION_SEND:
    case OPERATION_SEND_FILE:
    case OPERATION_SHUTDOWN:
        on_link_completion(shard, completion);
        break;
    case OPERATION_ACCEPT:
        on_accept(shard, completion);
        break;
    case OPERATION_EVENT:
        arm_event(shard);
        break;
    case OPERATION_WAKE:
        post_on_wake_failed(shard, token_slot(completion->token));
        break;
    case OPERATION_LOG:
        log_written(&shard->log, completion->result);
        break;
    case OPERATION_NONE:
    case OPERATION_WOKEN:
    default:
        break;
    }
}

static void take_completions(struct shard *shard)
{
    struct completion batch[REAP_BATCH];
    uint32_t          taken = 0;

    while (taken < COMPLETIONS_A_TURN) {
        uint32_t count = ring_reap(shard->ring, batch, REAP_BATCH);
        for (uint32_t i = 0; i < count; i++)
            on_completion(shard, &batch[i]);
        taken += count;
        if (count < REAP_BATCH)
            break;
    }
    shard->statistics.completions += taken;
}

static void carry_out_effects(struct shard *shard)
{
    struct effects *effects = broker_effects(shard->broker);

    for (uint32_t i = 0; i < effects->log_count; i++)
        log_line(&shard->log, (enum log_level)effects->logs[i].level, "%s", effects->logs[i].text);
    log_suppressed(&shard->log, effects->logs_suppressed);

    for (uint32_t i = 0; i < effects->flush_count; i++) {
        if (connections_get(&shard->connections, effects->flush[i]) != NULL)
            transport_mark_dirty(shard, effects->flush[i].slot);
    }
    for (uint32_t i = 0; i < effects->order_count; i++)
        lifecycle_order(shard, &effects->orders[i]);
}

static void report(struct shard *shard)
{
    struct fabric           *fabric = shard->fabric;
    const struct statistics *broker = broker_statistics(shard->broker);

    gate_greeting(&fabric->gate, shard->greeting_said, broker->greeting);
    shard->greeting_said = broker->greeting;

    uint32_t wanted = atomic_load_explicit(&fabric->snapshot_wanted, memory_order_acquire);
    if (wanted == shard->snapshot_taken)
        return;
    shard->snapshot_taken = wanted;
    shard->statistics.links = shard->links;
    shard->statistics.active = batching_load(&shard->batching).active;
    fabric->snapshots[shard->number] =
        (struct shard_snapshot){.broker = *broker, .loop = shard->statistics};
    /* Publishes the copy; pairs with the acquire in the main thread. */
    atomic_fetch_add_explicit(&fabric->snapshots_taken, 1, memory_order_release);
}

/* --- stopping, step by step with the siblings --- */

static bool all_passed(struct shard *shard, enum stop_step step)
{
    return atomic_load_explicit(&shard->fabric->passed[step], memory_order_relaxed) >=
           shard->fabric->shard_count;
}

static void enter_stage(struct shard *shard, enum shard_stage stage, uint32_t ms_max)
{
    shard->stage = stage;
    shard->stage_due_ms = shard->now_ms + ms_max;
}

static void pass(struct shard *shard, enum stop_step step)
{
    atomic_fetch_add_explicit(&shard->fabric->passed[step], 1, memory_order_relaxed);
}

/* Between broker_begin_turn and broker_end_turn. */
static void move_towards_stop(struct shard *shard)
{
    int  stop = atomic_load_explicit(&shard->fabric->stop, memory_order_acquire);
    bool is_due = stop == STOP_AT_ONCE || shard->now_ms >= shard->stage_due_ms;

    switch (shard->stage) {
    case STAGE_RUNNING:
        if (stop == STOP_NOT)
            return;
        enter_stage(shard, STAGE_WILLS, WILLS_MS_MAX);
        stop_accepting(shard);
        broker_stop_wills(shard->broker);
        return;
    case STAGE_WILLS:
        shard->quiet_turns = shard->parcels_moved ? 0 : shard->quiet_turns + 1;
        shard->parcels_moved = false;
        if (shard->quiet_turns == QUIET_TURNS)
            pass(shard, STOP_STEP_WILLS);
        if (is_due || all_passed(shard, STOP_STEP_WILLS)) {
            broker_stop_links(shard->broker);
            enter_stage(shard, STAGE_LINKS, LINKS_MS_MAX);
        }
        return;
    case STAGE_LINKS:
        if (is_due || shard->links == 0) {
            lifecycle_end_all(shard);
            enter_stage(shard, STAGE_CLOSING, CLOSING_MS_MAX);
        }
        return;
    case STAGE_CLOSING:
        if (is_due || shard->links == 0) {
            pass(shard, STOP_STEP_CLOSED);
            enter_stage(shard, STAGE_LAST, LAST_MS_MAX);
        }
        return;
    case STAGE_LAST:
        if (is_due || all_passed(shard, STOP_STEP_CLOSED))
            shard->stage = STAGE_GONE;
        return;
    case STAGE_GONE:
        return;
    }
}

/* --- waiting --- */

static uint64_t until_us(const struct shard *shard, uint64_t due_ms)
{
    return due_ms == UINT64_MAX     ? RING_FOREVER
           : due_ms > shard->now_ms ? (due_ms - shard->now_ms) * 1000
                                    : 0;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t timeout_us(const struct shard *shard)
{
    uint64_t us = until_us(shard, broker_next_ms(shard->broker));
    us = sooner(us, until_us(shard, shard->timed_due_ms));
    for (uint16_t i = 0; i < shard->options->listener_count; i++) {
        if (shard->listeners[i].retry_ms != 0)
            us = sooner(us, until_us(shard, shard->listeners[i].retry_ms));
    }
    if (shard->parcels_wait)
        us = sooner(us, PARCELS_WAIT_US);
    if (shard->stage != STAGE_RUNNING)
        us = sooner(us, STOP_TURN_US);
    return us;
}

static void count_turn(struct shard *shard, const struct ring_wait *wait)
{
    struct loop_statistics *statistics = &shard->statistics;
    uint64_t                took_ns = clock_ns() - shard->turn_start_ns;

    statistics->turns++;
    statistics->turn_ns_total += took_ns;
    if (took_ns > statistics->turn_ns_max)
        statistics->turn_ns_max = took_ns;
    if (wait->count == 0)
        statistics->waits_none++;
    else if (wait->gather_us == 0)
        statistics->waits_one++;
    else
        statistics->waits_many++;
}

static void submit_and_wait(struct shard *shard, bool more)
{
    struct ring_wait wait = {.timeout_us = more ? 0 : timeout_us(shard)};
    struct parking  *parking = &shard->fabric->parkings[shard->number];

    if (wait.timeout_us > 0) {
        struct batching_wait gather = batching_decide(
            shard->batching.policy, shard->batching.wait_max_us, batching_load(&shard->batching));
        wait.count = gather.count;
        wait.gather_us = gather.gather_us;
        /* Sends complete at once; they are not what a shard waits for. */
        if (gather.gather_us > 0)
            wait.count += shard->sends_started;

        parking_enter(parking);
        if (post_has_parcels(shard))
            wait.count = 0;
    }
    count_turn(shard, &wait);
    int status = ring_submit(shard->ring, &wait);
    parking_leave(parking);
    if (status < 0 && status != -EAGAIN && status != -EBUSY && status != -EBADR)
        log_line(&shard->log, LOG_ERROR, "the ring refuses to work: %s", strerror(-status));
}

static void turn(struct shard *shard)
{
    shard->turn_start_ns = clock_ns();
    shard->now_ms = shard->turn_start_ns / 1000000;
    batching_tick(&shard->batching, shard->now_ms);

    broker_begin_turn(shard->broker, shard->now_ms);
    move_towards_stop(shard);
    lifecycle_present_resumed(shard);
    lifecycle_forget_ended(shard);
    take_completions(shard);
    post_receive(shard);
    bool more = broker_end_turn(shard->broker);

    post_send(shard);
    carry_out_effects(shard);
    more |= transport_flush_dirty(shard);
    broker_effects_done(shard->broker);

    lifecycle_scan(shard);
    retry_accepts(shard);
    report(shard);
    log_flush(&shard->log);
    more |= shard->parcels_left || shard->ended.count > 0 || shard->resumed.count > 0 ||
            ring_has_completions(shard->ring);
    submit_and_wait(shard, more);
}

void shard_run(struct shard *shard)
{
    arm_event(shard);
    for (uint16_t i = 0; i < shard->options->listener_count; i++)
        arm_accept(shard, i);
    while (shard->stage != STAGE_GONE)
        turn(shard);
}
