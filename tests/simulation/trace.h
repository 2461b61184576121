/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What happened last, for whoever has to read a failure, and a hash of all that happened, to show
 * that a seed determines a run. One simulation at a time, so this is the program's only state.
 */

#include <stdbool.h>
#include <stdint.h>

struct trace_run {
    uint64_t    seed;
    uint64_t    steps;
    const char *command;   /* what reproduces this run */
    bool        verbose;   /* print events as they come */
    bool        sabotaged; /* a failure is what is expected: exit with 0 */
};

void trace_begin(const struct trace_run *run);
void trace_step(uint64_t step, uint64_t now_ms);

/* One event: a line without newline. Part of the hash. */
void trace_event(const char *format, ...) __attribute__((format(printf, 1, 2)));
void trace_bytes(const void *bytes, uint64_t size); /* part of the hash, not printed */

/* Prints what was expected, the last events and the command; ends the process. */
void trace_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The same print without an end, for a process that dies for another reason. */
void trace_print(const char *reason);

uint64_t trace_hash(void);
