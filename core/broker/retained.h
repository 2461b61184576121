/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The retained messages whose topics have their home on this shard (MQTT-3.3.1-5 to -8). A tree of
 * topic levels: a named child is found by one hash map of (parent, level), all children are walked
 * as a list. A walk may be paused at any node and goes on later, whatever was stored or cleared in
 * between: the node it stands on is pinned and leaves the tree when it is unpinned; new children
 * come in at the front of their list, so a walk ends however fast others store. No recursion.
 *
 * Nodes are 48 bytes, in slabs that never move, and name each other by 32-bit numbers; levels of up
 * to 8 bytes lie inside. The map is chained through the nodes and grows bucket by bucket (linear
 * hashing), so no insert stalls a turn: 52 bytes a level that no other topic shares.
 */

#include "core/broker/message.h"
#include "core/broker/topic_hash.h"
#include "proto/bytes.h"

struct retained_limits {
    uint64_t messages_max; /* 0: no limit */
    uint64_t bytes_max;    /* of topics, properties and payloads; 0: no limit */
};

enum retained_outcome {
    RETAINED_STORED,
    RETAINED_REPLACED,
    RETAINED_CLEARED,
    RETAINED_ABSENT, /* nothing to clear */
    RETAINED_FULL,   /* a limit: nothing changed */
    RETAINED_OUT_OF_MEMORY,
};

struct retained_store;

/* `outboxes` is for message_release; it and the secret outlive the store. NULL: out of memory. */
struct retained_store *retained_create(const struct topic_secret    *secret,
                                       const struct retained_limits *limits,
                                       struct outbox                *outboxes);
void                   retained_destroy(struct retained_store *store); /* walks: only forget */

/*
 * Stores `message` under its topic (an empty payload clears it). Takes a reference of its own when
 * it stores.
 */
enum retained_outcome retained_put(struct retained_store *store, struct message *message);

/* The message of exactly this topic, or NULL; a view. Expired ones are not given out. */
struct message *retained_find(struct retained_store *store, struct slice topic, uint64_t now_ms);

struct retained_level; /* of a filter; retained.c */

/*
 * A walk over all messages that match a filter, which is valid (topic.h). Opaque inside, embedded
 * by its owner, who may move it. A message that was there all the time is given exactly once, one
 * that was stored meanwhile at most once.
 */
struct retained_walk {
    struct retained_store *store;
    struct retained_level *levels;      /* malloc'ed, with the filter's bytes behind them */
    uint32_t               level_count; /* without a `#` at the end */
    uint32_t               at;          /* number of the pinned node */
    uint32_t               depth;       /* of `at` */
    bool                   open_ended;  /* the filter ends in `#` */
    bool                   ascending;   /* the children of `at` are done */
    bool                   done;
};

bool retained_walk_begin(struct retained_walk *walk, struct retained_store *store,
                         struct slice filter); /* false: out of memory */

/*
 * The next matching message (a view, valid until the store changes), taking at most `*steps` steps,
 * which it counts down. NULL: done, or steps used up (`walk->done` tells).
 */
struct message *retained_walk_next(struct retained_walk *walk, uint64_t now_ms, uint32_t *steps);
void            retained_walk_end(struct retained_walk *walk); /* also in the middle; idempotent */

/* Frees the walk's own memory, where the store may be gone already. */
void retained_walk_forget(struct retained_walk *walk);

/* Looks at the next `steps` nodes in turn for expired messages and drops them; returns how many. */
uint32_t retained_sweep(struct retained_store *store, uint64_t now_ms, uint32_t steps);

uint64_t retained_count(const struct retained_store *store);
uint64_t retained_bytes(const struct retained_store *store);  /* as limited by bytes_max */
size_t   retained_memory(const struct retained_store *store); /* of the tree, messages apart */
