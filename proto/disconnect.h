/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* DISCONNECT and AUTH (MQTT-3.14, MQTT-3.15), PINGREQ and PINGRESP (MQTT-3.12, -3.13). */

#include "proto/bytes.h"
#include "proto/mqtt.h"

struct disconnect {
    enum mqtt_reason reason;
    bool             has_session_expiry;
    uint32_t         session_expiry_s;
    uint32_t         user_property_count;
    struct slice     reason_string;
    struct slice     server_reference;
};

struct auth {
    enum mqtt_reason reason; /* success, continue, re-authenticate */
    struct slice     method;
    struct slice     data;
    struct slice     reason_string;
    uint32_t         user_property_count;
    bool             has_method;
};

/* `from_server` decides which reason codes are allowed. */
enum mqtt_reason disconnect_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                   bool from_server, struct disconnect *disconnect);
uint32_t         disconnect_size(enum mqtt_version version, const struct disconnect *disconnect);
void             disconnect_write(enum mqtt_version version, const struct disconnect *disconnect,
                                  struct writer *writer);

enum mqtt_reason auth_decode(uint8_t flags, struct slice body, struct auth *auth);
uint32_t         auth_size(const struct auth *auth);
void             auth_write(const struct auth *auth, struct writer *writer);

#define PING_SIZE 2U
enum mqtt_reason ping_decode(uint8_t flags, struct slice body);
void             ping_write(enum packet_type type, struct writer *writer);
