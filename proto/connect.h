/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* CONNECT (MQTT-3.1): decode for servers, encode for clients, tests and the load generator. */

#include "proto/bytes.h"
#include "proto/mqtt.h"

struct connect_will {
    struct slice topic;
    struct slice payload;
    struct slice properties; /* MQTT 5: the whole will property block */
    uint32_t     delay_s;
    uint32_t     message_expiry_s; /* valid with has_message_expiry */
    uint8_t      payload_format;
    uint8_t      qos;
    bool         retain;
    bool         has_message_expiry;
};

struct connect {
    enum mqtt_version   version;
    struct slice        client_id; /* may be empty */
    struct slice        user_name;
    struct slice        password;
    struct slice        properties; /* MQTT 5: the whole block */
    struct slice        authentication_method;
    struct slice        authentication_data;
    struct connect_will will;
    uint32_t            session_expiry_s;
    uint32_t            maximum_packet_size; /* MQTT_PACKET_SIZE_MAX when absent */
    uint32_t            user_property_count; /* of CONNECT and will together */
    uint16_t            receive_maximum;     /* 65535 when absent */
    uint16_t            topic_alias_maximum; /* 0 when absent */
    uint16_t            keep_alive_s;
    bool                clean_start; /* clean session before MQTT 5 */
    bool                has_will;
    bool                has_user_name;
    bool                has_password;
    bool                has_authentication_method;
    bool                request_response_information; /* default false */
    bool                request_problem_information;  /* default true */
    bool                bridge; /* high bit of the protocol level, as Mosquitto's bridges set it */
};

/* The defaults of the standard, clean start, nothing else: where clients begin. */
struct connect connect_of(enum mqtt_version version, struct slice client_id);

/*
 * Reads a whole CONNECT body. On MQTT_UNSUPPORTED_VERSION only `version` is meaningful (the
 * unknown level's number is not kept: answer as MQTT_VERSION_5 when the level was above 5, as
 * 3.1.1 otherwise; `version` says which). On any other failure `version` is set as soon as it was
 * read, so that the right CONNACK can be sent; with MQTT_VERSION_UNKNOWN the peer does not speak
 * MQTT and gets no answer [MQTT-3.1.2-1].
 */
enum mqtt_reason connect_decode(uint8_t flags, struct slice body, struct connect *connect);

/*
 * The whole packet. Where a property block is given it is copied as it is and the fields that
 * stand for properties are not looked at; where it is empty it is made from them.
 */
uint32_t connect_size(const struct connect *connect);
void     connect_write(const struct connect *connect, struct writer *writer);
