/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * A whole broker of two shards and six clients, driven by a program of bytes: whole packets of all
 * kinds with small choices of names and identifiers, raw bytes, cuts, slow readers, time. The
 * broker must not fall, must send whole packets only, and when all have gone and all has expired it
 * must hold nothing any more: what is left in a gauge was lost on the way.
 */
#include "tests/support/stage.h"

#define PEERS  6U
#define SHARDS "2"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The program: reads 0 past its end. */
struct program {
    const uint8_t *at;
    const uint8_t *end;
};

struct play {
    struct stage   stage;
    struct peer    peers[PEERS];
    bool           seated[PEERS];
    struct program program;
};

static uint8_t next(struct program *program)
{
    return program->at < program->end ? *program->at++ : 0;
}

static const char *const names[] = {"",      "one",  "two",
                                    "three", "four", "an identifier of some size"};
static const char *const topics[] = {"a", "a/b", "a/b/c", "$own/x",
                                     "b", "/",   "a//c",  "$SYS/broker/x"};
static const char *const filters[] = {
    "a",  "a/b",   "#",    "+",          "a/#",          "+/b",        "a/+/c",      "$own/#",
    "/+", "+/+/#", "a/#b", "$share/g/a", "$share/g/a/#", "$share/h/#", "$share/g/b", "$share//x",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static enum mqtt_version version_of(uint8_t choice)
{
    return choice % 8 == 0 ? MQTT_VERSION_31 : choice % 8 < 3 ? MQTT_VERSION_311 : MQTT_VERSION_5;
}

static void say_connect(struct play *play, struct peer *peer)
{
    uint8_t        name = next(&play->program);
    uint8_t        flags = next(&play->program);
    struct connect connect = connect_of(peer->version, slice_text(names[name % COUNT(names)]));

    if (peer->version == MQTT_VERSION_31 && connect.client_id.size == 0)
        connect.client_id = slice_text("old");
    connect.clean_start = (flags & 1) != 0;
    connect.keep_alive_s = (flags & 2) != 0 ? 30 : 0;
    if (peer->version == MQTT_VERSION_5) {
        connect.session_expiry_s = (flags & 4) != 0 ? 300 : 0;
        connect.receive_maximum = (flags & 8) != 0 ? 2 : UINT16_MAX;
        connect.topic_alias_maximum = (flags & 16) != 0 ? 3 : 0;
        if ((flags & 32) != 0)
            connect.maximum_packet_size = 24;
    }
    if ((flags & 64) != 0) {
        connect.has_will = true;
        connect.will.topic = slice_text(topics[name % 5]);
        connect.will.payload = slice_text("will");
        connect.will.qos = name % 3;
        connect.will.retain = (flags & 128) != 0;
        connect.will.delay_s = peer->version == MQTT_VERSION_5 ? name % 16 : 0;
    }
    wire_connect_of(&peer->say, &connect);
}

static void say_publish(struct play *play, struct peer *peer)
{
    static const char bytes[] = "some bytes of a payload that may well be longer than a small one";
    uint8_t           topic = next(&play->program);
    uint8_t           flags = next(&play->program);
    struct publish_head head = {
        .topic = slice_text(topics[topic % COUNT(topics)]),
        .qos = flags % 4 % 3,
        .retain = (flags & 4) != 0,
        .duplicate = (flags & 8) != 0 && flags % 4 % 3 > 0,
    };
    if (head.qos > 0)
        head.packet_id = (uint16_t)(1 + (flags >> 5));
    if (peer->version == MQTT_VERSION_5 && (topic & 64) != 0) {
        head.has_message_expiry = true;
        head.message_expiry_s = flags >> 4;
    }
    if (peer->version == MQTT_VERSION_5 && (topic & 128) != 0)
        head.topic_alias = (uint16_t)(1 + flags % 3);
    uint32_t size = (flags & 16) != 0 ? 0 : (uint32_t)((size_t)topic * 7 % sizeof(bytes));
    wire_publish_of(&peer->say, peer->version, head, slice_of(bytes, size));
}

static void say_subscribe(struct play *play, struct peer *peer)
{
    struct subscribe_entry entries[2];
    uint32_t               count = 1 + next(&play->program) % 2;
    uint32_t               identifier = 0;

    for (uint32_t at = 0; at < count; at++) {
        uint8_t filter = next(&play->program);
        uint8_t flags = next(&play->program);
        entries[at] = (struct subscribe_entry){
            .filter = slice_text(filters[filter % COUNT(filters)]), .options = {.qos = flags % 3}};
        if (peer->version != MQTT_VERSION_5)
            continue;
        entries[at].options.no_local = (flags & 128) != 0;
        entries[at].options.retain_as_published = (flags & 4) != 0;
        entries[at].options.retain_handling = (flags >> 3) % 3;
        identifier = flags >> 5;
    }
    wire_subscribe_of(&peer->say, peer->version, 9, identifier, entries, count);
}

static void say_ack(struct play *play, struct peer *peer)
{
    static const enum packet_type types[] = {PACKET_PUBACK, PACKET_PUBREC, PACKET_PUBREL,
                                             PACKET_PUBCOMP};
    uint8_t                       choice = next(&play->program);
    enum packet_type              type = types[choice % 4];
    bool                          refuses = (choice & 4) != 0 && choice % 4 < 2;
    wire_ack(&peer->say, peer->version, type, (uint16_t)(1 + (choice >> 3)),
             refuses && peer->version == MQTT_VERSION_5 ? MQTT_UNSPECIFIED_ERROR : MQTT_SUCCESS);
}

static void say_raw(struct play *play, struct peer *peer)
{
    uint8_t size = next(&play->program) % 32;
    for (uint8_t at = 0; at < size; at++) {
        uint8_t byte = next(&play->program);
        wire_raw(&peer->say, &byte, 1);
    }
}

/* Answers what was heard, as an honest client does. */
static void answer_all(struct peer *peer)
{
    struct frame frame;

    while (peer_hear(peer, &frame)) {
        struct publish publish;
        struct ack     ack;
        if (frame.type == PACKET_PUBLISH) {
            enum mqtt_reason reason =
                publish_decode(peer->version, frame.flags, frame.body, true, &publish);
            assert(reason == MQTT_SUCCESS);
            if (publish.qos > 0)
                wire_ack(&peer->say, peer->version,
                         publish.qos == 1 ? PACKET_PUBACK : PACKET_PUBREC, publish.packet_id,
                         MQTT_SUCCESS);
        } else if (frame.type == PACKET_PUBREL || frame.type == PACKET_PUBREC) {
            enum mqtt_reason reason = ack_decode(peer->version, (enum packet_type)frame.type,
                                                 frame.flags, frame.body, &ack);
            assert(reason == MQTT_SUCCESS);
            if (ack.reason < MQTT_UNSPECIFIED_ERROR)
                wire_ack(&peer->say, peer->version,
                         frame.type == PACKET_PUBREL ? PACKET_PUBCOMP : PACKET_PUBREL,
                         ack.packet_id, MQTT_SUCCESS);
        }
    }
}

/* Only looks whether what was heard is whole packets. */
static void listen(struct peer *peer)
{
    struct frame frame;
    while (peer_hear(peer, &frame))
        continue;
}

static void leave(struct play *play, unsigned seat)
{
    struct peer *peer = &play->peers[seat];
    if (!play->seated[seat])
        return;
    listen(peer);
    peer_leave(peer);
    play->seated[seat] = false;
}

static void pass(struct play *play, uint64_t milliseconds)
{
    play->stage.now_ms += milliseconds;
    stage_begin_turn(&play->stage);
    stage_finish_turn(&play->stage);
}

/* What one shard has for the other waits, or no longer does. */
static void hold(struct play *play, unsigned from, unsigned to)
{
    play->stage.held[from][to] = !play->stage.held[from][to];
}

static void step(struct play *play)
{
    uint8_t      operation = next(&play->program);
    unsigned     seat = (operation >> 4) % PEERS;
    struct peer *peer = &play->peers[seat];

    if (!play->seated[seat] || !peer->open) {
        leave(play, seat);
        peer_open(peer, &play->stage, version_of(next(&play->program)));
        play->seated[seat] = true;
        say_connect(play, peer);
        if ((operation & 1) != 0)
            say_publish(play, peer);
        peer_say(peer);
        return;
    }

    switch (operation & 0xf) {
    case 0:
    case 1:
    case 2:
    case 3:
        say_publish(play, peer);
        break;
    case 4:
    case 5:
        say_subscribe(play, peer);
        break;
    case 6:
        wire_unsubscribe(&peer->say, peer->version, 9,
                         filters[next(&play->program) % COUNT(filters)]);
        break;
    case 7:
        say_ack(play, peer);
        break;
    case 8:
    case 9:
        answer_all(peer);
        break;
    case 10:
        say_raw(play, peer);
        break;
    case 11:
        leave(play, seat);
        return;
    case 12:
        wire_disconnect(&peer->say, peer->version,
                        (operation & 0x80) != 0 && peer->version == MQTT_VERSION_5
                            ? MQTT_DISCONNECT_WITH_WILL
                            : MQTT_SUCCESS);
        break;
    case 13:
        pass(play, (uint64_t)next(&play->program) * 100);
        break;
    case 14:
        peer->slow = !peer->slow;
        break;
    default:
        if ((operation & 0x80) != 0)
            wire_ping(&peer->say, PACKET_PINGREQ);
        else
            hold(play, seat % 2, 1 - seat % 2);
        break;
    }
    peer_say(peer);
}

/* Nobody is there, everything has expired: the gauges say 0 (what is retained may stay). */
static void check_empty(struct play *play)
{
    struct statistics sum = {0};
    for (uint16_t shard = 0; shard < play->stage.shard_count; shard++)
        statistics_add(&sum, broker_statistics(play->stage.brokers[shard]));

    assert(sum.connections == 0);
    assert(sum.greeting == 0);
    assert(sum.sessions == 0);
    assert(sum.sessions_offline == 0);
    assert(sum.subscriptions == 0);
    assert(sum.shared_subscriptions == 0);
    assert(sum.queued_messages == 0);
    assert(sum.queued_bytes == 0);
    assert(sum.inflight_messages == 0);
    assert(sum.output_bytes == 0);
}

static void change(struct options *options)
{
    options->protocol.session_expiry_max_s = 300;
    options->protocol.session_expiry_311_s = 300;
    options->limits.queue_messages_max = 6;
    options->limits.inflight_max = 4;
    options->limits.output_buffer_max = 256;
    options->limits.retained_messages_max = 8;
    options->log_level = OPTIONS_LOG_ERROR;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct play play;

    if (setenv("STAGE_SHARDS", SHARDS, 1) != 0)
        return 0;
    play = (struct play){.program = {.at = data, .end = data + size}};
    stage_begin(&play.stage, change);
    while (play.program.at < play.program.end)
        step(&play);

    for (unsigned seat = 0; seat < PEERS; seat++)
        leave(&play, seat);
    play.stage.held[0][1] = false;
    play.stage.held[1][0] = false;
    for (unsigned minute = 0; minute < 12; minute++)
        pass(&play, 60000);
    check_empty(&play);
    stage_end(&play.stage);
    return 0;
}
