/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT-3.4 to 3.7): one shape, four meanings. */

#include "proto/bytes.h"
#include "proto/mqtt.h"

struct ack {
    uint16_t         packet_id; /* never 0 after decoding */
    enum mqtt_reason reason;    /* MQTT_SUCCESS where left out, and before MQTT 5 */
    struct slice     reason_string;
    struct slice     user_properties; /* encode: copied as they are; decode: the whole block */
};

#define ACK_SIZE_SHORT 4U

/* `type` is one of the four; the reason codes allowed are checked for it. */
enum mqtt_reason ack_decode(enum mqtt_version version, enum packet_type type, uint8_t flags,
                            struct slice body, struct ack *ack);

/* MQTT 5 leaves the reason out when it is success and there are no properties. */
uint32_t ack_size(enum mqtt_version version, const struct ack *ack);
void     ack_write(enum mqtt_version version, enum packet_type type, const struct ack *ack,
                   struct writer *writer);
