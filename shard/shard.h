/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A shard: one thread, one ring, one broker. shard.c is the loop; the rooms beside it (transport,
 * lifecycle, post) work on this struct and belong to the same thread.
 *
 * A turn:  completions -> parcels of siblings -> broker ends its turn -> parcels to siblings
 *          -> orders -> one send for each connection with output -> submit and wait
 *
 * Parcels leave before bytes: when a PUBACK is sent, what it answers for is on its way.
 */

#include "core/broker/broker.h"
#include "shard/batching.h"
#include "shard/connection.h"
#include "shard/fabric.h"
#include "shard/log.h"
#include "shard/ring.h"

#include <pthread.h>

/* What a completion is about: kind, generation and slot of the link make the token. */
enum operation {
    OPERATION_NONE = 0, /* nobody waits for it: cancel, close */
    OPERATION_ACCEPT,   /* slot: listener */
    OPERATION_RECEIVE_MANY,
    OPERATION_RECEIVE_INTO,
    OPERATION_POLL,
    OPERATION_SEND,
    OPERATION_SHUTDOWN,
    OPERATION_SEND_FILE,
    OPERATION_EVENT, /* woken by eventfd */
    OPERATION_WAKE,  /* slot: the sibling that could not be woken */
    OPERATION_WOKEN, /* by a sibling's ring */
    OPERATION_LOG,
};

static inline uint64_t token_of(enum operation operation, uint32_t slot, uint32_t generation)
{
    return (uint64_t)operation << 56 | (uint64_t)(generation & 0xffffff) << 32 | slot;
}

static inline enum operation token_operation(uint64_t token)
{
    return (enum operation)(token >> 56);
}

static inline uint32_t token_slot(uint64_t token)
{
    return (uint32_t)token;
}

static inline bool token_is_of(uint64_t token, uint32_t generation)
{
    return (token >> 32 & 0xffffff) == (generation & 0xffffff);
}

enum shard_stage {
    STAGE_RUNNING = 0,
    STAGE_WILLS,   /* wills go out */
    STAGE_LINKS,   /* connections get their DISCONNECT and are flushed */
    STAGE_CLOSING, /* what is left is cut */
    STAGE_LAST,    /* still carries parcels, until every sibling has come here */
    STAGE_GONE,
};

struct shard_listener {
    bool     armed;
    uint64_t retry_ms; /* accept is paused until then; 0: it is not */
};

struct shard {
    struct fabric        *fabric;
    const struct options *options;
    uint16_t              number;
    int                   event; /* eventfd */
    uint64_t              event_count;
    struct ring          *ring;
    struct broker        *broker;
    uint64_t              now_ms;
    uint64_t              turn_start_ns;

    struct connections connections;
    struct slot_list   timed; /* receive armed (may become idle), or closing (may take too long) */
    struct slot_list   dirty; /* to flush */
    struct slot_list   ended; /* to forget in the next turn */
    struct slot_list   resumed; /* to present to the broker in the next turn */
    uint32_t           timed_hand;
    uint64_t           timed_due_ms;
    uint32_t           links;
    uint32_t           slots_used; /* slots ever used */
    uint32_t           closing;
    uint32_t           sends_max; /* a turn: their completions must find room */
    uint32_t           sends_started;
    struct send_parts *free_parts;
    uint32_t           free_parts_count;

    struct shard_listener listeners[OPTIONS_LISTENERS_MAX];
    bool                  accept_trouble_said;

    bool             parcels_wait; /* a mailbox was full */
    bool             parcels_left; /* more than one turn's worth came in */
    bool             parcels_moved;
    enum shard_stage stage;
    uint64_t         stage_due_ms;
    uint32_t         quiet_turns;
    uint64_t         greeting_said;
    uint32_t         snapshot_taken;

    struct batching        batching;
    struct loop_statistics statistics;
    struct log             log;

    pthread_t thread;
    int       start_status;
    char      start_error[256];
};

/*
 * In the shard's own thread: opens ring, buffers, eventfd and broker. 0, or negative errno with a
 * sentence in start_error; nothing stays open then.
 */
__attribute__((warn_unused_result)) int shard_open(struct shard *shard, struct fabric *fabric,
                                                   uint16_t number);
/* Turns until the process stops. */
void shard_run(struct shard *shard);
/* The kernel's part, in the shard's thread; then, when all threads have ended, the rest. */
void shard_close(struct shard *shard);
void shard_destroy(struct shard *shard);
