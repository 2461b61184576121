/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * PUBLISH (MQTT-3.3), both directions. Decoding yields views of the receive buffer; encoding is
 * split in a head (fixed and variable header) and the payload, because the payload may be sent from
 * where it lies.
 */

#include "proto/bytes.h"
#include "proto/mqtt.h"

struct publish {
    struct slice topic; /* may be empty only with a topic alias (MQTT 5) */
    struct slice payload;
    struct slice properties; /* MQTT 5: the whole property block, without its length */
    struct slice response_topic;
    struct slice content_type;
    uint32_t     message_expiry_s; /* valid with has_message_expiry */
    uint32_t     user_property_count;
    uint32_t     forward_size; /* size of the properties that are forwarded, see below */
    uint16_t     packet_id;    /* 0 for QoS 0 */
    uint16_t     topic_alias;  /* 0 none */
    uint8_t      qos;
    uint8_t      payload_format; /* 0 bytes, 1 UTF-8 */
    bool         retain;
    bool         duplicate;
    bool         has_message_expiry;
    bool         has_correlation_data;
    uint32_t     subscription_id_count; /* only where a client decodes what a server sent */
    uint32_t     subscription_id;       /* the last of them */
};

/*
 * Reads one PUBLISH body of protocol `version`. `from_server` allows subscription identifiers (a
 * client may not send them, MQTT-3.3.4-6). Topic: UTF-8 and no wildcard, no NUL
 * (MQTT-3.3.2-1/-2); QoS 3 and packet identifier 0 are refused; a payload that claims to be UTF-8
 * is not looked at here. Returns MQTT_SUCCESS or the reason to disconnect with.
 */
enum mqtt_reason publish_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                bool from_server, struct publish *publish);

/*
 * Properties that travel on with a message: all but topic alias, message expiry and subscription
 * identifiers, in order, duplicates kept (MQTT-3.3.2-17, -18). Writes exactly
 * `publish->forward_size` bytes. Equal to a plain copy when forward_size == properties.size.
 */
void publish_write_forward(const struct publish *publish, struct writer *writer);

/* What to put on the wire for one receiver. */
struct publish_head {
    struct slice    topic;   /* empty: alias only */
    struct slice    forward; /* MQTT 5: properties as publish_write_forward left them */
    const uint32_t *subscription_ids;
    uint32_t        subscription_id_count;
    uint32_t        message_expiry_s; /* what is left of it; valid with has_message_expiry */
    uint32_t        payload_size;
    uint16_t        packet_id;
    uint16_t        topic_alias; /* 0 none */
    uint8_t         qos;
    bool            retain;
    bool            duplicate;
    bool            has_message_expiry;
};

/* Bytes of the head alone; 0 when the whole packet would exceed MQTT_PACKET_SIZE_MAX. */
uint32_t publish_head_size(enum mqtt_version version, const struct publish_head *head);

/* Writes the head; the writer has at least publish_head_size() bytes of room. */
void publish_head_write(enum mqtt_version version, const struct publish_head *head,
                        struct writer *writer);
