/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* CONNACK (MQTT-3.2). The one place where reason codes become the six codes of 3.1 and 3.1.1. */

#include "proto/bytes.h"
#include "proto/mqtt.h"

/* For numbers, the MQTT default means "leave the property out". */
struct connack {
    enum mqtt_reason reason;
    bool             session_present;
    bool             has_session_expiry;
    bool             has_server_keep_alive;
    bool             has_authentication_data;
    bool             retain_unavailable;
    bool             wildcards_unavailable;
    bool             subscription_ids_unavailable;
    bool             shared_unavailable;
    uint8_t          maximum_qos;         /* 2: left out */
    uint16_t         receive_maximum;     /* 65535: left out */
    uint16_t         topic_alias_maximum; /* 0: left out */
    uint16_t         server_keep_alive_s;
    uint32_t         session_expiry_s;
    uint32_t         maximum_packet_size; /* MQTT_PACKET_SIZE_MAX: left out */
    struct slice     assigned_client_id;  /* empty: left out, as all below */
    struct slice     reason_string;
    struct slice     response_information;
    struct slice     server_reference;
    struct slice     authentication_method;
    struct slice     authentication_data;
    struct slice     user_properties; /* encode: copied as they are; decode: the whole block */
};

/* All properties left out. */
struct connack connack_of(enum mqtt_reason reason);

/* The return code that a 3.1 or 3.1.1 client gets for `reason` (1 to 5; 0 for success). */
uint8_t connack_code_311(enum mqtt_reason reason);

/* False where no code fits: the server then closes without a CONNACK [MQTT-3.2.2-6] of 3.1.1. */
bool connack_has_code_311(enum mqtt_reason reason);

uint32_t connack_size(enum mqtt_version version, const struct connack *connack);
void connack_write(enum mqtt_version version, const struct connack *connack, struct writer *writer);
/* For a 3.1.1 client `reason` keeps the plain return code. */
enum mqtt_reason connack_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                struct connack *connack);
