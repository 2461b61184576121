/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * What a match costs in the local index and in the interest table, one thread, against a plain list
 * of filters; and what a filter costs in time and memory.
 *
 *     shardmq-micro-topic-index [filters...]        (without: 1000 100000 1000000)
 *
 * Mixes (numbers as in the trial that the design rests on):
 *     m1  one exact filter a device, half of the topics have one          1 shape
 *     m2  dev/id/# a device and five wildcard filters                     5 shapes
 *     m3  a plant after ISA-95, seven levels, wildcards in many places   20 shapes
 *     m6  tenants, each with a shape of its own under its own root      120 shapes
 *
 * cold: 100,000 topics in turn, over the whole population; hot: 256 topics. A column is the median
 * of five rounds, in nanoseconds a match.
 */

#include "bench/micro/micro.h"
#include "core/broker/interest.h"
#include "core/broker/topic_index.h"
#include "proto/topic.h"

#include <stdio.h>
#include <stdlib.h>

#define TOPICS_COLD 100000U
#define TOPICS_HOT  256U
#define TEXT_MAX    96U
#define ROUNDS      5
#define SHARDS      4U
#define PLANT_FORMS 20U
#define TENANTS     120U

struct mix {
    const char *name;
    /* The filter of this number; the same for any population, but where it names others. */
    size_t (*filter)(uint32_t number, uint32_t population, char *text);
    size_t (*topic)(uint32_t number, uint32_t population, char *text);
};

static size_t print_size(int size)
{
    if (size < 0 || (size_t)size >= TEXT_MAX)
        abort();
    return (size_t)size;
}

static size_t m1_filter(uint32_t number, uint32_t population, char *text)
{
    (void)population;
    return print_size(snprintf(text, TEXT_MAX, "dev/%08u/status", number));
}

static size_t m1_topic(uint32_t number, uint32_t population, char *text)
{
    uint32_t device = number_below(1, number, 2 * population);
    return print_size(snprintf(text, TEXT_MAX, "dev/%08u/status", device));
}

static size_t m2_filter(uint32_t number, uint32_t population, char *text)
{
    static const char *const wild[] = {"dev/+/status", "dev/+/+", "dev/+/temperature/#",
                                       "+/+/alarm", "#"};
    if (number >= 5)
        return m1_filter(number, population, text) - sizeof("status") + 1 +
               print_size(snprintf(text + sizeof("dev/00000000/") - 1, 8, "#"));
    return print_size(snprintf(text, TEXT_MAX, "%s", wild[number]));
}

static size_t m2_topic(uint32_t number, uint32_t population, char *text)
{
    static const char *const leaves[] = {"status", "temperature/1", "alarm", "a/b"};
    uint32_t                 device = number_below(2, number, population);
    uint32_t                 leaf = number_below(3, number, 4);
    return print_size(snprintf(text, TEXT_MAX, "dev/%08u/%s", device, leaves[leaf]));
}

/* enterprise/site/area/line/cell/machine/signal: which levels a form replaces by `+`, and its `#`.
 */
static const struct {
    uint8_t plus;
    uint8_t length; /* 7: no `#` */
} plant_forms[PLANT_FORMS] = {
    {0x00, 7}, {0x40, 7}, {0x20, 7}, {0x10, 7}, {0x08, 7}, {0x00, 6}, {0x00, 5},
    {0x00, 4}, {0x04, 7}, {0x02, 7}, {0x20, 6}, {0x10, 6}, {0x18, 7}, {0x30, 7},
    {0x08, 6}, {0x04, 6}, {0x0c, 7}, {0x50, 7}, {0x28, 7}, {0x24, 7},
};

static size_t plant_path(uint32_t number, uint32_t population, uint8_t plus, uint32_t length,
                         char *text)
{
    static const char *const names[] = {"ent", "site", "area", "line", "cell", "machine", "signal"};
    /* Names a level, so that a filter with few wildcards is met now and then. */
    uint32_t scale = population > 100000 ? 2 : 1;
    uint32_t spread[] = {1, 8 * scale, 8, 10 * scale, 6, 10 * scale, 40};
    size_t   size = 0;
    for (uint32_t level = 0; level < length; level++) {
        uint32_t name = number_below(10 + level, number, spread[level]);
        if (level > 0)
            text[size++] = '/';
        if ((plus >> level & 1) != 0)
            text[size++] = '+';
        else
            size += print_size(snprintf(text + size, 16, "%s%u", names[level], name));
    }
    if (length < 7)
        size += print_size(snprintf(text + size, 4, "/#"));
    return size;
}

static size_t m3_filter(uint32_t number, uint32_t population, char *text)
{
    uint32_t form = number % PLANT_FORMS;
    return plant_path(number, population, plant_forms[form].plus, plant_forms[form].length, text);
}

static size_t m3_topic(uint32_t number, uint32_t population, char *text)
{
    return plant_path(number_below(4, number, 2 * population), population, 0, 7, text);
}

static size_t m6_path(uint32_t tenant, uint32_t device, uint32_t plus, char *text)
{
    size_t size = print_size(snprintf(text, TEXT_MAX, "tenant%u/dev%u", tenant, device));
    for (uint32_t level = 0; level < 7; level++)
        size +=
            print_size(snprintf(text + size, 8, (plus >> level & 1) != 0 ? "/+" : "/s%u", level));
    return size;
}

static size_t m6_filter(uint32_t number, uint32_t population, char *text)
{
    (void)population;
    uint32_t tenant = number % TENANTS;
    return m6_path(tenant, number / TENANTS, tenant + 1, text);
}

static size_t m6_topic(uint32_t number, uint32_t population, char *text)
{
    uint32_t any = number_below(5, number, population + population / 2);
    return m6_path(any % TENANTS, any / TENANTS, 0, text);
}

static const struct mix mixes[] = {
    {"m1", m1_filter, m1_topic},
    {"m2", m2_filter, m2_topic},
    {"m3", m3_filter, m3_topic},
    {"m6", m6_filter, m6_topic},
};

struct bench {
    struct topic_secret    secret;
    struct topic_index    *index;
    struct interest_table *interest;
    struct slice          *topics;
    char                  *texts;
    uint32_t               topic_count; /* a multiple of TOPIC_BATCH_MAX */
    uint64_t               matched;
};

typedef void (*match_round)(struct bench *bench);

static void match_local(struct bench *bench)
{
    for (uint32_t at = 0; at < bench->topic_count; at++) {
        struct topic_hashes hashes;
        uint32_t            count;
        topic_hashes_compute(&bench->secret, bench->topics[at], &hashes);
        (void)topic_index_match(bench->index, bench->topics[at], &hashes, &count);
        bench->matched += count;
    }
}

static void match_local_batch(struct bench *bench)
{
    struct topic_hashes  hashes[TOPIC_BATCH_MAX];
    struct filter_node **nodes[TOPIC_BATCH_MAX];
    uint32_t             counts[TOPIC_BATCH_MAX];
    for (uint32_t at = 0; at < bench->topic_count; at += TOPIC_BATCH_MAX) {
        for (uint32_t of = 0; of < TOPIC_BATCH_MAX; of++)
            topic_hashes_compute(&bench->secret, bench->topics[at + of], &hashes[of]);
        topic_index_match_batch(bench->index, TOPIC_BATCH_MAX, bench->topics + at, hashes, nodes,
                                counts);
        bench->matched += counts[0];
    }
}

static void match_interest(struct bench *bench)
{
    for (uint32_t at = 0; at < bench->topic_count; at++) {
        struct topic_hashes hashes;
        struct shard_set    set = {0};
        topic_hashes_compute(&bench->secret, bench->topics[at], &hashes);
        interest_match(bench->interest, &hashes, &set);
        bench->matched += set.words[0];
    }
}

static void match_interest_batch(struct bench *bench)
{
    struct topic_hashes hashes[TOPIC_BATCH_MAX];
    for (uint32_t at = 0; at < bench->topic_count; at += TOPIC_BATCH_MAX) {
        struct shard_set sets[TOPIC_BATCH_MAX] = {0};
        for (uint32_t of = 0; of < TOPIC_BATCH_MAX; of++)
            topic_hashes_compute(&bench->secret, bench->topics[at + of], &hashes[of]);
        interest_match_batch(bench->interest, TOPIC_BATCH_MAX, hashes, sets);
        bench->matched += sets[0].words[0];
    }
}

static void match_naive(struct bench *bench)
{
    for (uint32_t at = 0; at < bench->topic_count; at++) {
        uint64_t            cursor = 0;
        struct filter_node *node;
        while ((node = topic_index_walk(bench->index, &cursor)) != NULL)
            bench->matched +=
                topic_matches(slice_of(node->filter, node->filter_size), bench->topics[at]);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double first = *(const double *)a;
    double second = *(const double *)b;
    return (first > second) - (first < second);
}

static double ns_a_match(struct bench *bench, match_round round, int rounds)
{
    double ns[ROUNDS];
    for (int at = 0; at < rounds; at++) {
        uint64_t begin = now_ns();
        uint32_t repeats = bench->topic_count < 10000 && rounds == ROUNDS ? 100 : 1;
        for (uint32_t repeat = 0; repeat < repeats; repeat++)
            round(bench);
        ns[at] = (double)(now_ns() - begin) / repeats / bench->topic_count;
    }
    qsort(ns, (size_t)rounds, sizeof(ns[0]), compare_doubles);
    return ns[rounds / 2];
}

static void topics_make(struct bench *bench, const struct mix *mix, uint32_t population)
{
    bench->texts = malloc((size_t)TOPICS_COLD * TEXT_MAX);
    bench->topics = malloc(TOPICS_COLD * sizeof(*bench->topics));
    if (bench->texts == NULL || bench->topics == NULL)
        abort();
    for (uint32_t at = 0; at < TOPICS_COLD; at++) {
        char *text = bench->texts + (size_t)at * TEXT_MAX;
        bench->topics[at] = slice_of(text, mix->topic(at, population, text));
    }
}

struct cost {
    uint64_t total_ns;
    uint64_t longest_ns;
};

static void cost_add(struct cost *cost, uint64_t ns, uint64_t overhead_ns)
{
    ns = ns > overhead_ns ? ns - overhead_ns : 0;
    cost->total_ns += ns;
    if (ns > cost->longest_ns)
        cost->longest_ns = ns;
}

static void filters_make(struct bench *bench, const struct mix *mix, uint32_t population,
                         struct cost *insert, struct cost *announce)
{
    uint64_t overhead_ns = ran_ns_overhead();
    for (uint32_t number = 0; number < population; number++) {
        char                text[TEXT_MAX];
        bool                created;
        struct interest_key key;
        struct slice        filter = slice_of(text, mix->filter(number, population, text));

        uint64_t begin = ran_ns();
        if (topic_index_insert(bench->index, filter, &created) == NULL)
            abort();
        uint64_t inserted = ran_ns();
        if (created) {
            interest_key_of(bench->interest, filter, &key);
            if (!interest_add(bench->interest, &key, (uint16_t)(number % SHARDS)))
                abort();
        }
        uint64_t announced = ran_ns();
        for (uint16_t home = 0; home < SHARDS && number % 64 == 0; home++)
            interest_free_garbage(interest_take_garbage(bench->interest, home));
        cost_add(insert, inserted - begin, overhead_ns);
        cost_add(announce, announced - inserted, overhead_ns);
    }
}

/* In another order than they came; the time of one removal. */
static double filters_remove(struct bench *bench, const struct mix *mix, uint32_t population)
{
    uint64_t begin = now_ns();
    for (uint32_t at = 0; at < population; at++) {
        char                text[TEXT_MAX];
        uint32_t            number = (uint32_t)((uint64_t)at * 611953 % population);
        struct slice        filter = slice_of(text, mix->filter(number, population, text));
        struct filter_node *node = topic_index_find(bench->index, filter);
        if (node != NULL)
            topic_index_remove(bench->index, node);
    }
    return (double)(now_ns() - begin) / population;
}

static void run(const struct mix *mix, uint32_t population)
{
    struct bench bench = {0};
    struct cost  insert = {0};
    struct cost  announce = {0};
    topic_secret_init(&bench.secret, (const uint8_t *)"micro benchmark: the same secret", 32);
    bench.index = topic_index_create(&bench.secret, 4096);
    bench.interest = interest_create(&bench.secret, SHARDS);
    if (bench.index == NULL || bench.interest == NULL)
        abort();
    filters_make(&bench, mix, population, &insert, &announce);
    topics_make(&bench, mix, population);

    static const match_round rounds[] = {match_local, match_local_batch, match_interest,
                                         match_interest_batch};
    printf("%s %8llu %4u", mix->name, (unsigned long long)topic_index_filters(bench.index),
           topic_index_shapes(bench.index));
    bench.topic_count = TOPICS_COLD;
    match_local(&bench);
    printf(" %6.1f |", (double)bench.matched / TOPICS_COLD);
    for (size_t at = 0; at < sizeof(rounds) / sizeof(rounds[0]); at++) {
        bench.topic_count = TOPICS_COLD;
        double cold = ns_a_match(&bench, rounds[at], ROUNDS);
        bench.topic_count = TOPICS_HOT;
        double hot = ns_a_match(&bench, rounds[at], ROUNDS);
        printf(" %5.0f/%-4.0f", cold, hot);
    }
    bench.topic_count = population > 100000 ? 2 : TOPIC_BATCH_MAX;
    printf(" %9.0f |", ns_a_match(&bench, match_naive, 1));

    double filters = (double)topic_index_filters(bench.index);
    printf(" %5.1f %5.1f |", (double)topic_index_bytes(bench.index) / filters,
           (double)interest_bytes(bench.interest) / filters);
    printf(" %4llu %4llu", (unsigned long long)insert.total_ns / population,
           (unsigned long long)insert.longest_ns / 1000);
    printf(" %4llu %4llu", (unsigned long long)announce.total_ns / population,
           (unsigned long long)announce.longest_ns / 1000);
    printf(" %4.0f\n", filters_remove(&bench, mix, population));
    (void)fflush(stdout);

    topic_index_destroy(bench.index);
    interest_destroy(bench.interest);
    free(bench.texts);
    free(bench.topics);
}

int main(int argument_count, char **arguments)
{
    static const uint32_t populations[] = {1000, 100000, 1000000};
    printf("ns a match cold/hot (hashing included); B a filter; ns an operation, longest in us\n"
           "mix filters shapes m/pub | local  batch8  interest  batch8  naive | B local, interest"
           " | insert longest announce longest remove\n");
    for (size_t mix = 0; mix < sizeof(mixes) / sizeof(mixes[0]); mix++) {
        if (argument_count > 1) {
            for (int at = 1; at < argument_count; at++)
                run(&mixes[mix], (uint32_t)strtoul(arguments[at], NULL, 10));
            continue;
        }
        for (size_t at = 0; at < sizeof(populations) / sizeof(populations[0]); at++)
            run(&mixes[mix], populations[at]);
    }
    return 0;
}
