/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One io_uring and its table of direct descriptors and provided buffers: the only room that knows
 * liburing. Opened, used and closed by one thread (SINGLE_ISSUER); completions are made only when
 * that thread asks for them (DEFER_TASKRUN), so nothing runs behind the loop's back.
 *
 * Operations never fail here: they are written into the submission queue, which is handed to the
 * kernel when it is full. What becomes of them is told by completions, each with the token that
 * the operation was given.
 */

#include <stdbool.h>
#include <stdint.h>

struct msghdr;
struct ring;

struct ring_setup {
    uint32_t entries;            /* submission queue; power of two */
    uint32_t completion_entries; /* power of two */
    uint32_t files;              /* table of direct descriptors; 0: plain descriptors are used */
    bool     min_wait;           /* the kernel knows the minimum wait (6.12) */
};

/* Negative errno when the kernel refuses; nothing stays open then. */
__attribute__((warn_unused_result)) int ring_open(struct ring            **ring,
                                                  const struct ring_setup *setup);
void                                    ring_close(struct ring *ring);

/* What siblings name in ring_wake and ring_send_file; a plain descriptor. */
int ring_descriptor(const struct ring *ring);

/*
 * The receive buffers: `count` (a power of two) of `size` bytes, which the kernel picks from. With
 * `incremental` (6.12) one buffer serves many small receives until it is full.
 */
struct ring_buffers {
    uint32_t count;
    uint32_t size;
    bool     incremental;
};

__attribute__((warn_unused_result)) int ring_buffers_open(struct ring               *ring,
                                                          const struct ring_buffers *setup);

struct completion {
    uint64_t token;
    int32_t  result; /* negative errno when it failed */
    uint32_t flags;
};

/* The operation goes on and will complete again. */
bool completion_continues(const struct completion *completion);

/*
 * The bytes of a multishot receive; NULL when it brought none. They stay until
 * ring_buffer_done(the same completion), which must follow in the order of completions.
 */
const uint8_t *ring_buffer(const struct ring *ring, const struct completion *completion);
void           ring_buffer_done(struct ring *ring, const struct completion *completion);

/* Takes up to `room` completions, oldest first. */
uint32_t ring_reap(struct ring *ring, struct completion *completions, uint32_t room);
bool     ring_has_completions(const struct ring *ring);

/* `file` is a direct descriptor of this ring, or a plain one when it was opened without a table. */
void ring_receive_many(struct ring *ring, uint64_t token, uint32_t file);
void ring_receive(struct ring *ring, uint64_t token, uint32_t file, void *bytes, uint32_t size);
void ring_poll_readable(struct ring *ring, uint64_t token, uint32_t file);
void ring_send(struct ring *ring, uint64_t token, uint32_t file, const void *bytes, uint32_t size);
void ring_send_parts(struct ring *ring, uint64_t token, uint32_t file, const struct msghdr *parts);
void ring_shutdown(struct ring *ring, uint64_t token, uint32_t file);

/* Completes only when it fails. */
void ring_close_file(struct ring *ring, uint64_t token, uint32_t file);

/* Ends the operation with token `target`, which then completes; completes itself only on failure.
 */
void ring_cancel(struct ring *ring, uint64_t token, uint64_t target);

/* `descriptor` is a plain one in these. */
void ring_accept_many(struct ring *ring, uint64_t token, int descriptor);
void ring_read(struct ring *ring, uint64_t token, int descriptor, void *bytes, uint32_t size);
void ring_write(struct ring *ring, uint64_t token, int descriptor, const void *bytes,
                uint32_t size);

/* Gives the sleeping sibling a completion with `target_token`; completes only when it fails. */
void ring_wake(struct ring *ring, uint64_t token, int target, uint64_t target_token);

/*
 * Puts the direct descriptor `file` into the table of another ring as well. The result is its
 * number there; the other side is not told.
 */
void ring_send_file(struct ring *ring, uint64_t token, int target, uint32_t file);

#define RING_FOREVER UINT64_MAX

struct ring_wait {
    uint32_t count;      /* completions wanted; 0: do not wait */
    uint32_t gather_us;  /* up to here wait for all of them, then one is enough; 0: one is enough */
    uint64_t timeout_us; /* RING_FOREVER: no end */
};

/* Hands over what was prepared, runs what the kernel has deferred, and waits. 0 or negative errno.
 */
int ring_submit(struct ring *ring, const struct ring_wait *wait);

/* For the probe: what the kernel told when the ring was opened. */
bool ring_knows_min_wait(const struct ring *ring);
/* Registers a plain descriptor as direct one. */
__attribute__((warn_unused_result)) int ring_install_file(struct ring *ring, uint32_t file,
                                                          int descriptor);
