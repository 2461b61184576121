/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/topic_hash.h"

#include "core/broker/shapes.h"
#include "tests/support/topic_random.h"

#include <criterion/criterion.h>

static struct topic_hashes hashes_of(const struct topic_secret *secret, const char *topic)
{
    struct topic_hashes hashes;
    topic_hashes_compute(secret, slice_text(topic), &hashes);
    return hashes;
}

Test(topic_hash, counts_levels_and_sees_the_dollar)
{
    struct topic_secret secret;
    random_secret(&secret, 1);

    cr_assert_eq(hashes_of(&secret, "a").levels, 1);
    cr_assert_eq(hashes_of(&secret, "/").levels, 2);
    cr_assert_eq(hashes_of(&secret, "//").levels, 3);
    cr_assert_eq(hashes_of(&secret, "plant/line-7/robot/axis").levels, 4);
    cr_assert(hashes_of(&secret, "$SYS/x").dollar);
    cr_assert_not(hashes_of(&secret, "a/$SYS").dollar);
}

Test(topic_hash, counts_levels_beyond_those_it_hashes)
{
    struct topic_secret secret;
    struct topic_hashes hashes;
    uint8_t             topic[2000];
    random_secret(&secret, 1);
    memset(topic, '/', sizeof(topic));

    topic_hashes_compute(&secret, slice_of(topic, sizeof(topic)), &hashes);

    cr_assert_eq(hashes.levels, 2001);
}

Test(topic_hash, splits_at_every_offset_as_a_byte_loop_would)
{
    struct topic_secret secret;
    struct random       random = {.state = 5};
    random_secret(&secret, 1);

    for (uint32_t round = 0; round < 2000; round++) {
        char     text[40];
        uint32_t size = 1 + random_below(&random, sizeof(text));
        uint32_t slashes = 0;
        for (uint32_t at = 0; at < size; at++) {
            text[at] = (char)("/0.\x80\xaf"[random_below(&random, 5)]);
            slashes += text[at] == '/';
        }
        struct topic_hashes hashes;
        topic_hashes_compute(&secret, slice_of(text, size), &hashes);
        cr_assert_eq(hashes.levels, slashes + 1);

        uint32_t level = 0;
        uint32_t start = 0;
        for (uint32_t at = 0; at <= size && level < TOPIC_LEVELS_HASHED; at++) {
            if (at < size && text[at] != '/')
                continue;
            uint64_t hash = level_hash(&secret, slice_of(text + start, at - start));
            cr_assert_eq(hashes.folded[level],
                         fold(hash, secret.position_add[level], secret.position_multiply[level]));
            level++;
            start = at + 1;
        }
    }
}

Test(topic_hash, gives_equal_names_at_two_positions_different_hashes)
{
    struct topic_secret secret;
    random_secret(&secret, 1);

    struct topic_hashes hashes = hashes_of(&secret, "x/x/y/y");

    cr_assert_neq(hashes.folded[0], hashes.folded[1]);
    cr_assert_neq(hashes.folded[0] ^ hashes.folded[1], hashes.folded[2] ^ hashes.folded[3]);
}

Test(topic_hash, depends_on_the_secret_alone)
{
    struct topic_secret first;
    struct topic_secret same;
    struct topic_secret other;
    random_secret(&first, 1);
    random_secret(&same, 1);
    random_secret(&other, 2);
    struct slice name = slice_text("client-17");

    cr_assert_eq(name_hash(&first, name), name_hash(&same, name));
    cr_assert_neq(name_hash(&first, name), name_hash(&other, name));
    cr_assert_neq(hashes_of(&first, "a").folded[0], hashes_of(&other, "a").folded[0]);
}

Test(topic_hash, spreads_names_evenly_over_homes)
{
    struct topic_secret secret;
    uint32_t            counts[7] = {0};
    random_secret(&secret, 1);

    for (uint32_t client = 0; client < 70000; client++)
        counts[home_of(name_hash(&secret, slice_of(&client, sizeof(client))), 7)]++;

    for (uint32_t home = 0; home < 7; home++) {
        cr_assert_gt(counts[home], 9500);
        cr_assert_lt(counts[home], 10500);
    }
}

Test(topic_hash, finds_the_key_of_a_filter_from_the_topic)
{
    struct topic_secret  secret;
    struct level_sums    sums;
    struct filter_hashes filter;
    random_secret(&secret, 1);
    struct topic_hashes topic = hashes_of(&secret, "a/b/c/d/e/f");
    level_sums_compute(&topic, &sums);

    static const char *const matching[] = {"a/b/c/d/e/f", "+/b/+/d/e/+", "a/#", "#",
                                           "a/+/c/d/+/f/#"};
    for (size_t at = 0; at < sizeof(matching) / sizeof(matching[0]); at++) {
        filter_hashes_compute(&secret, slice_text(matching[at]), &filter);
        cr_assert_eq(filter.key, shape_key(&secret, &sums, filter.shape), "%s", matching[at]);
    }
    filter_hashes_compute(&secret, slice_text("+/b/+/x/e/+"), &filter);
    cr_assert_neq(filter.key, shape_key(&secret, &sums, filter.shape));
}
