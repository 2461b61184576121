/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * N brokers in one thread: the body that shard/ is for the real program, made of arrays. Everything
 * that a kernel or a sibling may do to a broker happens here by chance: bytes arrive in pieces,
 * sends are short and complete late, parcels wait in small mailboxes, orders are carried out.
 *
 *   client --to_broker--> [arrived] --broker_input--> broker --broker_output--> to_client -->
 * client
 *
 * Bytes are handed to the broker in a block of exactly their size, so that a sanitizer sees one
 * byte too many, and what it gave out to be sent is compared when the send completes.
 */

#include "core/broker/broker.h"
#include "tests/simulation/random.h"
#include "tests/simulation/stream.h"

enum wire_end {
    WIRE_ARRIVING,   /* in the listener's queue of `shard` */
    WIRE_LINKED,     /* `link` of `shard` */
    WIRE_TRAVELLING, /* handed over to `shard`, not accepted there yet */
    WIRE_GONE,       /* closed by the broker */
};

enum wire_mark_kind {
    WIRE_MARK_CONNECT,
    WIRE_MARK_MESSAGE,    /* number: the message, QoS 0 */
    WIRE_MARK_DISCONNECT, /* a normal one: no will */
};

/* Told to the client's side when the broker has consumed everything up to `offset`. */
struct wire_mark {
    uint64_t            offset;
    uint32_t            number;
    enum wire_mark_kind kind;
};

#define WIRE_PARTS_MAX 8U

struct wire {
    uint32_t number;
    int32_t  client; /* index, -1: nobody cares about what comes out of it */
    int32_t  owner;  /* the client that made it, whether it still cares or not; -1 none */

    struct stream     to_broker;
    struct stream     to_client;
    uint32_t          arrived; /* of to_broker, presented to the broker at least once */
    uint64_t          written;
    uint64_t          consumed;
    struct wire_mark *marks;
    uint32_t          mark_count;

    enum wire_end end;
    uint16_t      shard;
    struct handle link;
    bool          paused;
    bool          present; /* there is something to present again */
    bool          wants_output;
    bool          ordered; /* CLOSE, ABORT or HANDOVER of this link was given */
    bool          closing;
    bool          hung_up;
    bool          client_gone;
    bool          reset;
    bool          connect_consumed;
    uint64_t      accepted_ms;
    uint64_t      heard_ms;   /* when the broker last consumed something */
    uint64_t      input_ms;   /* when it was last given something */
    uint64_t      ordered_ms; /* when it decided to close */
    uint64_t      flushed_turn;

    struct slice parts[WIRE_PARTS_MAX]; /* a send under way */
    uint32_t     part_count;
    uint8_t     *sending;
    uint32_t     sending_size;
};

enum sabotage {
    SABOTAGE_NONE,
    SABOTAGE_DROP,      /* a PUBLISH parcel vanishes */
    SABOTAGE_REORDER,   /* PUBLISH parcels of one pair overtake each other */
    SABOTAGE_LEAK,      /* a RELEASE parcel vanishes */
    SABOTAGE_DUPLICATE, /* a client gets a PUBLISH twice */
    SABOTAGE_LOSE,      /* a client does not get a PUBLISH */
    SABOTAGE_CORRUPT,   /* a payload changes */
    SABOTAGE_RETAIN,    /* a retain bit appears */
    SABOTAGE_COUNT,
};

struct cluster_events {
    void (*consumed)(void *context, struct wire *wire, const struct wire_mark *mark);
    void (*ordered)(void *context, struct wire *wire); /* the broker decided to close it */
    void *context;
};

struct cluster_place {
    const struct options *options;
    uint16_t              shard_count;
    uint32_t              mailbox_capacity;
    uint32_t              socket_size; /* bytes towards a client that does not read */
    uint64_t              seed;
    enum sabotage         sabotage;
    struct cluster_events events;
};

struct cluster;

struct cluster *cluster_create(const struct cluster_place *place, struct random *random,
                               const uint64_t *now_ms);

/* Everything dies: wires first (their clients see them gone), then parcels, then brokers. */
void cluster_destroy(struct cluster *cluster);

/* A new connection, in the queue of a listener of `shard`; freed when gone and client is -1. */
struct wire *cluster_connect(struct cluster *cluster, uint16_t shard, int32_t client,
                             int32_t owner);

void wire_write(struct wire *wire, const void *bytes, uint32_t size);
void wire_mark(struct wire *wire, enum wire_mark_kind kind, uint32_t number); /* after writing */

/* The client's end: what was written still arrives, then the broker reads the end. */
void wire_close(struct wire *wire);
/* What is under way in both directions is lost. */
void wire_cut(struct wire *wire);

/* One turn of one shard; eager: everything that can be done is done. */
void cluster_turn(struct cluster *cluster, uint16_t shard, bool eager);

/* Moves parcels from one outbox to its mailbox, by chance or as many as fit. */
void cluster_carry(struct cluster *cluster, uint16_t from, uint16_t to, bool eager);

/* Turns for every shard whose broker asked for one by now. */
void cluster_turn_due(struct cluster *cluster);

bool     cluster_wants_turn(const struct cluster *cluster, uint16_t shard);
bool     cluster_quiet(struct cluster *cluster, const char **why);
void     cluster_sweep(struct cluster *cluster); /* frees wires that both ends have left */
void     cluster_sum(const struct cluster *cluster, struct statistics *sum);
uint64_t cluster_interest_filters(const struct cluster *cluster);
void     cluster_stop_wills(struct cluster *cluster);
void     cluster_stop_links(struct cluster *cluster);

uint16_t     cluster_shard_count(const struct cluster *cluster);
uint32_t     cluster_wire_count(const struct cluster *cluster);
struct wire *cluster_wire(struct cluster *cluster, uint32_t slot);
