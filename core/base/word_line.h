/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * A cache line of eight 64-bit words, compared whole: no branch per word, so a probe that finds
 * nothing costs no misprediction. The hash tables are made of such lines; a line with a word of
 * zero ends a probe. Results have one bit a word.
 *
 * `line` is 64-byte aligned. Lines of the interest table change under their readers: a word is read
 * in one piece on every machine we know, and the portable path says so to the compiler.
 */

#include <stdint.h>

#define LINE_WORDS 8U
#define LINE_BYTES 64U

#if defined(__SANITIZE_THREAD__)
#define WORD_LINE_PORTABLE 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WORD_LINE_PORTABLE 1
#endif
#endif

#if defined(__AVX2__) && !defined(WORD_LINE_PORTABLE)

#include <immintrin.h>

/* Words whose bits above `shift` are `value`. */
static inline uint32_t line_match(const uint64_t *line, uint64_t value, int shift)
{
    __m256i wanted = _mm256_set1_epi64x((long long)value);
    __m256i low = _mm256_load_si256((const __m256i *)(const void *)line);
    __m256i high = _mm256_load_si256((const __m256i *)(const void *)(line + 4));
    __m256i low_equal = _mm256_cmpeq_epi64(_mm256_srli_epi64(low, shift), wanted);
    __m256i high_equal = _mm256_cmpeq_epi64(_mm256_srli_epi64(high, shift), wanted);
    return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(low_equal)) |
           (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(high_equal)) << 4;
}

#else

static inline uint32_t line_match(const uint64_t *line, uint64_t value, int shift)
{
    uint32_t equal = 0;
    for (uint32_t word = 0; word < LINE_WORDS; word++) {
        uint64_t found = __atomic_load_n(&line[word], __ATOMIC_RELAXED) >> shift;
        equal |= (uint32_t)(found == value) << word;
    }
    return equal;
}

#endif

/* Words that were never used. */
static inline uint32_t line_free(const uint64_t *line)
{
    return line_match(line, 0, 0);
}
