/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/bench.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define TURN_NS_MAX     100000000U /* a stall is noticed that late */
#define GOODBYE_NS      1000000000U
#define TALLY_TEXT_SIZE 192U

bool bench_fail(struct bench *bench, const char *format, ...)
{
    if (bench_failed(bench))
        return false;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(bench->failure, sizeof(bench->failure), format, arguments);
    va_end(arguments);
    return false;
}

bool bench_open(struct bench *bench, const struct options *options)
{
    *bench = (struct bench){.options = options};
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    if (inet_pton(AF_INET, options->host, &target.sin_addr) != 1)
        return bench_fail(bench, "%s is not an IPv4 address", options->host);
    if (getrandom(&bench->run, sizeof(bench->run), 0) < 0)
        return bench_fail(bench, "no random bytes to be had");
    /* The usual soft limit of 1,024 descriptors is for programs that use select. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Open loop: messages are due to the microsecond, and the default slack is 50. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);

    int status = engine_open(&bench->engine, &target, &client_handler);
    if (status < 0)
        return bench_fail(bench, "io_uring: %s", strerror(-status));
    bench_moved(bench);
    return true;
}

void bench_close(struct bench *bench)
{
    for (uint32_t index = 0; index < bench->client_count; index++)
        client_fini(bench->clients[index]);
    free(bench->clients);
    if (bench->engine.buffers != NULL)
        engine_close(&bench->engine);
}

bool bench_add(struct bench *bench, struct client *client)
{
    if ((bench->client_count & (bench->client_count - 1)) == 0) {
        size_t          capacity = bench->client_count > 0 ? 2U * (size_t)bench->client_count : 1;
        struct client **clients = realloc(bench->clients, capacity * sizeof(struct client *));
        if (clients == NULL)
            return bench_fail(bench, "out of memory");
        bench->clients = clients;
    }
    client->bench = bench;
    bench->clients[bench->client_count++] = client;
    return true;
}

/* What went wrong with messages, or an empty text. */
static void tally_describe(const struct tally *tally, char *text, size_t size)
{
    uint64_t wrong =
        tally->lost + tally->duplicated + tally->reordered + tally->misdelivered + tally->foreign;
    text[0] = '\0';
    if (wrong > 0)
        (void)snprintf(text, size,
                       "messages lost %" PRIu64 ", duplicated %" PRIu64 ", reordered %" PRIu64
                       ", delivered to the wrong client %" PRIu64 ", foreign or corrupt %" PRIu64,
                       tally->lost, tally->duplicated, tally->reordered, tally->misdelivered,
                       tally->foreign);
}

bool bench_check_tally(struct bench *bench)
{
    char wrong[TALLY_TEXT_SIZE];
    tally_describe(&bench->tally, wrong, sizeof(wrong));
    return wrong[0] == '\0' ? !bench_failed(bench) : bench_fail(bench, "%s", wrong);
}

static bool bench_fail_stalled(struct bench *bench, uint64_t silent_ns, const char *missing)
{
    char wrong[TALLY_TEXT_SIZE];
    tally_describe(&bench->tally, wrong, sizeof(wrong));
    return bench_fail(bench,
                      "stalled for %.1f s: %" PRIu64 " published, %" PRIu64
                      " delivered, waiting for %s%s%s",
                      (double)silent_ns / 1e9, bench->published, bench->tally.delivered, missing,
                      wrong[0] == '\0' ? "" : "; ", wrong);
}

bool bench_turn(struct bench *bench, uint64_t deadline_ns, const char *missing)
{
    if (bench_failed(bench))
        return false;
    uint64_t latest_ns = bench->engine.now_ns + TURN_NS_MAX;
    int      status = engine_turn(&bench->engine, deadline_ns < latest_ns ? deadline_ns : latest_ns,
                                  bench->options->gather_us);
    if (status < 0)
        return bench_fail(bench, "io_uring: %s", strerror(-status));

    uint64_t silent_ns = bench->engine.now_ns - bench->moved_ns;
    if (bench->engine.now_ns > bench->moved_ns && silent_ns > bench->options->stall_ns)
        return bench_fail_stalled(bench, silent_ns, missing);
    return !bench_failed(bench);
}

bool bench_connect_all(struct bench *bench, uint32_t at_once)
{
    bench_moved(bench);
    while (bench->ready_count < bench->client_count) {
        while (bench->client_cursor < bench->client_count &&
               bench->client_cursor - bench->ready_count < at_once) {
            if (!client_connect(bench->clients[bench->client_cursor++]))
                return false;
        }
        if (!bench_turn(bench, UINT64_MAX, "CONNACK or SUBACK"))
            return false;
    }
    return true;
}

void bench_disconnect_all(struct bench *bench)
{
    if (bench->engine.buffers == NULL)
        return;
    for (uint32_t index = 0; index < bench->client_count; index++) {
        if (bench->clients[index]->phase == CLIENT_READY)
            client_disconnect(bench->clients[index]);
    }
    uint64_t deadline_ns = clock_now_ns() + GOODBYE_NS;
    bench_moved(bench);
    while (bench->ready_count > 0 && bench->engine.now_ns < deadline_ns) {
        if (!bench_turn(bench, deadline_ns, "the end of connections"))
            return;
    }
}

bool bench_sample(struct bench *bench, struct sample *sample)
{
    *sample = (struct sample){.time_ns = clock_now_ns()};
    int status = process_cost_read(getpid(), &sample->own);
    if (status == 0 && bench->options->pid != 0)
        status = process_cost_read(bench->options->pid, &sample->broker);
    if (status < 0)
        return bench_fail(bench, "process %" PRId32 ": %s", bench->options->pid, strerror(-status));
    return true;
}

bool bench_measure(struct bench *bench, const struct sample *before)
{
    struct measurement *measurement = &bench->measurement;
    struct sample       after;
    if (!bench_sample(bench, &after))
        return false;
    measurement->time_ns += after.time_ns - before->time_ns;
    measurement->cpu_ns += after.broker.cpu_ns - before->broker.cpu_ns;
    measurement->user_ns += after.broker.user_ns - before->broker.user_ns;
    measurement->system_ns += after.broker.system_ns - before->broker.system_ns;
    measurement->own_cpu_ns += after.own.cpu_ns - before->own.cpu_ns;
    measurement->resident_bytes = after.broker.resident_bytes;
    return true;
}
