/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/stream.h"

#include <stdlib.h>

static void stream_reserve(struct stream *stream, uint32_t size)
{
    if (stream->first + stream->size + size <= stream->capacity)
        return;
    if (stream->size > 0)
        memmove(stream->bytes, stream->bytes + stream->first, stream->size);
    stream->first = 0;
    if (stream->size + size <= stream->capacity)
        return;
    stream->capacity = 2 * (stream->size + size);
    stream->bytes = realloc(stream->bytes, stream->capacity);
    assert(stream->bytes != NULL);
}

void stream_push(struct stream *stream, const void *bytes, uint32_t size)
{
    if (size == 0)
        return;
    stream_reserve(stream, size);
    memcpy(stream->bytes + stream->first + stream->size, bytes, size);
    stream->size += size;
}

void stream_pop(struct stream *stream, uint32_t size)
{
    assert(size <= stream->size);
    stream->first += size;
    stream->size -= size;
    if (stream->size == 0)
        stream->first = 0;
}

void stream_truncate(struct stream *stream, uint32_t size)
{
    if (stream->size > size)
        stream->size = size;
}

void stream_fini(struct stream *stream)
{
    free(stream->bytes);
    *stream = (struct stream){0};
}
