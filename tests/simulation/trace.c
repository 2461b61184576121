/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVENTS_KEPT 64U
#define EVENT_SIZE  176U

static struct {
    struct trace_run run;
    uint64_t         step;
    uint64_t         now_ms;
    uint64_t         hash;
    uint64_t         count;
    char             events[EVENTS_KEPT][EVENT_SIZE];
} trace;

void trace_begin(const struct trace_run *run)
{
    memset(&trace, 0, sizeof(trace));
    trace.run = *run;
    trace.hash = UINT64_C(0xcbf29ce484222325);
}

void trace_step(uint64_t step, uint64_t now_ms)
{
    trace.step = step;
    trace.now_ms = now_ms;
}

void trace_bytes(const void *bytes, uint64_t size)
{
    const uint8_t *at = bytes;
    for (uint64_t index = 0; index < size; index++)
        trace.hash = (trace.hash ^ at[index]) * UINT64_C(0x100000001b3);
}

void trace_event(const char *format, ...)
{
    char *event = trace.events[trace.count++ % EVENTS_KEPT];
    int   prefix =
        snprintf(event, EVENT_SIZE, "%8" PRIu64 " %10" PRIu64 "  ", trace.step, trace.now_ms);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(event + prefix, EVENT_SIZE - (size_t)prefix, format, arguments);
    va_end(arguments);
    trace_bytes(event, strlen(event));
    if (trace.run.verbose)
        (void)printf("%s\n", event);
}

void trace_print(const char *reason)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "    step       time  the last events\n");
    uint64_t first = trace.count > EVENTS_KEPT ? trace.count - EVENTS_KEPT : 0;
    for (uint64_t number = first; number < trace.count; number++)
        (void)fprintf(stderr, "%s\n", trace.events[number % EVENTS_KEPT]);
    (void)fprintf(stderr,
                  "simulate: seed %" PRIu64 ", step %" PRIu64 ", virtual time %" PRIu64 " ms:\n",
                  trace.run.seed, trace.step, trace.now_ms);
    (void)fprintf(stderr, "  %s\n", reason);
    (void)fprintf(stderr, "  again: %s\n", trace.run.command);
    (void)fflush(stderr);
}

void trace_fail(const char *format, ...)
{
    char    reason[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    trace_print(reason);
    /* Not exit(): what is alive now is no leak. */
    _exit(trace.run.sabotaged ? 0 : 1);
}

uint64_t trace_hash(void)
{
    return trace.hash;
}
