/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * shardmq-bench: load for any MQTT broker, and what it cost that broker. One thread, one ring.
 * Exit status: 0 the run is good, 1 it failed (a loss, a stall, a refusal), 2 wrong usage.
 */
#include "bench/load/report.h"
#include "bench/load/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum exit_status { EXIT_GOOD = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void usage_print(void)
{
    puts("usage: shardmq-bench SCENARIO [--option VALUE]...\n\nscenarios:");
    scenario_print_all();
    puts("\noptions (each scenario has defaults of its own):");
    options_print();
}

int main(int count, char **arguments)
{
    if (count < 2 || strcmp(arguments[1], "--help") == 0) {
        usage_print();
        return count < 2 ? EXIT_USAGE : EXIT_GOOD;
    }
    const struct scenario *scenario = scenario_find(arguments[1]);
    if (scenario == NULL) {
        (void)fprintf(stderr, "unknown scenario %s; --help lists them\n", arguments[1]);
        return EXIT_USAGE;
    }
    struct options options = scenario_defaults(scenario);
    if (!options_parse(&options, count - 2, arguments + 2))
        return EXIT_USAGE;
    if (scenario->five && options.version != MQTT_VERSION_5) {
        (void)fprintf(stderr, "%s needs --version 5\n", scenario->name);
        return EXIT_USAGE;
    }

    /* A histogram is too large for a stack. */
    struct bench *bench = calloc(1, sizeof(*bench));
    if (bench == NULL)
        return EXIT_FAILED;
    if (bench_open(bench, &options))
        scenario->run(bench);
    report_print(bench, scenario->name);
    int status = bench_failed(bench) ? EXIT_FAILED : EXIT_GOOD;
    bench_close(bench);
    free(bench);
    return status;
}
