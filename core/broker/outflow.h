/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What waits to be sent on one link. Small frames are copied into chunks; a large payload is
 * referenced where it lies (its message is held); frames equal for many links lie once in a shared
 * chunk (a run) and each link refers to its part of it. Neighbouring bytes of one owner are one
 * part, so a thousand frames usually leave as one or two iovecs.
 *
 * An outflow exists only while something waits; an idle link has none.
 */

#include "core/broker/message.h"
#include "proto/bytes.h"

#define CHUNK_CLASSES  3U
#define CHUNK_SIZE_MAX 16384U

/* Bytes of frames, held by the parts that refer to it. */
struct chunk {
    uint32_t references;
    uint32_t used;
    uint32_t capacity; /* of bytes */
    uint32_t class;    /* CHUNK_CLASSES: of odd size, not kept */
    struct chunk *next_free;
    uint8_t       bytes[];
};

struct part {
    const uint8_t *data;
    uint32_t       size;
    bool           of_message;
    union {
        struct chunk   *chunk;
        struct message *message;
    } owner;
};

#define OUTFLOW_PARTS_INLINE 4U

struct outflow {
    uint64_t        size;  /* bytes in all parts */
    uint64_t        total; /* ever appended since it was taken */
    struct chunk   *tail;  /* where frames are written next; one reference of ours */
    struct part    *parts; /* ring */
    uint32_t        capacity;
    uint32_t        first; /* running numbers */
    uint32_t        next;
    struct outflow *next_free;
    struct part     inline_parts[OUTFLOW_PARTS_INLINE];
};

/* A shard's free outflows and chunks, and the run that is being written. */
struct outflow_pool {
    struct outflow *free_outflows;
    struct chunk   *free_chunks[CHUNK_CLASSES];
    uint32_t        free_chunk_count[CHUNK_CLASSES];
    uint32_t        free_outflow_count;
    struct chunk   *run;
    struct outbox  *outboxes; /* for message_release */
    uint64_t        bytes;    /* waiting in all outflows */
};

void outflow_pool_init(struct outflow_pool *pool, struct outbox *outboxes);
void outflow_pool_fini(struct outflow_pool *pool); /* all outflows were dropped before */

/* An empty outflow; `class` is where its first chunk comes from. NULL: out of memory. */
struct outflow *outflow_take(struct outflow_pool *pool);

/* Lets go of everything that waits and gives the outflow back. */
void outflow_drop(struct outflow_pool *pool, struct outflow *outflow);

/*
 * Room for exactly `size` bytes at the end, counted as appended: the caller writes all of them.
 * `class` (0 smallest) is the chunk to open when a new one is needed. NULL: out of memory.
 */
uint8_t *outflow_append(struct outflow_pool *pool, struct outflow *outflow, uint32_t size,
                        uint32_t class);

/* The payload of a message, by reference. False: out of memory. */
bool outflow_append_payload(struct outflow_pool *pool, struct outflow *outflow,
                            struct message *message);

/*
 * Room in the current run for a frame that many links will refer to. `*chunk` holds it, with a
 * reference of the caller's: the run may go on in another chunk before the frame was given to all.
 */
uint8_t *outflow_run_reserve(struct outflow_pool *pool, uint32_t size, struct chunk **chunk);
void     outflow_run_release(struct outflow_pool *pool, struct chunk *chunk);

/* Refers to `size` bytes at `data` inside a run's chunk. False: out of memory. */
bool outflow_append_run(struct outflow_pool *pool, struct outflow *outflow, struct chunk *chunk,
                        const uint8_t *data, uint32_t size);

uint32_t outflow_view(const struct outflow *outflow, struct slice *parts, uint32_t parts_max);

/* `size` bytes from the front are with the kernel. True: nothing is left. */
bool outflow_sent(struct outflow_pool *pool, struct outflow *outflow, uint64_t size);
