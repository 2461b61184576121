/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Bytes in, bytes out. A slice borrows; a reader checks bounds in one place and remembers failure,
 * so that one check after the last read covers every read; a writer writes into room that its
 * caller has measured beforehand.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    uint32_t       size;
};

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool           failed; /* sticky */
};

struct writer {
    uint8_t *at;
    uint8_t *end; /* asserted, never trusted to a peer */
};

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){.data = data, .size = (uint32_t)size};
}

static inline struct slice slice_text(const char *text)
{
    return slice_of(text, strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* An empty slice may have no address; the reader then gets one, for arithmetic on it. */
static inline struct reader reader_of(struct slice slice)
{
    static const uint8_t nothing;
    const uint8_t       *data = slice.data != NULL ? slice.data : &nothing;

    assert(slice.data != NULL || slice.size == 0);
    return (struct reader){.at = data, .end = data + slice.size};
}

static inline size_t reader_left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static inline const uint8_t *read_bytes(struct reader *reader, size_t size)
{
    if (reader->failed || reader_left(reader) < size) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += size;
    return bytes;
}

static inline uint8_t read_u8(struct reader *reader)
{
    const uint8_t *bytes = read_bytes(reader, 1);
    return bytes != NULL ? bytes[0] : 0;
}

static inline uint16_t read_u16(struct reader *reader)
{
    const uint8_t *bytes = read_bytes(reader, 2);
    return bytes != NULL ? (uint16_t)((uint32_t)bytes[0] << 8 | bytes[1]) : 0;
}

static inline uint32_t read_u32(struct reader *reader)
{
    const uint8_t *bytes = read_bytes(reader, 4);
    if (bytes == NULL)
        return 0;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           (uint32_t)bytes[3];
}

/* Two length bytes, then that many bytes (MQTT-1.5.4, MQTT-1.5.6). */
static inline struct slice read_sized(struct reader *reader)
{
    uint16_t       size = read_u16(reader);
    const uint8_t *bytes = read_bytes(reader, size);
    return bytes != NULL ? slice_of(bytes, size) : (struct slice){0};
}

static inline struct slice read_rest(struct reader *reader)
{
    size_t         size = reader->failed ? 0 : reader_left(reader);
    const uint8_t *bytes = read_bytes(reader, size);
    return slice_of(bytes, size);
}

/* True when nothing is left and no read went wrong: a body longer than its fields is malformed. */
static inline bool reader_done(const struct reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

/* Variable byte integer (MQTT-1.5.5-1): at most four bytes, shortest form only. */
uint32_t read_variable(struct reader *reader);

static inline void write_bytes(struct writer *writer, const void *bytes, size_t size)
{
    assert((size_t)(writer->end - writer->at) >= size);
    if (size == 0)
        return;
    assert(bytes != NULL);
    memcpy(writer->at, bytes, size);
    writer->at += size;
}

static inline void write_u8(struct writer *writer, uint8_t value)
{
    assert(writer->at < writer->end);
    *writer->at++ = value;
}

static inline void write_u16(struct writer *writer, uint16_t value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    write_bytes(writer, bytes, sizeof(bytes));
}

static inline void write_u32(struct writer *writer, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    write_bytes(writer, bytes, sizeof(bytes));
}

static inline void write_slice(struct writer *writer, struct slice slice)
{
    write_bytes(writer, slice.data, slice.size);
}

static inline void write_sized(struct writer *writer, struct slice slice)
{
    assert(slice.size <= UINT16_MAX);
    write_u16(writer, (uint16_t)slice.size);
    write_slice(writer, slice);
}

static inline uint32_t variable_size(uint32_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

static inline void write_variable(struct writer *writer, uint32_t value)
{
    while (value >= 128) {
        write_u8(writer, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    write_u8(writer, (uint8_t)value);
}
