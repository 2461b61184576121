/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int stat_read(int32_t pid, char *text, int size)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%" PRId32 "/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    const char *line = fgets(text, size, file);
    (void)fclose(file);
    return line != NULL ? 0 : -EIO;
}

int process_cost_read(int32_t pid, struct process_cost *cost)
{
    clockid_t       clock;
    struct timespec spent;
    int             status = clock_getcpuclockid(pid, &clock);
    if (status != 0)
        return -status;
    if (clock_gettime(clock, &spent) < 0)
        return -errno;

    char text[1024];
    status = stat_read(pid, text, sizeof(text));
    if (status < 0)
        return status;
    /* The name in parentheses may hold anything; fields 14, 15 and 24 count from behind it. */
    const char *fields = strrchr(text, ')');
    uint64_t    user = 0;
    uint64_t    system = 0;
    uint64_t    pages = 0;
    if (fields == NULL || sscanf(fields + 1,
                                 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
                                 " %*d %*d %*d %*d %*d %*d %*u %*u %" SCNu64,
                                 &user, &system, &pages) != 3)
        return -EIO;

    uint64_t tick_ns = 1000000000U / (uint64_t)sysconf(_SC_CLK_TCK);
    *cost = (struct process_cost){
        .cpu_ns = (uint64_t)spent.tv_sec * 1000000000U + (uint64_t)spent.tv_nsec,
        .user_ns = user * tick_ns,
        .system_ns = system * tick_ns,
        .resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE),
    };
    return 0;
}
