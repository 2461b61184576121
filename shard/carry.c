/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/carry.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CARRY_SIZE_MIN        64U
#define FRAME_HEADER_SIZE_MAX 5U /* after that many bytes the size of a frame is known */

static int carry_grow(struct carry **carry, uint32_t capacity)
{
    struct carry *grown = realloc(*carry, sizeof(*grown) + capacity);
    if (grown == NULL)
        return -ENOMEM;
    if (*carry == NULL) {
        grown->size = 0;
        grown->frame_size = 0;
    }
    grown->capacity = capacity;
    *carry = grown;
    return 0;
}

/* Room for `size` bytes in all: twice that, so that growing stays cheap, but never past the frame.
 */
static uint32_t capacity_for(const struct carry *carry, uint64_t size)
{
    uint64_t capacity = size * 2 > CARRY_SIZE_MIN ? size * 2 : CARRY_SIZE_MIN;
    uint32_t frame_size = carry != NULL ? carry->frame_size : 0;
    if (frame_size >= size && frame_size < capacity)
        capacity = frame_size;
    return capacity < UINT32_MAX / 2 ? (uint32_t)capacity : (uint32_t)size;
}

int carry_keep(struct carry **carry, struct slice bytes)
{
    if (bytes.size == 0)
        return 0;

    uint64_t size = (uint64_t)(*carry != NULL ? (*carry)->size : 0) + bytes.size;
    if (size > UINT32_MAX / 2)
        return -ENOMEM;
    if (*carry == NULL || (*carry)->capacity < size) {
        int status = carry_grow(carry, capacity_for(*carry, size));
        if (status < 0)
            return status;
    }
    memcpy((*carry)->bytes + (*carry)->size, bytes.data, bytes.size);
    (*carry)->size = (uint32_t)size;
    return 0;
}

static void carry_consume(struct carry **carry, uint32_t size)
{
    struct carry *rest = *carry;
    assert(size <= rest->size);

    rest->size -= size;
    if (rest->size == 0) {
        free(rest);
        *carry = NULL;
        return;
    }
    if (size > 0)
        memmove(rest->bytes, rest->bytes + size, rest->size);
}

static struct input_result present(struct carry *carry, const struct carry_sink *sink)
{
    struct input_result result = sink->input(sink->context, slice_of(carry->bytes, carry->size));
    assert(result.consumed <= carry->size);
    carry->frame_size = result.frame_size;
    return result;
}

void carry_present(struct carry **carry, const struct carry_sink *sink)
{
    if (*carry != NULL)
        carry_consume(carry, present(*carry, sink).consumed);
}

/* Of `available` new bytes, those that complete the carried frame; the rest is better left in
 * place. */
static uint32_t carry_wants(const struct carry *carry, uint32_t available)
{
    uint32_t wanted = carry_missing(carry);
    if (wanted == 0)
        wanted = carry->size < FRAME_HEADER_SIZE_MAX ? FRAME_HEADER_SIZE_MAX - carry->size
                                                     : available; /* the sink does not take any */
    return wanted < available ? wanted : available;
}

/* Moves the carry on by some of `bytes`. Returns how many are used up, or -ENOMEM. */
static int64_t carry_join(struct carry **carry, struct slice bytes, const struct carry_sink *sink)
{
    uint32_t old_size = (*carry)->size;
    uint32_t taken = carry_wants(*carry, bytes.size);
    int      status = carry_keep(carry, slice_of(bytes.data, taken));
    if (status < 0)
        return status;
    assert(*carry != NULL);
    if (carry_missing(*carry) > 0)
        return taken;

    uint32_t consumed = present(*carry, sink).consumed;
    if (consumed >= old_size) {
        carry_consume(carry, (*carry)->size); /* what is left lies in `bytes`, too */
        return consumed - old_size;
    }
    carry_consume(carry, consumed);
    return taken;
}

int carry_feed(struct carry **carry, struct slice bytes, const struct carry_sink *sink)
{
    while (bytes.size > 0 && *carry != NULL) {
        int64_t used = carry_join(carry, bytes, sink);
        if (used < 0)
            return (int)used;
        bytes = slice_of(bytes.data + used, bytes.size - (size_t)used);
    }
    if (bytes.size == 0)
        return 0;

    struct input_result result = sink->input(sink->context, bytes);
    assert(result.consumed <= bytes.size);
    int status =
        carry_keep(carry, slice_of(bytes.data + result.consumed, bytes.size - result.consumed));
    if (status == 0 && *carry != NULL)
        (*carry)->frame_size = result.frame_size;
    return status;
}

int carry_reserve(struct carry **carry)
{
    assert(carry_missing(*carry) > 0);

    if ((*carry)->capacity > (*carry)->size)
        return 0;
    return carry_grow(carry, capacity_for(*carry, (uint64_t)(*carry)->size));
}

void carry_received(struct carry **carry, uint32_t size, const struct carry_sink *sink)
{
    assert(size <= (*carry)->capacity - (*carry)->size);

    (*carry)->size += size;
    if (carry_missing(*carry) == 0)
        carry_present(carry, sink);
}
