/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Bytes under way, first in, first out, always readable as one piece. Zeroed is empty. */

#include "proto/bytes.h"

struct stream {
    uint8_t *bytes;
    uint32_t capacity;
    uint32_t first;
    uint32_t size;
};

void stream_push(struct stream *stream, const void *bytes, uint32_t size);
void stream_pop(struct stream *stream, uint32_t size);
void stream_truncate(struct stream *stream, uint32_t size); /* keeps the oldest `size` bytes */
void stream_fini(struct stream *stream);                    /* empty again afterwards */

static inline struct slice stream_view(const struct stream *stream)
{
    return slice_of(stream->size == 0 ? stream->bytes : stream->bytes + stream->first,
                    stream->size);
}
