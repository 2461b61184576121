/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Shapes of filters: which levels are names, which `+`, and whether `#` follows. Filters of one
 * shape are found by one probe, so what counts is the shapes that are alive. They are kept on a
 * board of up to SHAPES_MAX slots with, for each slot,
 *
 *   fit      which numbers of levels it can match, and whether it may match `$` topics
 *   cells    tuple pruning: does it have any filter whose name at this level falls into this
 * bucket?
 *
 * A byte of the board is a number of writers, not a flag: so a home shard of the interest table can
 * withdraw what it has added without a word to the others who write the same board, and a reader
 * never finds zero where a filter is. That board is shared between shards; the local topic index
 * has one to itself. Each writer counts its own filters (struct shape_writer).
 *
 * Memory order: a writer announces a filter to others through a parcel, after all stores here; that
 * hand-over orders them. Readers that come earlier may miss what is only just being added.
 */

#include "core/broker/topic_hash.h"
#include "proto/bytes.h"

#define SHAPES_MAX        256U
#define SHAPE_BLOCK       32U /* slots that are looked at together */
#define SHAPE_BLOCKS      (SHAPES_MAX / SHAPE_BLOCK)
#define SHAPE_PRUNE_ABOVE 8U /* fewer candidates are probed faster than pruned */

/* A shape in 48 bits, shifted to leave room for the board's count of writers. */
#define SHAPE_NAMES_SHIFT  32 /* bit i: level i is a name */
#define SHAPE_MULTI        (UINT64_C(1) << 24)
#define SHAPE_LENGTH_SHIFT 16 /* levels, without `#` */
#define SHAPE_BITS         (~UINT64_C(0xffff))
#define SHAPE_WRITERS      UINT64_C(0xffff)

static inline uint64_t shape_of(uint32_t names, uint32_t length, bool multi)
{
    return (uint64_t)names << SHAPE_NAMES_SHIFT | (uint64_t)length << SHAPE_LENGTH_SHIFT |
           (multi ? SHAPE_MULTI : 0);
}

static inline uint32_t shape_names(uint64_t shape)
{
    return (uint32_t)(shape >> SHAPE_NAMES_SHIFT);
}

static inline uint32_t shape_length(uint64_t shape)
{
    return (uint32_t)(shape >> SHAPE_LENGTH_SHIFT) & 0xff;
}

static inline bool shape_multi(uint64_t shape)
{
    return (shape & SHAPE_MULTI) != 0;
}

/* A filter as the tables see it. */
struct filter_hashes {
    bool     deep;  /* more names and `+` than TOPIC_LEVELS_HASHED: no shape, no key */
    uint64_t shape; /* SHAPE_BITS */
    uint64_t key;
    uint64_t pattern; /* the same for all filters of one shape, deep ones too */
    uint8_t  bucket[TOPIC_LEVELS_HASHED];
};

void filter_hashes_compute(const struct topic_secret *secret, struct slice filter,
                           struct filter_hashes *hashes);

static inline uint64_t shape_salt(const struct topic_secret *secret, uint64_t shape)
{
    return fold(shape & SHAPE_BITS, secret->shape_salt, secret->shape_multiply);
}

/* Both tables key by these bits; 16 are left for what the table says about the filter. */
#define KEY_BITS  (~UINT64_C(0xffff))
#define KEY_SHIFT 16

/* Spreads the key over tables and lines. */
static inline uint64_t key_spread(uint64_t key)
{
    uint64_t product = (key >> KEY_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);
    return product ^ product >> 32;
}

/* XOR sums of each subset of four levels: the key of any shape is then a few loads. */
struct level_sums {
    uint32_t groups; /* two at least: most topics need no more, and no loop */
    uint64_t sums[TOPIC_LEVELS_HASHED / 4][16];
};

void level_sums_compute(const struct topic_hashes *hashes, struct level_sums *sums);

/* The key of the filter of this shape that would match the topic. */
static inline uint64_t shape_key(const struct topic_secret *secret, const struct level_sums *sums,
                                 uint64_t shape)
{
    uint32_t names = shape_names(shape);
    uint64_t key =
        shape_salt(secret, shape) ^ sums->sums[0][names & 15] ^ sums->sums[1][names >> 4 & 15];
    for (uint32_t group = 2; group < sums->groups; group++)
        key ^= sums->sums[group][names >> 4 * group & 15];
    return key;
}

struct shape_board;

struct shape_board *shape_board_create(void);
void                shape_board_destroy(struct shape_board *board);
size_t              shape_board_bytes(const struct shape_board *board);

/* The shape in a slot, with its count of writers; 0 writers: none. */
uint64_t shape_board_at(const struct shape_board *board, uint32_t slot);

/* Slots whose shape may match the topic, one bit each; returns how many words there are. */
struct shape_candidates {
    uint32_t blocks;
    uint32_t slots[SHAPE_BLOCKS];
};

void shape_board_match(const struct shape_board *board, const struct topic_hashes *hashes,
                       struct shape_candidates *candidates);

/* What one writer has on a board. */
struct shape_tally;
struct shape_writer {
    struct shape_board *board;
    struct shape_tally *tallies[SHAPES_MAX]; /* by slot; NULL where it has none */
    uint64_t            shapes[SHAPES_MAX];  /* by slot; 0 where it has none */
    uint32_t            slots_used;          /* bound of a search */
    uint32_t            count;
    size_t              bytes;
};

void shape_writer_init(struct shape_writer *writer, struct shape_board *board);
void shape_writer_fini(struct shape_writer *writer);

/* The slot of a shape that this writer has, or SHAPE_NO_SLOT. */
#define SHAPE_NO_SLOT   (-1)
#define SHAPE_NO_MEMORY (-2)
int shape_writer_find(const struct shape_writer *writer, uint64_t shape);

/* Counts one more filter. Its slot; SHAPE_NO_SLOT when the board is full; SHAPE_NO_MEMORY. */
int shape_writer_add(struct shape_writer *writer, uint64_t shape, const uint8_t *bucket);

/* One filter less; the last one of a shape takes the shape off the board. */
void shape_writer_remove(struct shape_writer *writer, uint64_t shape, const uint8_t *bucket);
