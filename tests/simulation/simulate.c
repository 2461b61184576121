/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * simulate --seed N --steps M: N brokers and their clients in one thread, one run for each seed.
 * README.md in this folder says what is checked and how to read a failure.
 */

#include "tests/simulation/simulation.h"
#include "tests/simulation/trace.h"

#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const sabotage_names[SABOTAGE_COUNT] = {
    [SABOTAGE_NONE] = "none",           [SABOTAGE_DROP] = "drop",
    [SABOTAGE_REORDER] = "reorder",     [SABOTAGE_LEAK] = "leak",
    [SABOTAGE_DUPLICATE] = "duplicate", [SABOTAGE_LOSE] = "lose",
    [SABOTAGE_CORRUPT] = "corrupt",     [SABOTAGE_RETAIN] = "retain",
};

struct arguments {
    uint64_t               first;
    uint64_t               last;
    struct simulation_plan plan;
    bool                   verbose;
    bool                   twice;
};

/* Of the sanitizers' runtime, where there is one; gcc brings no header for the first. */
/* NOLINTBEGIN(readability-identifier-naming) */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));
extern int    __lsan_do_recoverable_leak_check(void) __attribute__((weak));
extern void   __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
/* NOLINTEND(readability-identifier-naming) */

static size_t bytes_in_use(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 information = mallinfo2();
    return information.uordblks + information.hblkhd;
}

static void on_death(void)
{
    trace_print("the process dies, see above"); /* NOLINT: from a signal, but all is lost anyway */
}

static void on_abort(int number)
{
    (void)number;
    on_death();
    _exit(1);
}

static __attribute__((noreturn)) void usage(void)
{
    (void)fprintf(stderr, "usage: simulate [--seed N | --seeds FROM-TO] [--steps M] [--shards K]\n"
                          "                [--clients C] [--twice] [--verbose] [--sabotage KIND]\n"
                          "KIND: ");
    for (int kind = 1; kind < SABOTAGE_COUNT; kind++)
        (void)fprintf(stderr, "%s%s", kind > 1 ? ", " : "", sabotage_names[kind]);
    (void)fprintf(stderr, "\n");
    exit(2);
}

static uint64_t parse_number(const char *text, uint64_t max)
{
    char    *end;
    uint64_t number = strtoull(text, &end, 10);

    if (end == text || *end != '\0' || number > max)
        usage();
    return number;
}

static void parse_range(char *text, struct arguments *arguments)
{
    char *dash = strchr(text, '-');

    if (dash == NULL)
        usage();
    *dash = '\0';
    arguments->first = parse_number(text, UINT64_MAX);
    arguments->last = parse_number(dash + 1, UINT64_MAX);
}

static enum sabotage parse_sabotage(const char *text)
{
    for (int kind = 1; kind < SABOTAGE_COUNT; kind++) {
        if (strcmp(text, sabotage_names[kind]) == 0)
            return (enum sabotage)kind;
    }
    usage();
}

static void parse_arguments(struct arguments *arguments, int argc, char **argv)
{
    enum { SEED = 1, SEEDS, STEPS, SHARDS, CLIENTS, TWICE, VERBOSE, SABOTAGE };
    static const struct option options[] = {
        {"seed", required_argument, NULL, SEED},
        {"seeds", required_argument, NULL, SEEDS},
        {"steps", required_argument, NULL, STEPS},
        {"shards", required_argument, NULL, SHARDS},
        {"clients", required_argument, NULL, CLIENTS},
        {"twice", no_argument, NULL, TWICE},
        {"verbose", no_argument, NULL, VERBOSE},
        {"sabotage", required_argument, NULL, SABOTAGE},
        {NULL, 0, NULL, 0},
    };
    int option;

    *arguments = (struct arguments){.first = 1, .last = 1, .plan = {.steps = 20000}};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == SEED)
            arguments->first = arguments->last = parse_number(optarg, UINT64_MAX);
        else if (option == SEEDS)
            parse_range(optarg, arguments);
        else if (option == STEPS)
            arguments->plan.steps = parse_number(optarg, UINT32_MAX);
        else if (option == SHARDS)
            arguments->plan.shards = (uint32_t)parse_number(optarg, 64);
        else if (option == CLIENTS)
            arguments->plan.clients = (uint32_t)parse_number(optarg, 50);
        else if (option == TWICE)
            arguments->twice = true;
        else if (option == VERBOSE)
            arguments->verbose = true;
        else if (option == SABOTAGE)
            arguments->plan.sabotage = parse_sabotage(optarg);
        else
            usage();
    }
    if (optind != argc)
        usage();
}

/* Returns the hash of everything that happened. */
static uint64_t run_seed(const struct arguments *arguments, uint64_t seed,
                         struct simulation_result *result)
{
    struct simulation_plan plan = arguments->plan;
    char                   command[256];
    int                    size;

    plan.seed = seed;
    size = snprintf(command, sizeof(command), "simulate --seed %" PRIu64 " --steps %" PRIu64, seed,
                    plan.steps);
    if (plan.shards > 0)
        size +=
            snprintf(command + size, sizeof(command) - (size_t)size, " --shards %u", plan.shards);
    if (plan.clients > 0)
        size +=
            snprintf(command + size, sizeof(command) - (size_t)size, " --clients %u", plan.clients);
    if (plan.sabotage != SABOTAGE_NONE)
        (void)snprintf(command + size, sizeof(command) - (size_t)size, " --sabotage %s",
                       sabotage_names[plan.sabotage]);

    struct trace_run run = {
        .seed = seed,
        .steps = plan.steps,
        .command = command,
        .verbose = arguments->verbose,
        .sabotaged = plan.sabotage != SABOTAGE_NONE,
    };
    trace_begin(&run);
    size_t before = bytes_in_use();
    *result = simulation_run(&plan);
    size_t after = bytes_in_use();
    if (after != before && plan.sabotage == SABOTAGE_NONE &&
        __lsan_do_recoverable_leak_check != NULL)
        __lsan_do_recoverable_leak_check();
    if (after != before)
        trace_fail("%zd bytes are left when everything is destroyed", (ssize_t)(after - before));
    return trace_hash();
}

/* What the runs came across: a zero here is something that no seed tested. */
static void print_summary(const struct simulation_result *sum)
{
    const struct statistics *statistics = &sum->statistics;

    (void)printf("simulate: %" PRIu64 " messages, %" PRIu64 " deliveries, %" PRIu64
                 " subscriptions overtaken by a retained message\n",
                 sum->messages, sum->deliveries, sum->retained_missed);
    (void)printf("simulate: %" PRIu64 " connects, %" PRIu64 " take-overs, %" PRIu64
                 " hand-overs, %" PRIu64 " wills, %" PRIu64 " expired sessions\n",
                 statistics->connects, statistics->takeovers, statistics->handovers_in,
                 statistics->wills_sent, statistics->sessions_expired);
    (void)printf("simulate: %" PRIu64 " keep alive timeouts, %" PRIu64 " protocol errors, %" PRIu64
                 " shared again, %" PRIu64 " parcels, %" PRIu64 " pauses\n",
                 statistics->keep_alive_timeouts, statistics->protocol_errors,
                 statistics->share_redelivered, statistics->parcels_in, statistics->reads_paused);
    (void)printf("simulate: drops:");
    for (uint32_t cause = 0; cause < DROP_CAUSE_COUNT; cause++)
        (void)printf(" %s %" PRIu64, drop_cause_name((enum drop_cause)cause),
                     statistics->drops[cause]);
    (void)printf("\n");
}

int main(int argc, char **argv)
{
    struct arguments         arguments;
    struct simulation_result result;
    struct simulation_result sum = {0};
    uint64_t                 hash = 0;

    parse_arguments(&arguments, argc, argv);
    (void)signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(on_death);
    (void)printf("simulate: seeds %" PRIu64 " to %" PRIu64 ", %" PRIu64 " steps each\n",
                 arguments.first, arguments.last, arguments.plan.steps);
    (void)fflush(stdout);
    for (uint64_t seed = arguments.first; seed <= arguments.last; seed++) {
        hash = run_seed(&arguments, seed, &result);
        if (arguments.twice && run_seed(&arguments, seed, &result) != hash)
            trace_fail("a second run of this seed went another way");
        sum.messages += result.messages;
        sum.deliveries += result.deliveries;
        sum.retained_missed += result.retained_missed;
        statistics_add(&sum.statistics, &result.statistics);
    }
    if (arguments.plan.sabotage != SABOTAGE_NONE) {
        (void)fprintf(stderr, "simulate: sabotage %s was not noticed\n",
                      sabotage_names[arguments.plan.sabotage]);
        return 1;
    }
    print_summary(&sum);
    (void)printf("simulate: hash of the last seed %016" PRIx64 "\n", hash);
    return 0;
}
