/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A broker of a few shards on a stage, and peers that speak to it in bytes: no socket, no thread,
 * and a clock that tests move. Whatever a test does is carried to its end before it goes on: every
 * turn, parcel and handover that follows from it.
 *
 *     static struct stage stage;
 *     stage_begin(&stage, NULL);
 *     static struct peer peer;
 *     peer_open(&peer, &stage, MQTT_VERSION_5);
 *     wire_connect(&peer.say, MQTT_VERSION_5, "client");
 *     wire_publish(&peer.say, MQTT_VERSION_5, "a", "hello", 1, 1);
 *     peer_say(&peer);
 *     ... peer_hear(&peer, &frame) ...
 *     stage_end(&stage);
 *
 * What goes wrong between stage and broker is an assert, so that fuzzers can use it, too; what a
 * test expects of the protocol is in stage_expect.h.
 */

#include "core/broker/broker.h"
#include "tests/support/wire.h"

#include <assert.h>

#define STAGE_PEERS      64U
#define STAGE_SHARDS_MAX 8U
#define STAGE_SHARDS     3U /* the environment's STAGE_SHARDS goes before it */

struct stage;

struct peer {
    struct stage     *stage;
    enum mqtt_version version;
    struct handle     link;
    struct wire       say;  /* packets for the next peer_say */
    struct wire       kept; /* said, not taken by the broker yet */
    struct wire       heard;
    uint32_t          heard_at; /* what was looked at already */
    uint16_t          seat;
    uint16_t          shard;
    uint16_t          hand_over_to; /* its number and one; 0 none */
    bool              open;         /* the broker knows the link */
    bool              ended;        /* the broker ordered the end */
    bool              paused;       /* the broker does not want to read */
    bool              resumed;
    bool              dirty; /* the broker has something to send */
    bool              deaf;  /* nothing is taken out of the broker's output */
    bool              slow;  /* the same, until the test takes it or the end comes */
};

struct stage {
    struct broker         *brokers[STAGE_SHARDS_MAX];
    struct outbox          carried[STAGE_SHARDS_MAX]; /* parcels on their way to each shard */
    bool                   held[STAGE_SHARDS_MAX][STAGE_SHARDS_MAX]; /* from, to: not carried */
    struct interest_table *interest;
    uint16_t               shard_count;
    struct options         options;
    struct topic_secret    secret;
    uint64_t               now_ms;
    struct peer           *peers[STAGE_PEERS];
};

static inline struct peer *stage_peer(struct stage *stage, uint16_t shard, struct handle link)
{
    for (uint32_t seat = 0; seat < STAGE_PEERS; seat++) {
        struct peer *peer = stage->peers[seat];
        if (peer != NULL && peer->open && peer->shard == shard && handle_equal(peer->link, link))
            return peer;
    }
    return NULL;
}

static inline struct broker *peer_broker(const struct peer *peer)
{
    return peer->stage->brokers[peer->shard];
}

/* Takes all that the broker has for this peer, in a few parts at a time. */
static inline void stage_take(struct peer *peer)
{
    struct broker *broker = peer_broker(peer);
    struct slice   parts[4];
    uint32_t       count;

    peer->dirty = false;
    while ((count = broker_output(broker, peer->link, parts, 4)) > 0) {
        uint32_t size = 0;
        for (uint32_t part = 0; part < count; part++) {
            wire_raw(&peer->heard, parts[part].data, parts[part].size);
            size += parts[part].size;
        }
        broker_sent(broker, peer->link, size);
    }
}

static inline void stage_offer(struct peer *peer)
{
    if (peer->ended || peer->paused || peer->hand_over_to != 0 || peer->kept.size == 0)
        return;

    struct slice        exact = wire_exact(wire_view(&peer->kept));
    struct input_result result = broker_input(peer_broker(peer), peer->link, exact);
    free((void *)exact.data);
    assert(result.consumed <= peer->kept.size);
    memmove(peer->kept.data, peer->kept.data + result.consumed, peer->kept.size - result.consumed);
    peer->kept.size -= result.consumed;
}

static inline void stage_carry_out(struct peer *peer, const struct order *order)
{
    switch ((enum order_kind)order->kind) {
    case ORDER_CLOSE:
        peer->ended = true;
        break;
    case ORDER_ABORT:
        peer->ended = true;
        peer->deaf = true;
        break;
    case ORDER_PAUSE:
        peer->paused = true;
        break;
    case ORDER_RESUME:
        peer->paused = false;
        peer->resumed = true;
        break;
    case ORDER_HANDOVER:
        peer->hand_over_to = (uint16_t)(order->target + 1);
        break;
    }
}

/* What a shard does between two turns: sends, closes, hands over, reads on. */
static inline void stage_serve(struct stage *stage, struct peer *peer)
{
    if (peer->dirty && !peer->deaf && !peer->slow)
        stage_take(peer);
    if (peer->ended) {
        if (!peer->deaf)
            stage_take(peer);
        broker_forget(peer_broker(peer), peer->link);
        peer->open = false;
    } else if (peer->hand_over_to != 0) {
        struct link_origin origin = {.handed_over = true};
        broker_forget(peer_broker(peer), peer->link);
        peer->shard = (uint16_t)(peer->hand_over_to - 1);
        peer->hand_over_to = 0;
        assert(peer->shard < stage->shard_count);
        assert(broker_accept(peer_broker(peer), &origin, &peer->link));
        stage_offer(peer);
    } else if (peer->resumed) {
        peer->resumed = false;
        stage_offer(peer);
    }
}

/* Ends one shard's turn and notes what it wants done; true: that was nothing. */
static inline bool stage_end_turn(struct stage *stage, uint16_t shard)
{
    struct broker  *broker = stage->brokers[shard];
    bool            more = broker_end_turn(broker);
    struct effects *effects = broker_effects(broker);
    bool            quiet = !more && effects->flush_count == 0 && effects->order_count == 0;

    for (uint32_t at = 0; at < effects->flush_count; at++) {
        struct peer *peer = stage_peer(stage, shard, effects->flush[at]);
        if (peer != NULL)
            peer->dirty = true;
    }
    for (uint32_t at = 0; at < effects->order_count; at++) {
        struct peer *peer = stage_peer(stage, shard, effects->orders[at].link);
        assert(peer != NULL);
        stage_carry_out(peer, &effects->orders[at]);
    }
    for (uint16_t target = 0; target < stage->shard_count; target++) {
        struct outbox *outbox = &broker_outboxes(broker)[target];
        if (stage->held[shard][target])
            continue;
        for (struct parcel *parcel; (parcel = outbox_peek(outbox)) != NULL; outbox_pop(outbox)) {
            parcel->from = shard;
            outbox_push(&stage->carried[target], *parcel);
            quiet = false;
        }
    }
    broker_effects_done(broker);
    return quiet;
}

static inline void stage_begin_turn(struct stage *stage)
{
    for (uint16_t shard = 0; shard < stage->shard_count; shard++)
        broker_begin_turn(stage->brokers[shard], stage->now_ms);
}

/* Ends a turn of all shards; begins another and carries things out unless that was all: false. */
static inline bool stage_next_turn(struct stage *stage)
{
    bool quiet = true;
    for (uint16_t shard = 0; shard < stage->shard_count; shard++)
        quiet = stage_end_turn(stage, shard) && quiet;
    if (quiet)
        return false;

    stage_begin_turn(stage);
    for (uint16_t shard = 0; shard < stage->shard_count; shard++) {
        struct outbox *carried = &stage->carried[shard];
        for (struct parcel *parcel; (parcel = outbox_peek(carried)) != NULL; outbox_pop(carried)) {
            struct parcel taken = *parcel;
            broker_parcel(stage->brokers[shard], &taken);
        }
    }
    for (uint32_t seat = 0; seat < STAGE_PEERS; seat++) {
        if (stage->peers[seat] != NULL && stage->peers[seat]->open)
            stage_serve(stage, stage->peers[seat]);
    }
    return true;
}

/* Ends a turn that was begun, and goes on with further ones until all shards are quiet. */
static inline void stage_finish_turn(struct stage *stage)
{
    for (unsigned round = 0; stage_next_turn(stage); round++)
        assert(round < 10000);
}

/* Lets time pass, in steps, so that every alarm rings in its turn. */
static inline void stage_pass(struct stage *stage, uint64_t milliseconds)
{
    uint64_t end_ms = stage->now_ms + milliseconds;

    while (stage->now_ms < end_ms) {
        uint64_t step = milliseconds / 64 + 1;
        stage->now_ms = stage->now_ms + step < end_ms ? stage->now_ms + step : end_ms;
        stage_begin_turn(stage);
        stage_finish_turn(stage);
    }
}

static inline struct broker *stage_create_broker(struct stage *stage, uint16_t shard)
{
    struct broker_place place = {
        .shard = shard,
        .shard_count = stage->shard_count,
        .secret = &stage->secret,
        .interest = stage->interest,
        .options = &stage->options,
        .links_max = STAGE_PEERS,
        .seed = 7U + shard,
    };
    struct broker *broker = broker_create(&place, stage->now_ms);
    assert(broker != NULL);
    return broker;
}

/* `change` may alter the defaults; NULL leaves them. No `$SYS` in the way. */
static inline void stage_begin(struct stage *stage, void (*change)(struct options *options))
{
    static const uint8_t entropy[32] = "a secret that is always the same";

    *stage = (struct stage){.now_ms = 1000000};
    options_defaults(&stage->options);
    stage->options.sys.interval_ms = 0;
    if (change != NULL)
        change(&stage->options);
    topic_secret_init(&stage->secret, entropy, sizeof(entropy));

    const char *shards = getenv("STAGE_SHARDS");
    stage->shard_count = shards != NULL ? (uint16_t)strtoul(shards, NULL, 10) : STAGE_SHARDS;
    assert(stage->shard_count > 0 && stage->shard_count <= STAGE_SHARDS_MAX);
    stage->interest = interest_create(&stage->secret, stage->shard_count);
    for (uint16_t shard = 0; shard < stage->shard_count; shard++)
        stage->brokers[shard] = stage_create_broker(stage, shard);
}

/* A connection without a CONNECT. The stage looks at its peers until its end: they are static. */
static inline void peer_open(struct peer *peer, struct stage *stage, enum mqtt_version version)
{
    struct link_origin origin = {0};

    *peer = (struct peer){.stage = stage, .version = version, .open = true};
    while (stage->peers[peer->seat] != NULL)
        peer->seat++;
    assert(peer->seat < STAGE_PEERS);
    stage->peers[peer->seat] = peer;
    peer->shard = peer->seat % stage->shard_count;
    stage_begin_turn(stage);
    assert(broker_accept(peer_broker(peer), &origin, &peer->link));
    stage_finish_turn(stage);
}

/* Sends what was put into `say`. */
static inline void peer_say(struct peer *peer)
{
    stage_begin_turn(peer->stage);
    wire_raw(&peer->kept, peer->say.data, peer->say.size);
    wire_reset(&peer->say);
    if (peer->open)
        stage_offer(peer);
    stage_finish_turn(peer->stage);
}

static inline void peer_say_bytes(struct peer *peer, const void *bytes, size_t size)
{
    wire_raw(&peer->say, bytes, size);
    peer_say(peer);
}

/* The connection fails; the seat is free again. */
static inline void peer_cut(struct peer *peer)
{
    struct stage *stage = peer->stage;

    if (peer->open) {
        stage_begin_turn(stage);
        broker_hang_up(peer_broker(peer), peer->link, 0);
        stage_finish_turn(stage);
        assert(!peer->open);
    }
}

/* Cuts a peer where needed and frees what it holds. */
static inline void peer_leave(struct peer *peer)
{
    peer_cut(peer);
    peer->stage->peers[peer->seat] = NULL;
    wire_fini(&peer->say);
    wire_fini(&peer->kept);
    wire_fini(&peer->heard);
}

static inline void stage_end(struct stage *stage)
{
    for (uint32_t seat = 0; seat < STAGE_PEERS; seat++) {
        if (stage->peers[seat] != NULL)
            peer_leave(stage->peers[seat]);
    }
    for (uint16_t shard = 0; shard < stage->shard_count; shard++) {
        broker_destroy(stage->brokers[shard]);
        outbox_fini(&stage->carried[shard]);
    }
    interest_destroy(stage->interest);
}

/* The next packet that was sent to this peer; false when there is none. */
static inline bool peer_hear(struct peer *peer, struct frame *frame)
{
    if (peer->heard_at == peer->heard.size)
        return false;

    struct slice rest =
        slice_of(peer->heard.data + peer->heard_at, peer->heard.size - peer->heard_at);
    assert(frame_decode(rest, frame) == FRAME_READY);
    peer->heard_at += frame->size;
    return true;
}
