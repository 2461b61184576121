/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/outflow.h"

#include <assert.h>
#include <stdlib.h>

/*
 * Chunk sizes with their header are powers of two. A link whose last turn was small (an
 * acknowledgement) takes a small chunk, so that ten thousand mostly idle links do not walk through
 * ten thousand large ones.
 */
static const uint32_t chunk_capacity[CHUNK_CLASSES] = {
    256 - (uint32_t)sizeof(struct chunk),
    2048 - (uint32_t)sizeof(struct chunk),
    CHUNK_SIZE_MAX - (uint32_t)sizeof(struct chunk),
};

/* What stays in the free lists: enough for the links of one turn, not for a burst of a lifetime. */
static const uint32_t chunks_kept[CHUNK_CLASSES] = {4096, 1024, 256};
#define OUTFLOWS_KEPT 4096U

static struct chunk *chunk_take(struct outflow_pool *pool, uint32_t size, uint32_t class)
{
    while (class < CHUNK_CLASSES && chunk_capacity[class] < size)
        class ++;

    struct chunk *chunk = NULL;
    if (class < CHUNK_CLASSES && pool->free_chunks[class] != NULL) {
        chunk = pool->free_chunks[class];
        pool->free_chunks[class] = chunk->next_free;
        pool->free_chunk_count[class]--;
    } else {
        uint32_t capacity = class < CHUNK_CLASSES ? chunk_capacity[class] : size;
        chunk = malloc(sizeof(*chunk) + capacity);
        if (chunk == NULL)
            return NULL;
        chunk->capacity = capacity;
        chunk->class = class;
    }
    chunk->references = 1;
    chunk->used = 0;
    return chunk;
}

static void chunk_release(struct outflow_pool *pool, struct chunk *chunk)
{
    assert(chunk->references > 0);
    if (--chunk->references > 0)
        return;
    if (chunk->class < CHUNK_CLASSES &&
        pool->free_chunk_count[chunk->class] < chunks_kept[chunk->class]) {
        chunk->next_free = pool->free_chunks[chunk->class];
        pool->free_chunks[chunk->class] = chunk;
        pool->free_chunk_count[chunk->class]++;
        return;
    }
    free(chunk);
}

void outflow_pool_init(struct outflow_pool *pool, struct outbox *outboxes)
{
    *pool = (struct outflow_pool){.outboxes = outboxes};
}

void outflow_pool_fini(struct outflow_pool *pool)
{
    if (pool->run != NULL)
        chunk_release(pool, pool->run);
    for (uint32_t class = 0; class < CHUNK_CLASSES; class ++) {
        while (pool->free_chunks[class] != NULL) {
            struct chunk *chunk = pool->free_chunks[class];
            pool->free_chunks[class] = chunk->next_free;
            free(chunk);
        }
    }
    while (pool->free_outflows != NULL) {
        struct outflow *outflow = pool->free_outflows;
        pool->free_outflows = outflow->next_free;
        free(outflow);
    }
    *pool = (struct outflow_pool){0};
}

struct outflow *outflow_take(struct outflow_pool *pool)
{
    struct outflow *outflow = pool->free_outflows;
    if (outflow != NULL) {
        pool->free_outflows = outflow->next_free;
        pool->free_outflow_count--;
    } else {
        outflow = malloc(sizeof(*outflow));
        if (outflow == NULL)
            return NULL;
    }
    outflow->size = 0;
    outflow->total = 0;
    outflow->tail = NULL;
    outflow->parts = outflow->inline_parts;
    outflow->capacity = OUTFLOW_PARTS_INLINE;
    outflow->first = 0;
    outflow->next = 0;
    outflow->next_free = NULL;
    return outflow;
}

static struct part *part_at(const struct outflow *outflow, uint32_t number)
{
    return &outflow->parts[number & (outflow->capacity - 1)];
}

static void part_release(struct outflow_pool *pool, const struct part *part)
{
    if (part->of_message)
        message_release(part->owner.message, pool->outboxes);
    else
        chunk_release(pool, part->owner.chunk);
}

void outflow_drop(struct outflow_pool *pool, struct outflow *outflow)
{
    pool->bytes -= outflow->size;
    for (; outflow->first != outflow->next; outflow->first++)
        part_release(pool, part_at(outflow, outflow->first));
    if (outflow->tail != NULL)
        chunk_release(pool, outflow->tail);
    if (outflow->parts != outflow->inline_parts)
        free(outflow->parts);

    if (pool->free_outflow_count == OUTFLOWS_KEPT) {
        free(outflow);
        return;
    }
    outflow->next_free = pool->free_outflows;
    pool->free_outflows = outflow;
    pool->free_outflow_count++;
}

/* Doubles the ring of parts, keeping their running numbers. */
static bool parts_grow(struct outflow *outflow)
{
    uint32_t     capacity = outflow->capacity * 2;
    struct part *parts = malloc(capacity * sizeof(*parts));
    if (parts == NULL)
        return false;
    for (uint32_t number = outflow->first; number != outflow->next; number++)
        parts[number & (capacity - 1)] = *part_at(outflow, number);
    if (outflow->parts != outflow->inline_parts)
        free(outflow->parts);
    outflow->parts = parts;
    outflow->capacity = capacity;
    return true;
}

static struct part *part_push(struct outflow *outflow)
{
    if (outflow->next - outflow->first == outflow->capacity && !parts_grow(outflow))
        return NULL;
    return part_at(outflow, outflow->next++);
}

static void count_appended(struct outflow_pool *pool, struct outflow *outflow, uint32_t size)
{
    outflow->size += size;
    outflow->total += size;
    pool->bytes += size;
}

/* Appends bytes that lie in `chunk`: as more of the last part where they follow it. */
static bool append_bytes(struct outflow_pool *pool, struct outflow *outflow, struct chunk *chunk,
                         const uint8_t *data, uint32_t size)
{
    if (outflow->first != outflow->next) {
        struct part *last = part_at(outflow, outflow->next - 1);
        if (!last->of_message && last->owner.chunk == chunk && last->data + last->size == data) {
            last->size += size;
            count_appended(pool, outflow, size);
            return true;
        }
    }

    struct part *part = part_push(outflow);
    if (part == NULL)
        return false;
    *part = (struct part){.data = data, .size = size, .owner = {.chunk = chunk}};
    chunk->references++;
    count_appended(pool, outflow, size);
    return true;
}

uint8_t *outflow_append(struct outflow_pool *pool, struct outflow *outflow, uint32_t size,
                        uint32_t class)
{
    struct chunk *tail = outflow->tail;
    if (tail == NULL || tail->capacity - tail->used < size) {
        /* The first chunk was a guess; once it is full there is more to come. */
        struct chunk *chunk = chunk_take(pool, size, tail == NULL ? class : CHUNK_CLASSES - 1);
        if (chunk == NULL)
            return NULL;
        if (tail != NULL)
            chunk_release(pool, tail);
        outflow->tail = tail = chunk;
    }

    uint8_t *room = tail->bytes + tail->used;
    if (!append_bytes(pool, outflow, tail, room, size))
        return NULL;
    tail->used += size;
    return room;
}

bool outflow_append_payload(struct outflow_pool *pool, struct outflow *outflow,
                            struct message *message)
{
    struct slice payload = message_payload(message);
    struct part *part = part_push(outflow);
    if (part == NULL)
        return false;
    *part = (struct part){
        .data = payload.data,
        .size = payload.size,
        .of_message = true,
        .owner = {.message = message_retain(message)},
    };
    count_appended(pool, outflow, payload.size);
    return true;
}

uint8_t *outflow_run_reserve(struct outflow_pool *pool, uint32_t size, struct chunk **chunk)
{
    if (pool->run == NULL || pool->run->capacity - pool->run->used < size) {
        struct chunk *run = chunk_take(pool, size, CHUNK_CLASSES - 1);
        if (run == NULL)
            return NULL;
        if (pool->run != NULL)
            chunk_release(pool, pool->run);
        pool->run = run;
    }
    uint8_t *room = pool->run->bytes + pool->run->used;
    pool->run->used += size;
    pool->run->references++;
    *chunk = pool->run;
    return room;
}

void outflow_run_release(struct outflow_pool *pool, struct chunk *chunk)
{
    chunk_release(pool, chunk);
}

bool outflow_append_run(struct outflow_pool *pool, struct outflow *outflow, struct chunk *chunk,
                        const uint8_t *data, uint32_t size)
{
    return append_bytes(pool, outflow, chunk, data, size);
}

uint32_t outflow_view(const struct outflow *outflow, struct slice *parts, uint32_t parts_max)
{
    uint32_t count = 0;
    for (uint32_t at = outflow->first; at != outflow->next && count < parts_max; at++) {
        const struct part *part = part_at(outflow, at);
        parts[count++] = slice_of(part->data, part->size);
    }
    return count;
}

bool outflow_sent(struct outflow_pool *pool, struct outflow *outflow, uint64_t size)
{
    assert(size <= outflow->size);
    outflow->size -= size;
    pool->bytes -= size;

    while (size > 0) {
        struct part *part = part_at(outflow, outflow->first);
        if (part->size > size) {
            part->data += size;
            part->size -= (uint32_t)size;
            break;
        }
        size -= part->size;
        part_release(pool, part);
        outflow->first++;
    }
    return outflow->size == 0;
}
