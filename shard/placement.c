/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE

#include "shard/placement.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define FILES_MAX (1U << 20) /* the kernel's own bound of a table of direct descriptors */
#define FILES_MIN 128U

static bool is_allowed(uint16_t cpu, const uint16_t *allowed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (allowed[i] == cpu)
            return true;
    }
    return false;
}

int placement_decide(struct placement *placement, const struct options *options,
                     const uint16_t *allowed, uint32_t allowed_count, uint64_t files_limit,
                     char *why, size_t why_room)
{
    *placement = (struct placement){.files_limit = files_limit};

    const uint16_t *cpus = options->cpu_count > 0 ? options->cpus : allowed;
    placement->cpu_count = options->cpu_count > 0 ? options->cpu_count : allowed_count;
    for (uint32_t i = 0; i < placement->cpu_count; i++) {
        if (!is_allowed(cpus[i], allowed, allowed_count)) {
            snprintf(why, why_room, "CPU %u is not there or not allowed to this process", cpus[i]);
            return -EINVAL;
        }
        placement->cpus[i] = cpus[i];
    }

    uint32_t shards = options->shards > 0 ? options->shards : placement->cpu_count;
    placement->shard_count = (uint16_t)(shards < OPTIONS_SHARDS_MAX ? shards : OPTIONS_SHARDS_MAX);

    if (files_limit < FILES_MIN) {
        snprintf(why, why_room,
                 "only %llu file descriptors are allowed (RLIMIT_NOFILE), at least "
                 "%u are needed",
                 (unsigned long long)files_limit, FILES_MIN);
        return -EMFILE;
    }
    uint32_t files = files_limit < FILES_MAX ? (uint32_t)files_limit : FILES_MAX;
    uint32_t wanted = options->limits.connections_max;
    if (wanted != 0 && wanted < files - PLACEMENT_FILES_SPARE)
        files = wanted + PLACEMENT_FILES_SPARE;
    placement->files = files;
    placement->links_max = files - PLACEMENT_FILES_SPARE / 2;
    return 0;
}

static uint64_t raise_files_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;

    /* Root may raise the hard limit as well; anyone else goes up to it. */
    struct rlimit more = {FILES_MAX, FILES_MAX};
    if (limit.rlim_max < FILES_MAX && setrlimit(RLIMIT_NOFILE, &more) == 0)
        return FILES_MAX;
    more = (struct rlimit){limit.rlim_max, limit.rlim_max};
    return setrlimit(RLIMIT_NOFILE, &more) == 0 ? limit.rlim_max : limit.rlim_cur;
}

int placement_make(struct placement *placement, const struct options *options, char *why,
                   size_t why_room)
{
    cpu_set_t set;
    uint16_t  allowed[OPTIONS_CPUS_MAX];
    uint32_t  count = 0;

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        int status = -errno;
        snprintf(why, why_room, "cannot read the allowed CPUs: %s", strerror(-status));
        return status;
    }
    for (uint16_t cpu = 0; cpu < OPTIONS_CPUS_MAX; cpu++) {
        if (CPU_ISSET(cpu, &set))
            allowed[count++] = cpu;
    }
    return placement_decide(placement, options, allowed, count, raise_files_limit(), why, why_room);
}

int placement_pin(const struct placement *placement, uint16_t number)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (placement->shard_count <= placement->cpu_count) {
        CPU_SET(placement->cpus[number], &set);
    } else {
        for (uint32_t i = 0; i < placement->cpu_count; i++)
            CPU_SET(placement->cpus[i], &set);
    }
    return -pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}
