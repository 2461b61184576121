/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * One shard's broker: bytes and parcels in, bytes, orders and parcels out. No thread, no socket, no
 * clock. The shard (or the simulator) calls it in turns:
 *
 *   broker_begin_turn(now)
 *     broker_accept, broker_input, broker_sent, broker_hang_up, broker_forget, broker_parcel
 *   broker_end_turn()          timers, paced work; true: there is more to do, do not sleep
 *   broker_effects()           flush links, carry out orders, print logs
 *   broker_outboxes()          carry parcels
 *   broker_effects_done()
 *
 * A connection is a *link* here: a handle {slot, generation}. Slots are dense, so the shard may
 * keep its own array by slot. Life of a link:
 *
 *   accept -> input/output ... -> [hang_up, when the peer went] -> ORDER_CLOSE, _ABORT or _HANDOVER
 *          -> the shard closes or passes on the descriptor -> forget: the handle is stale from here
 *
 * Exactly one of those three orders is given for each accepted link, also after hang_up; after it,
 * input is ignored.
 */

#include "core/base/pool.h"
#include "core/broker/effects.h"
#include "core/broker/interest.h"
#include "core/broker/parcel.h"
#include "core/broker/statistics.h"
#include "core/broker/topic_hash.h"
#include "core/options/options.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"

struct broker;

struct broker_place {
    uint16_t                   shard;
    uint16_t                   shard_count;
    const struct topic_secret *secret;   /* all four are shared and outlive the broker */
    struct interest_table     *interest; /* NULL allowed when shard_count is 1 */
    const struct options      *options;
    uint32_t                   links_max; /* the most connections this shard can hold */
    uint64_t                   seed;      /* assigned client ids; any number */
};

/* NULL when out of memory. */
struct broker *broker_create(const struct broker_place *place, uint64_t now_ms);
void           broker_destroy(struct broker *broker);

void broker_begin_turn(struct broker *broker, uint64_t now_ms);
bool broker_end_turn(struct broker *broker);

/* When the next turn is due at the latest, if nothing comes in; UINT64_MAX: never. */
uint64_t broker_next_ms(const struct broker *broker);

struct link_origin {
    uint16_t         listener;    /* index in options */
    bool             handed_over; /* its CONNECT was read by another shard */
    enum mqtt_reason refuse;      /* not MQTT_SUCCESS: answer the CONNECT with this and close */
};

/* False: no slot is free; close the connection. */
bool broker_accept(struct broker *broker, const struct link_origin *origin, struct handle *link);

struct input_result {
    uint32_t consumed;   /* whole packets; the rest is presented again, with more behind it */
    uint32_t frame_size; /* of the incomplete packet at the end, where known, else 0 */
};

/* Takes received bytes. May stop before the last whole packet when it orders ORDER_PAUSE. */
struct input_result broker_input(struct broker *broker, struct handle link, struct slice bytes);

/* The peer closed or the connection failed; `status` is 0 or a negative errno, for the log. */
void broker_hang_up(struct broker *broker, struct handle link, int status);

/*
 * Fills `parts` with what is to be sent, in order; the memory stays as it is until broker_sent says
 * that it went. Returns the number of parts, 0 when there is nothing (also for stale handles).
 */
uint32_t broker_output(struct broker *broker, struct handle link, struct slice *parts,
                       uint32_t parts_max);
void     broker_sent(struct broker *broker, struct handle link, uint32_t size);

/* Bytes waiting to be sent on a link. */
uint64_t broker_output_size(const struct broker *broker, struct handle link);

/* After CLOSE, ABORT or HANDOVER was carried out and no operation uses the link's memory. */
void broker_forget(struct broker *broker, struct handle link);

/* A parcel of another shard (kind below PARCEL_CORE_COUNT), `from` filled in. */
void broker_parcel(struct broker *broker, const struct parcel *parcel);

/* Of a parcel that will never be carried (the process ends): frees what it owns. */
void parcel_drop(struct parcel *parcel);

struct effects *broker_effects(struct broker *broker);
void            broker_effects_done(struct broker *broker);
struct outbox  *broker_outboxes(struct broker *broker); /* [shard_count]; own one stays empty */

/*
 * Orderly end, two steps with some turns between them: wills first, so that subscribers anywhere
 * still get them; then DISCONNECT 0x8B (MQTT 5) and ORDER_CLOSE for every link.
 */
void broker_stop_wills(struct broker *broker);
void broker_stop_links(struct broker *broker);

const struct statistics *broker_statistics(const struct broker *broker);
