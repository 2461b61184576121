/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * The program: reads what the operator wants, starts the shards, and waits for signals. SIGINT and
 * SIGTERM stop in order, a second one at once; SIGUSR1 prints statistics.
 */

#include "core/options/options.h"
#include "shard/log.h"
#include "shard/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#if SHARDMQ_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#define EXIT_USAGE       2
#define DESCRIPTION_SIZE 1024U
#define END_LOOK_MS      50 /* how soon the main thread sees that the shards have ended */

/* Names the allocator: the linker keeps jemalloc because of this call. */
static const char *allocator_name(char *text, size_t room)
{
#if SHARDMQ_JEMALLOC
    const char *version = NULL;
    size_t      size = sizeof(version);
    if (mallctl("version", &version, &size, NULL, 0) == 0) {
        snprintf(text, room, "jemalloc %.*s", (int)strcspn(version, "-"), version);
        return text;
    }
#endif
    snprintf(text, room, "the C library's malloc");
    return text;
}

/* What a report of a fault should name. */
static void print_version(void)
{
    char           allocator[64];
    struct utsname machine = {0};
    options_print_version(stdout);
    (void)uname(&machine);
    printf("built with " SHARDMQ_LIBRARIES ", %s; compiler " __VERSION__ "\n"
           "on %s %s %s\n"
           "licence GPL-3.0-or-later\n",
           allocator_name(allocator, sizeof(allocator)), machine.sysname, machine.release,
           machine.machine);
}

/* Blocked everywhere, so that only sigtimedwait below takes them. */
static void block_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int wait_signal(const sigset_t *signals, uint32_t timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000,
                               .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    int             number =
        timeout_ms > 0 ? sigtimedwait(signals, NULL, &timeout) : sigwaitinfo(signals, NULL);
    return number > 0 ? number : -errno;
}

static void wait_for_end(struct process *process, const sigset_t *signals)
{
    while (!process_has_ended(process)) {
        int number = wait_signal(signals, END_LOOK_MS);
        if (number == SIGINT || number == SIGTERM) {
            log_direct(LOG_INFO, "stopping at once");
            process_stop(process, true);
            return;
        }
    }
}

static void serve(struct process *process, const struct options *options, const sigset_t *signals)
{
    for (;;) {
        int number = wait_signal(signals, options->statistics_interval_ms);

        if (number == SIGUSR1 || number == -EAGAIN) {
            process_print_statistics(process, stderr);
        } else if (number == SIGHUP) {
            log_direct(LOG_INFO, "SIGHUP: nothing can be reloaded yet, going on as before");
        } else if (number == SIGINT || number == SIGTERM) {
            log_direct(LOG_INFO, "stopping: wills go out, clients are told; again to stop at once");
            process_stop(process, false);
            wait_for_end(process, signals);
            return;
        }
    }
}

static int run(const struct options *options)
{
    struct process *process = NULL;
    sigset_t        signals;
    char            text[DESCRIPTION_SIZE];
    char            allocator[64];

    block_signals(&signals);
    if (process_start(&process, options, text, sizeof(text)) < 0) {
        fprintf(stderr, "shardmq: %s\n", text);
        return EXIT_FAILURE;
    }

    log_direct(LOG_INFO, "shardmq %s %s; %s", SHARDMQ_VERSION,
               process_describe(process, text, sizeof(text)),
               allocator_name(allocator, sizeof(allocator)));
    if (options->limits.connections_max > process_links_max(process))
        log_direct(LOG_WARNING,
                   "only %llu of %u connections are possible: RLIMIT_NOFILE cannot be "
                   "raised further; more shards hold more",
                   (unsigned long long)process_links_max(process), options->limits.connections_max);

    serve(process, options, &signals);
    process_finish(process);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct options       options;
    static struct options_error error;

    options_defaults(&options);
    if (options_parse_arguments(&options, argc, argv, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_USAGE;
    }
    switch (options.command) {
    case OPTIONS_HELP:
        options_print_help(stdout);
        return EXIT_SUCCESS;
    case OPTIONS_VERSION:
        print_version();
        return EXIT_SUCCESS;
    case OPTIONS_CHECK:
        return options_check_file(options.config, stdout, stderr);
    case OPTIONS_RUN:
        break;
    }
    return run(&options);
}
