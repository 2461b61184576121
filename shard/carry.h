/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The bytes of a connection that were received but not consumed: the beginning of a frame whose
 * rest has not arrived, or whole frames of a connection that is paused. Exists only as long as
 * there are such bytes. It grows with what arrives, never with what a peer announces: 256 MiB
 * announced and five bytes sent cost 64 bytes.
 */

#include "core/broker/broker.h"

struct carry {
    uint32_t capacity;
    uint32_t size;
    uint32_t frame_size; /* of the frame it begins with, where known and incomplete, else 0 */
    uint8_t  bytes[];
};

/* Who takes the bytes: broker_input for one link. */
struct carry_sink {
    struct input_result (*input)(void *context, struct slice bytes);
    void *context;
};

/*
 * Gives received bytes to the sink, behind those carried, and carries what it leaves. Whole frames
 * are decoded where they were received; only the frame across the border is copied. 0 or -ENOMEM.
 */
__attribute__((warn_unused_result)) int carry_feed(struct carry **carry, struct slice bytes,
                                                   const struct carry_sink *sink);

/* Presents what is carried again, without new bytes. */
void carry_present(struct carry **carry, const struct carry_sink *sink);

/* Only keeps the bytes. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int carry_keep(struct carry **carry, struct slice bytes);

/* How much of the frame is still to come; 0 when not known. */
static inline uint32_t carry_missing(const struct carry *carry)
{
    return carry != NULL && carry->frame_size > carry->size ? carry->frame_size - carry->size : 0;
}

/*
 * Room behind the carried bytes to receive into, in proportion to what has arrived. 0 or -ENOMEM.
 * carry_received then says how much came.
 */
__attribute__((warn_unused_result)) int carry_reserve(struct carry **carry);
void carry_received(struct carry **carry, uint32_t size, const struct carry_sink *sink);
