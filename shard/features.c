/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/features.h"

#include "shard/ring.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROBE_FILES  4U
#define TOKEN_SENDER 1U
#define TOKEN_TARGET 2U

static const struct ring_setup probe_setup = {
    .entries = 8, .completion_entries = 16, .files = PROBE_FILES};

/* Submits and takes the completion with `token` from `ring`; -ENODATA when there is none. */
static int result_of(struct ring *submitter, struct ring *ring, uint64_t token)
{
    const struct ring_wait wait = {.count = 1, .timeout_us = 20000};
    const struct ring_wait look = {.count = 0};
    struct completion      completions[8];

    int status = ring_submit(submitter, ring == submitter ? &wait : &look);
    if (status == 0 && ring != submitter)
        status = ring_submit(ring, &wait);
    if (status < 0)
        return status;

    uint32_t count = ring_reap(ring, completions, 8);
    for (uint32_t i = 0; i < count; i++) {
        if (completions[i].token == token)
            return completions[i].result;
    }
    return -ENODATA;
}

static bool probe_send_file(struct ring *ring, struct ring *other)
{
    int pipes[2];
    if (pipe(pipes) != 0)
        return false;

    int status = ring_install_file(ring, 0, pipes[0]);
    if (status == 0) {
        ring_send_file(ring, TOKEN_SENDER, ring_descriptor(other), 0);
        status = result_of(ring, ring, TOKEN_SENDER);
    }
    close(pipes[0]);
    close(pipes[1]);
    return status >= 0;
}

static bool probe_ring_wake(struct ring *ring, struct ring *other)
{
    ring_wake(ring, TOKEN_SENDER, ring_descriptor(other), TOKEN_TARGET);
    return result_of(ring, other, TOKEN_TARGET) >= 0;
}

static bool probe_incremental(struct ring *ring)
{
    return ring_buffers_open(
               ring, &(struct ring_buffers){.count = 16, .size = 4096, .incremental = true}) == 0;
}

static void explain(int status, const char *release, char *why, size_t room)
{
    const char *hint = status == -ENOSYS || status == -EPERM || status == -EACCES
                           ? "it is switched off here (kernel.io_uring_disabled, or a container's "
                             "seccomp profile)"
                       : status == -EINVAL ? "Linux 6.1 or newer is needed"
                       : status == -EMFILE ? "too few file descriptors are allowed (RLIMIT_NOFILE)"
                                           : "the kernel refused";
    snprintf(why, room, "cannot use io_uring on Linux %s: %s (%s)", release, hint,
             strerror(-status));
}

int features_probe(struct features *features, char *why, size_t why_room)
{
    *features = (struct features){0};

    struct utsname name;
    if (uname(&name) == 0)
        snprintf(features->release, sizeof(features->release), "%.63s", name.release);

    struct ring *ring = NULL;
    struct ring *other = NULL;
    int          status = ring_open(&ring, &probe_setup);
    if (status < 0)
        goto explain_it;
    status = ring_open(&other, &probe_setup);
    if (status < 0)
        goto close_ring;

    features->min_wait = ring_knows_min_wait(ring);
    features->send_file = probe_send_file(ring, other);
    features->ring_wake = probe_ring_wake(ring, other);
    features->incremental = probe_incremental(ring);

    ring_close(other);
    ring_close(ring);
    return 0;

close_ring:
    ring_close(ring);
explain_it:
    explain(status, features->release, why, why_room);
    return status;
}

char *features_print(const struct features *features, char *text, size_t room)
{
    snprintf(text, room, "%s%s%s%s%s%s", features->min_wait ? "min-wait, " : "",
             features->incremental ? "incremental buffers, " : "",
             features->send_file ? "direct descriptors" : "plain descriptors",
             features->min_wait && features->incremental && features->ring_wake ? "" : "; without",
             features->ring_wake ? "" : " ring wake",
             features->min_wait && features->incremental ? ""
             : features->incremental                     ? " min-wait"
             : features->min_wait                        ? " incremental buffers"
                                  : " min-wait, incremental buffers (Linux 6.12)");
    return text;
}
