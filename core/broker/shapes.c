/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/shapes.h"

#include "core/base/word_line.h"

#include <stdatomic.h>
#include <stdlib.h>

#define BUCKETS  256U
#define FIT_DEEP (TOPIC_LEVELS_HASHED + 1) /* topics of more levels than are hashed */
#define FIT_ROWS (FIT_DEEP + 1)
#define STICKY   UINT8_MAX /* a count that has reached it stays: too much, never too little */

/* One byte for each slot of a block: compared whole. */
struct row {
    _Alignas(SHAPE_BLOCK) atomic_uchar counts[SHAPE_BLOCK];
};

/* A level of a block of slots. */
struct cells {
    struct row buckets[BUCKETS];
};

struct block {
    struct row              fit[FIT_ROWS];
    struct row              dollar;                      /* begins with a name */
    struct row              ignore[TOPIC_LEVELS_HASHED]; /* `+`, or under or after the `#` */
    _Atomic(struct cells *) cells[TOPIC_LEVELS_HASHED];  /* made when first needed, and then kept */
};

struct shape_board {
    atomic_uint             blocks_used; /* never shrinks */
    _Atomic uint64_t        slots[SHAPES_MAX];
    _Atomic(struct block *) blocks[SHAPE_BLOCKS];
    atomic_size_t           bytes;
};

struct shape_tally {
    uint64_t filters;
    uint32_t counts[][BUCKETS]; /* a row for each level that is a name */
};

/* All subsets of four levels' hashes; levels that are not there count nothing. */
static void group_sums(const uint64_t *folded, uint32_t count, uint64_t *sum)
{
    if (count == 0) {
        memset(sum, 0, 16 * sizeof(*sum));
        return;
    }
    uint64_t first = folded[0];
    uint64_t second = count > 1 ? folded[1] : 0;
    uint64_t high[4] = {0, count > 2 ? folded[2] : 0, count > 3 ? folded[3] : 0};
    high[3] = high[1] ^ high[2];
    for (uint32_t subset = 0; subset < 4; subset++, sum += 4) {
        sum[0] = high[subset];
        sum[1] = high[subset] ^ first;
        sum[2] = high[subset] ^ second;
        sum[3] = high[subset] ^ first ^ second;
    }
}

void level_sums_compute(const struct topic_hashes *hashes, struct level_sums *sums)
{
    uint32_t left = hashes->levels < TOPIC_LEVELS_HASHED ? hashes->levels : TOPIC_LEVELS_HASHED;
    sums->groups = left <= 8 ? 2 : (left + 3) / 4;
    for (uint32_t group = 0; group < sums->groups; group++) {
        group_sums(hashes->folded + (size_t)group * 4, left, sums->sums[group]);
        left -= left < 4 ? left : 4;
    }
}

enum level_kind { LEVEL_NAME = 1, LEVEL_PLUS = 2, LEVEL_HASH = 3 };

static enum level_kind level_kind_of(const uint8_t *name, size_t size)
{
    if (size == 1 && name[0] == '+')
        return LEVEL_PLUS;
    if (size == 1 && name[0] == '#')
        return LEVEL_HASH;
    return LEVEL_NAME;
}

void filter_hashes_compute(const struct topic_secret *secret, struct slice filter,
                           struct filter_hashes *hashes)
{
    struct topic_hashes levels;
    topic_hashes_compute(secret, filter, &levels);
    *hashes = (struct filter_hashes){.pattern = secret->shape_salt};

    uint32_t       names = 0;
    uint32_t       length = 0;
    uint64_t       sum = 0;
    bool           multi = false;
    const uint8_t *name = filter.data;
    const uint8_t *end = filter.data + filter.size;
    for (uint32_t level = 0; level < levels.levels; level++) {
        const uint8_t  *slash = memchr(name, '/', (size_t)(end - name));
        const uint8_t  *stop = slash != NULL ? slash : end;
        enum level_kind kind = level_kind_of(name, (size_t)(stop - name));
        hashes->pattern = fold(hashes->pattern + kind, secret->shape_salt, secret->shape_multiply);
        multi = kind == LEVEL_HASH;
        length += !multi;
        if (kind == LEVEL_NAME && level < TOPIC_LEVELS_HASHED) {
            names |= UINT32_C(1) << level;
            sum ^= levels.folded[level];
            hashes->bucket[level] = levels.bucket[level];
        }
        name = stop + (slash != NULL);
    }
    hashes->deep = length > TOPIC_LEVELS_HASHED;
    if (!hashes->deep) {
        hashes->shape = shape_of(names, length, multi);
        hashes->key = shape_salt(secret, hashes->shape) ^ sum;
    }
}

struct shape_board *shape_board_create(void)
{
    struct shape_board *board = calloc(1, sizeof(*board));
    if (board != NULL)
        atomic_init(&board->bytes, sizeof(*board));
    return board;
}

void shape_board_destroy(struct shape_board *board)
{
    if (board == NULL)
        return;
    for (uint32_t at = 0; at < SHAPE_BLOCKS; at++) {
        struct block *block = atomic_load_explicit(&board->blocks[at], memory_order_relaxed);
        for (uint32_t level = 0; block != NULL && level < TOPIC_LEVELS_HASHED; level++)
            free(atomic_load_explicit(&block->cells[level], memory_order_relaxed));
        free(block);
    }
    free(board);
}

size_t shape_board_bytes(const struct shape_board *board)
{
    return atomic_load_explicit(&board->bytes, memory_order_relaxed);
}

uint64_t shape_board_at(const struct shape_board *board, uint32_t slot)
{
    return atomic_load_explicit(&board->slots[slot], memory_order_relaxed);
}

/*
 * Rows as a match reads them. A byte is read in one piece by a vector load too, which C cannot say;
 * the portable path, taken under the thread sanitizer, says it.
 */
#if defined(__AVX2__) && !defined(WORD_LINE_PORTABLE)

struct row_sum {
    __m256i bytes;
};

static inline struct row_sum row_load(const struct row *row)
{
    return (struct row_sum){_mm256_load_si256((const __m256i *)(const void *)row)};
}

static inline struct row_sum row_both(struct row_sum a, struct row_sum b)
{
    return (struct row_sum){_mm256_min_epu8(a.bytes, b.bytes)};
}

static inline struct row_sum row_either(struct row_sum a, struct row_sum b)
{
    return (struct row_sum){_mm256_or_si256(a.bytes, b.bytes)};
}

static inline uint32_t row_slots(struct row_sum sum)
{
    __m256i none = _mm256_cmpeq_epi8(sum.bytes, _mm256_setzero_si256());
    return ~(uint32_t)_mm256_movemask_epi8(none);
}

#else

struct row_sum {
    uint32_t slots;
};

static inline struct row_sum row_load(const struct row *row)
{
    struct row_sum sum = {0};
    for (uint32_t slot = 0; slot < SHAPE_BLOCK; slot++) {
        unsigned count = atomic_load_explicit(&row->counts[slot], memory_order_relaxed);
        sum.slots |= (uint32_t)(count != 0) << slot;
    }
    return sum;
}

static inline struct row_sum row_both(struct row_sum a, struct row_sum b)
{
    return (struct row_sum){a.slots & b.slots};
}

static inline struct row_sum row_either(struct row_sum a, struct row_sum b)
{
    return (struct row_sum){a.slots | b.slots};
}

static inline uint32_t row_slots(struct row_sum sum)
{
    return sum.slots;
}

#endif

static uint32_t block_prune(const struct block *block, const struct topic_hashes *hashes,
                            uint32_t levels, struct row_sum sum)
{
    for (uint32_t level = 0; level < levels; level++) {
        /* Pairs with the release in cells_for. */
        const struct cells *cells =
            atomic_load_explicit(&block->cells[level], memory_order_acquire);
        struct row_sum either = row_load(&block->ignore[level]);
        if (cells != NULL)
            either = row_either(either, row_load(&cells->buckets[hashes->bucket[level]]));
        sum = row_both(sum, either);
    }
    return row_slots(sum);
}

void shape_board_match(const struct shape_board *board, const struct topic_hashes *hashes,
                       struct shape_candidates *candidates)
{
    struct row_sum      sums[SHAPE_BLOCKS];
    const struct block *blocks[SHAPE_BLOCKS];
    uint32_t            row = hashes->levels < FIT_DEEP ? hashes->levels : FIT_DEEP;
    uint32_t            levels = row < FIT_DEEP ? row : TOPIC_LEVELS_HASHED;
    uint32_t            count = 0;

    candidates->blocks = atomic_load_explicit(&board->blocks_used, memory_order_relaxed);
    for (uint32_t at = 0; at < candidates->blocks; at++) {
        candidates->slots[at] = 0;
        /* Pairs with the release in block_for. */
        blocks[at] = atomic_load_explicit(&board->blocks[at], memory_order_acquire);
        if (blocks[at] == NULL) /* being made */
            continue;
        sums[at] = row_load(&blocks[at]->fit[row]);
        if (hashes->dollar)
            sums[at] = row_both(sums[at], row_load(&blocks[at]->dollar));
        candidates->slots[at] = row_slots(sums[at]);
        count += (uint32_t)__builtin_popcount(candidates->slots[at]);
    }
    if (count <= SHAPE_PRUNE_ABOVE)
        return;
    for (uint32_t at = 0; at < candidates->blocks; at++) {
        if (candidates->slots[at] != 0)
            candidates->slots[at] = block_prune(blocks[at], hashes, levels, sums[at]);
    }
}

static void count_up(struct row *row, uint32_t slot)
{
    atomic_uchar *count = &row->counts[slot % SHAPE_BLOCK];
    unsigned char old = atomic_load_explicit(count, memory_order_relaxed);
    while (old != STICKY &&
           !atomic_compare_exchange_weak_explicit(count, &old, (unsigned char)(old + 1),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

static void count_down(struct row *row, uint32_t slot)
{
    atomic_uchar *count = &row->counts[slot % SHAPE_BLOCK];
    unsigned char old = atomic_load_explicit(count, memory_order_relaxed);
    while (old != STICKY && old != 0 &&
           !atomic_compare_exchange_weak_explicit(count, &old, (unsigned char)(old - 1),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* Makes the block when it is not there yet. Several writers may try: one wins. */
static struct block *block_for(struct shape_board *board, uint32_t slot)
{
    uint32_t      at = slot / SHAPE_BLOCK;
    struct block *block = atomic_load_explicit(&board->blocks[at], memory_order_acquire);
    if (block == NULL) {
        struct block *made = aligned_alloc(SHAPE_BLOCK, sizeof(*made));
        if (made == NULL)
            return NULL;
        memset(made, 0, sizeof(*made));
        if (atomic_compare_exchange_strong_explicit(&board->blocks[at], &block, made,
                                                    memory_order_acq_rel, memory_order_acquire)) {
            block = made;
            atomic_fetch_add_explicit(&board->bytes, sizeof(*made), memory_order_relaxed);
        } else {
            free(made);
        }
    }
    unsigned used = atomic_load_explicit(&board->blocks_used, memory_order_relaxed);
    while (used < at + 1 &&
           !atomic_compare_exchange_weak_explicit(&board->blocks_used, &used, at + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return block;
}

static struct cells *cells_for(struct shape_board *board, struct block *block, uint32_t level)
{
    struct cells *cells = atomic_load_explicit(&block->cells[level], memory_order_acquire);
    if (cells != NULL)
        return cells;

    struct cells *made = aligned_alloc(SHAPE_BLOCK, sizeof(*made));
    if (made == NULL)
        return NULL;
    memset(made, 0, sizeof(*made));
    if (atomic_compare_exchange_strong_explicit(&block->cells[level], &cells, made,
                                                memory_order_acq_rel, memory_order_acquire)) {
        atomic_fetch_add_explicit(&board->bytes, sizeof(*made), memory_order_relaxed);
        return made;
    }
    free(made);
    return cells;
}

/* Joins the writers of the shape's slot, or claims a free one. */
static int slot_join(struct shape_board *board, uint64_t shape)
{
    for (uint32_t slot = 0; slot < SHAPES_MAX; slot++) {
        uint64_t word = atomic_load_explicit(&board->slots[slot], memory_order_acquire);
        while ((word & SHAPE_WRITERS) != 0 && (word & SHAPE_BITS) == shape) {
            if (atomic_compare_exchange_weak_explicit(&board->slots[slot], &word, word + 1,
                                                      memory_order_acq_rel, memory_order_acquire))
                return (int)slot;
        }
    }
    for (uint32_t slot = 0; slot < SHAPES_MAX; slot++) {
        uint64_t word = atomic_load_explicit(&board->slots[slot], memory_order_acquire);
        while ((word & SHAPE_WRITERS) == 0) {
            if (atomic_compare_exchange_weak_explicit(&board->slots[slot], &word, shape | 1,
                                                      memory_order_acq_rel, memory_order_acquire))
                return (int)slot;
        }
    }
    return SHAPE_NO_SLOT;
}

/* Releases what this writer took off the board before; pairs with the acquire in slot_join. */
static void slot_leave(struct shape_board *board, uint32_t slot)
{
    uint64_t word = atomic_fetch_sub_explicit(&board->slots[slot], 1, memory_order_release);
    assert((word & SHAPE_WRITERS) != 0);
}

/* Adds the shape (`change` is count_up) to all that does not depend on a filter's names. */
static void outline_change(struct block *block, uint32_t slot, uint64_t shape,
                           void (*change)(struct row *row, uint32_t slot))
{
    uint32_t length = shape_length(shape);
    uint32_t names = shape_names(shape);
    uint32_t last = shape_multi(shape) ? FIT_ROWS - 1 : length;
    for (uint32_t row = length; row <= last; row++)
        change(&block->fit[row], slot);
    if ((names & 1) != 0)
        change(&block->dollar, slot);
    for (uint32_t level = 0; level < TOPIC_LEVELS_HASHED; level++) {
        if ((names >> level & 1) == 0)
            change(&block->ignore[level], slot);
    }
}

void shape_writer_init(struct shape_writer *writer, struct shape_board *board)
{
    *writer = (struct shape_writer){.board = board};
}

void shape_writer_fini(struct shape_writer *writer)
{
    for (uint32_t slot = 0; slot < writer->slots_used; slot++)
        free(writer->tallies[slot]);
}

int shape_writer_find(const struct shape_writer *writer, uint64_t shape)
{
    for (uint32_t slot = 0; slot < writer->slots_used; slot++) {
        if (writer->shapes[slot] == shape && writer->tallies[slot] != NULL)
            return (int)slot;
    }
    return SHAPE_NO_SLOT;
}

static size_t tally_bytes(uint64_t shape)
{
    size_t rows = (size_t)__builtin_popcount(shape_names(shape));
    return sizeof(struct shape_tally) + rows * BUCKETS * sizeof(uint32_t);
}

/* A slot for a shape that this writer has not had so far. */
static int shape_begin(struct shape_writer *writer, uint64_t shape)
{
    struct shape_tally *tally = calloc(1, tally_bytes(shape));
    if (tally == NULL)
        return SHAPE_NO_MEMORY;
    int slot = slot_join(writer->board, shape);
    if (slot < 0) {
        free(tally);
        return slot;
    }

    struct block *block = block_for(writer->board, (uint32_t)slot);
    bool          made = block != NULL;
    for (uint32_t names = shape_names(shape); made && names != 0; names &= names - 1)
        made = cells_for(writer->board, block, (uint32_t)__builtin_ctz(names)) != NULL;
    if (!made) {
        slot_leave(writer->board, (uint32_t)slot);
        free(tally);
        return SHAPE_NO_MEMORY;
    }

    outline_change(block, (uint32_t)slot, shape, count_up);
    writer->tallies[slot] = tally;
    writer->shapes[slot] = shape;
    writer->bytes += tally_bytes(shape);
    writer->count++;
    if (writer->slots_used <= (uint32_t)slot)
        writer->slots_used = (uint32_t)slot + 1;
    return slot;
}

static void shape_end(struct shape_writer *writer, uint32_t slot)
{
    struct block *block = block_for(writer->board, slot);
    outline_change(block, slot, writer->shapes[slot], count_down);
    writer->bytes -= tally_bytes(writer->shapes[slot]);
    writer->count--;
    free(writer->tallies[slot]);
    writer->tallies[slot] = NULL;
    slot_leave(writer->board, slot);
    while (writer->slots_used > 0 && writer->tallies[writer->slots_used - 1] == NULL)
        writer->slots_used--;
}

static struct row *cell_row(struct shape_board *board, uint32_t slot, uint32_t level,
                            uint8_t bucket)
{
    struct block *block = block_for(board, slot);
    return &cells_for(board, block, level)->buckets[bucket];
}

int shape_writer_add(struct shape_writer *writer, uint64_t shape, const uint8_t *bucket)
{
    int slot = shape_writer_find(writer, shape);
    if (slot < 0)
        slot = shape_begin(writer, shape);
    if (slot < 0)
        return slot;

    struct shape_tally *tally = writer->tallies[slot];
    uint32_t            row = 0;
    tally->filters++;
    for (uint32_t names = shape_names(shape); names != 0; names &= names - 1, row++) {
        uint32_t level = (uint32_t)__builtin_ctz(names);
        if (tally->counts[row][bucket[level]]++ == 0)
            count_up(cell_row(writer->board, (uint32_t)slot, level, bucket[level]), (uint32_t)slot);
    }
    return slot;
}

void shape_writer_remove(struct shape_writer *writer, uint64_t shape, const uint8_t *bucket)
{
    int slot = shape_writer_find(writer, shape);
    assert(slot >= 0);

    struct shape_tally *tally = writer->tallies[slot];
    uint32_t            row = 0;
    for (uint32_t names = shape_names(shape); names != 0; names &= names - 1, row++) {
        uint32_t  level = (uint32_t)__builtin_ctz(names);
        uint32_t *count = &tally->counts[row][bucket[level]];
        assert(*count > 0);
        if (--*count == 0)
            count_down(cell_row(writer->board, (uint32_t)slot, level, bucket[level]),
                       (uint32_t)slot);
    }
    if (--tally->filters == 0)
        shape_end(writer, (uint32_t)slot);
}
