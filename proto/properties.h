/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * MQTT 5 property blocks (MQTT-2.2.2). One pass, linear in the block: a table says for each
 * property its type, in which packets it may stand, and whether it may stand more than once.
 */

#include "proto/bytes.h"
#include "proto/mqtt.h"

/* One property while walking a block that properties_check accepted. */
struct property {
    enum property_id id;
    uint32_t         number; /* one, two, four byte and variable integers */
    struct slice     bytes;  /* strings, binary data; the name of a user property */
    struct slice     value;  /* the value of a user property */
    struct slice     whole;  /* identifier and all, to copy it on */
};

/* Bit sets of packets: 1 << enum packet_type, and one more bit for the will's properties. */
#define PROPERTIES_OF_WILL 16U

/*
 * Walks a block and checks each property on the way: known identifier allowed in `packet` (an enum
 * packet_type or PROPERTIES_OF_WILL), type, UTF-8, value in range, no duplicate where one is
 * forbidden (a bit set of identifiers, so that many user properties stay linear).
 */
struct property_walk {
    struct reader    reader;
    uint64_t         seen; /* 1 << identifier */
    unsigned         packet;
    uint32_t         user_count;
    enum mqtt_reason reason; /* MQTT_SUCCESS until property_walk_next meets something wrong */
};

static inline struct property_walk property_walk_of(struct slice block, unsigned packet)
{
    return (struct property_walk){.reader = reader_of(block), .packet = packet};
}

/* Takes the next property; false at the end and at the first error: look at `reason` then. */
bool property_walk_next(struct property_walk *walk, struct property *property);

/*
 * Checks a whole block as above and counts its user properties. MQTT_SUCCESS,
 * MQTT_MALFORMED_PACKET, MQTT_PROTOCOL_ERROR, or MQTT_TOPIC_ALIAS_INVALID for a topic alias of 0.
 */
enum mqtt_reason properties_check(struct slice block, unsigned packet, uint32_t *user_count);

/* Takes the next property of a checked block; false at its end. */
bool properties_next(struct reader *reader, struct property *property);

/* Reads the length and the block behind it; a short packet is a failed reader. */
struct slice read_properties(struct reader *reader);

/*
 * What travels on with a message, out of the checked block of a PUBLISH or a will: all but topic
 * alias, message expiry, subscription identifiers and will delay, in order, duplicates kept
 * [MQTT-3.3.2-17] [MQTT-3.3.2-18].
 */
bool     property_is_forwarded(enum property_id id);
uint32_t properties_forward_size(struct slice block);
void     properties_write_forward(struct slice block, struct writer *writer);

/* Writers of one property each; sizes beside them. */
void     write_property_u8(struct writer *writer, enum property_id id, uint8_t value);
void     write_property_u16(struct writer *writer, enum property_id id, uint16_t value);
void     write_property_u32(struct writer *writer, enum property_id id, uint32_t value);
void     write_property_variable(struct writer *writer, enum property_id id, uint32_t value);
void     write_property_bytes(struct writer *writer, enum property_id id, struct slice bytes);
void     write_property_user(struct writer *writer, struct slice name, struct slice value);
uint32_t property_bytes_size(struct slice bytes);
uint32_t property_user_size(struct slice name, struct slice value);
