/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* The fixed header: where a packet starts and ends, and nothing of what is in it (MQTT-2.1). */

#include "proto/bytes.h"
#include "proto/mqtt.h"

enum frame_status { FRAME_INCOMPLETE, FRAME_READY, FRAME_MALFORMED };

#define FRAME_HEADER_SIZE_MAX 5U

struct frame {
    uint8_t      type;  /* enum packet_type, may be PACKET_RESERVED */
    uint8_t      flags; /* low four bits of the first byte */
    struct slice body;  /* a view; empty until the whole packet is there */
    uint32_t     size;  /* header and body; known (> 0) as soon as the header is complete */
};

/*
 * Looks at the start of `input`. READY: `frame` views one whole packet. INCOMPLETE: `frame->size`
 * says how many bytes it will have, or 0 where the length is not complete yet (type and flags are
 * valid when input is not empty). MALFORMED: a fifth length byte or an over-long length.
 */
static inline enum frame_status frame_decode(struct slice input, struct frame *frame)
{
    *frame = (struct frame){0};
    if (input.size == 0)
        return FRAME_INCOMPLETE;
    frame->type = input.data[0] >> 4;
    frame->flags = input.data[0] & 0xf;

    uint32_t length = 0;
    for (uint32_t at = 1; at < FRAME_HEADER_SIZE_MAX; at++) {
        if (at == input.size)
            return FRAME_INCOMPLETE;

        uint8_t byte = input.data[at];
        length |= (uint32_t)(byte & 0x7f) << (7 * (at - 1));
        if ((byte & 0x80) != 0)
            continue;
        if (byte == 0 && at > 1)
            return FRAME_MALFORMED; /* [MQTT-1.5.5-1] not the shortest form */
        frame->size = at + 1 + length;
        if (input.size < frame->size)
            return FRAME_INCOMPLETE;
        frame->body = slice_of(input.data + at + 1, length);
        return FRAME_READY;
    }
    return FRAME_MALFORMED;
}

static inline uint32_t frame_size(uint32_t body_size)
{
    return 1 + variable_size(body_size) + body_size;
}

static inline void frame_write_header(struct writer *writer, enum packet_type type, uint8_t flags,
                                      uint32_t body_size)
{
    write_u8(writer, (uint8_t)(type << 4 | flags));
    write_variable(writer, body_size);
}

/*
 * The low four bits of the first byte are fixed for all packets but PUBLISH [MQTT-2.1.3-1]. MQTT
 * 3.1 calls them unused, or sets DUP in a packet sent again: they are not looked at there.
 */
static inline bool frame_flags_valid(enum mqtt_version version, enum packet_type type,
                                     uint8_t flags)
{
    bool two = type == PACKET_PUBREL || type == PACKET_SUBSCRIBE || type == PACKET_UNSUBSCRIBE;
    return version == MQTT_VERSION_31 || flags == (two ? 0x2 : 0x0);
}
