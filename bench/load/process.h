/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What a process, with all its threads, has cost so far: CPU time and resident memory. */

#include <stdint.h>

struct process_cost {
    uint64_t cpu_ns;    /* exact: the CPU clock of the process */
    uint64_t user_ns;   /* in ticks of 10 ms, from /proc/PID/stat */
    uint64_t system_ns; /* likewise */
    uint64_t resident_bytes;
};

/* 0 or -errno: -ESRCH when there is no such process. */
int process_cost_read(int32_t pid, struct process_cost *cost);
