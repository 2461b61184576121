/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/report.h"

#include <inttypes.h>
#include <stdio.h>

/* Above this share of a core the generator may be what is measured. */
#define OWN_BUSY_MAX 0.95

struct figures {
    double seconds;
    double rate;
    double cpu_us;
    double user_us;
    double system_us;
    double busy; /* of one core */
    double own_us;
    double own_busy;
    double p50_us;
    double p99_us;
    double max_us;
    double bytes_each;
};

static double ratio(double dividend, double divisor)
{
    return divisor > 0 ? dividend / divisor : 0;
}

static struct figures figures_of(const struct bench *bench)
{
    const struct measurement *measurement = &bench->measurement;
    const struct histogram   *latency = &bench->latency;
    double                    count = (double)measurement->count;
    double                    time_ns = (double)measurement->time_ns;
    return (struct figures){
        .seconds = time_ns / 1e9,
        .rate = ratio(count * 1e9, time_ns),
        .cpu_us = ratio((double)measurement->cpu_ns / 1e3, count),
        .user_us = ratio((double)measurement->user_ns / 1e3, count),
        .system_us = ratio((double)measurement->system_ns / 1e3, count),
        .busy = ratio((double)measurement->cpu_ns, time_ns),
        .own_us = ratio((double)measurement->own_cpu_ns / 1e3, count),
        .own_busy = ratio((double)measurement->own_cpu_ns, time_ns),
        .p50_us = (double)histogram_quantile(latency, 0.5) / 1e3,
        .p99_us = (double)histogram_quantile(latency, 0.99) / 1e3,
        .max_us = (double)latency->max / 1e3,
        .bytes_each = ratio((double)measurement->grown_bytes, count),
    };
}

static void report_text(const struct bench *bench, const char *scenario,
                        const struct figures *figures)
{
    const struct measurement *measurement = &bench->measurement;
    if (bench_failed(bench)) {
        printf("%s: FAILED: %s\n", scenario, bench->failure);
        return;
    }
    printf("%s: %" PRIu64 " %ss in %.2f s, %.0f a second\n", scenario, measurement->count,
           measurement->unit, figures->seconds, figures->rate);
    if (bench->options->pid != 0)
        printf("  broker     %.3f us of CPU a %s (user %.3f, system %.3f), %.0f %% of a core, "
               "%.1f MiB resident\n",
               figures->cpu_us, measurement->unit, figures->user_us, figures->system_us,
               figures->busy * 100, (double)measurement->resident_bytes / 1048576);
    if (measurement->has_growth)
        printf("  memory     %.0f bytes a client; %.3f us of CPU a client and second when idle\n",
               figures->bytes_each, measurement->idle_us);
    if (measurement->has_latency)
        printf("  latency    p50 %.1f us, p99 %.1f us, max %.1f us\n", figures->p50_us,
               figures->p99_us, figures->max_us);
    printf("  generator  %.3f us a %s, %.0f %% of a core%s\n", figures->own_us, measurement->unit,
           figures->own_busy * 100,
           figures->own_busy > OWN_BUSY_MAX ? ": it may be the bottleneck" : "");
}

static void json_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if ((unsigned char)*text < ' ')
            printf("\\u%04x", (unsigned)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void report_json(const struct bench *bench, const char *scenario,
                        const struct figures *figures)
{
    const struct measurement *measurement = &bench->measurement;
    const struct options     *options = bench->options;
    printf("{\"scenario\": \"%s\", \"ok\": %s, \"failure\": ", scenario,
           bench_failed(bench) ? "false" : "true");
    json_text(bench->failure);
    printf(", \"version\": %d, \"qos\": %u, \"size\": %u, \"window\": %u, \"publishers\": %u, "
           "\"subscribers\": %u",
           (int)options->version, options->qos, options->size, options->window, options->publishers,
           options->subscribers);
    printf(", \"unit\": \"%s\", \"count\": %" PRIu64 ", \"published\": %" PRIu64
           ", \"seconds\": %.6f, \"rate\": %.1f",
           measurement->unit != NULL ? measurement->unit : "", measurement->count,
           measurement->published, figures->seconds, figures->rate);
    if (options->pid != 0)
        printf(", \"cpu_us\": %.5f, \"user_us\": %.5f, \"system_us\": %.5f, \"busy\": %.4f, "
               "\"resident_bytes\": %" PRIu64,
               figures->cpu_us, figures->user_us, figures->system_us, figures->busy,
               measurement->resident_bytes);
    if (measurement->has_growth)
        printf(", \"bytes_each\": %.1f, \"idle_us\": %.5f", figures->bytes_each,
               measurement->idle_us);
    if (measurement->has_latency)
        printf(", \"p50_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f", figures->p50_us,
               figures->p99_us, figures->max_us);
    printf(", \"generator_us\": %.5f, \"generator_busy\": %.4f", figures->own_us,
           figures->own_busy);
    printf(", \"lost\": %" PRIu64 ", \"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64
           ", \"misdelivered\": %" PRIu64 ", \"foreign\": %" PRIu64 "}\n",
           bench->tally.lost, bench->tally.duplicated, bench->tally.reordered,
           bench->tally.misdelivered, bench->tally.foreign);
}

void report_print(const struct bench *bench, const char *scenario)
{
    struct figures figures = figures_of(bench);
    if (bench->options->json)
        report_json(bench, scenario, &figures);
    else
        report_text(bench, scenario, &figures);
}
