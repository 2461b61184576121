/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/retained.h"

#include <stdlib.h>

#define SLAB_NODES        1024U
#define SLAB_COUNT_MAX    (UINT32_MAX / SLAB_NODES)
#define SEGMENT_BUCKETS   1024U /* power of two */
#define LEVEL_INLINE_SIZE 8U

/* The root is no one's child, brother or free neighbour: its number also says "none". */
#define ROOT 0U
#define NONE 0U

enum node_flag {
    NODE_USED = 1,
    NODE_EXPIRES = 2, /* the message may expire: sweeps look at no others */
};

/* One level of at least one retained topic. Names of other nodes are numbers. */
struct retained_node {
    struct message *message; /* one reference; NULL where only deeper topics are retained */
    union {
        char  text[LEVEL_INLINE_SIZE];
        char *long_text; /* malloc'ed, when text_size > LEVEL_INLINE_SIZE */
    } level;
    uint32_t parent;
    uint32_t first_child;
    uint32_t next; /* brother; of a free node: the next free one */
    uint32_t previous;
    uint32_t chain; /* the next of the same bucket */
    uint32_t hash;  /* of parent and level */
    uint32_t pins;  /* paused walks that stand here */
    uint16_t text_size;
    uint16_t flags; /* enum node_flag */
};

_Static_assert(sizeof(struct retained_node) == 48, "memory per retained topic is counted in these");

/* A level that is looked for: of a topic being stored, or of a filter. */
struct retained_level {
    const uint8_t *text;
    uint64_t       hash; /* of the text alone, keyed */
    uint16_t       size;
    bool           plus; /* the filter's `+` */
};

/*
 * Buckets are numbered by the hash's low bits: those below `split` have been divided already and
 * use one bit more. An insert divides one more bucket when there are more nodes than buckets.
 */
struct retained_store {
    const struct topic_secret *secret;
    struct retained_limits     limits;
    struct outbox             *outboxes;
    uint64_t                   message_count;
    uint64_t                   message_bytes;
    uint64_t                   system_count; /* of these, what the broker says of itself */
    uint64_t                   system_bytes;
    size_t                     text_bytes; /* of levels that do not fit into their node */

    struct retained_node **slabs;
    uint32_t               slab_count;
    uint32_t               slab_capacity;
    uint32_t               slots_used; /* numbers ever given, the root's included */
    uint32_t               first_free;
    uint32_t               sweep_at;
    uint32_t               walk_count;

    uint32_t **segments;
    uint32_t   segment_count;
    uint32_t   segment_capacity;
    uint32_t   node_count; /* in the map: without the root */
    uint32_t   bucket_mask;
    uint32_t   split;
};

static struct retained_node *node_at(const struct retained_store *store, uint32_t number)
{
    assert(number < store->slots_used);
    return &store->slabs[number / SLAB_NODES][number % SLAB_NODES];
}

static const char *node_text(const struct retained_node *node)
{
    return node->text_size > LEVEL_INLINE_SIZE ? node->level.long_text : node->level.text;
}

static bool node_dead(const struct retained_node *node)
{
    return node->message == NULL && node->first_child == NONE && node->pins == 0;
}

/* The array with room for one more pointer, doubled where needed. NULL: out of memory, as before.
 */
static void *pointers_reserve(void *array, uint32_t count, uint32_t *capacity)
{
    if (count < *capacity)
        return array;

    uint32_t wanted = *capacity == 0 ? 8 : *capacity * 2;
    void    *grown = realloc(array, wanted * sizeof(void *));
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

/* ---- levels ---- */

static struct retained_level level_of(const struct retained_store *store, const uint8_t *text,
                                      uint32_t size)
{
    return (struct retained_level){
        .text = text,
        .size = (uint16_t)size,
        .hash = level_hash(store->secret, slice_of(text, size)),
    };
}

/* Takes the level that starts at `*at`; `*at` is beyond the end after the last one. */
static struct slice next_level(struct slice topic, uint32_t *at)
{
    uint32_t       start = *at;
    const uint8_t *slash = memchr(topic.data + start, '/', topic.size - start);
    uint32_t       end = slash != NULL ? (uint32_t)(slash - topic.data) : topic.size;

    *at = end + 1;
    return slice_of(topic.data + start, end - start);
}

/* Multiplies, so that the low bits, which choose the bucket, depend on all of both. */
static uint32_t child_hash(uint32_t parent, const struct retained_level *level)
{
    uint64_t mixed = (level->hash ^ parent) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32);
}

/* ---- the map ---- */

static uint32_t *bucket_at(const struct retained_store *store, uint32_t bucket)
{
    return &store->segments[bucket / SEGMENT_BUCKETS][bucket % SEGMENT_BUCKETS];
}

static uint32_t *bucket_of(const struct retained_store *store, uint32_t hash)
{
    uint32_t bucket = hash & store->bucket_mask;

    if (bucket < store->split)
        bucket = hash & (store->bucket_mask << 1 | 1);
    return bucket_at(store, bucket);
}

static bool segment_append(struct retained_store *store)
{
    uint32_t **segments =
        pointers_reserve(store->segments, store->segment_count, &store->segment_capacity);
    if (segments == NULL)
        return false;
    store->segments = segments;

    uint32_t *segment = calloc(SEGMENT_BUCKETS, sizeof(*segment));
    if (segment == NULL)
        return false;
    store->segments[store->segment_count++] = segment;
    return true;
}

/* Divides the bucket whose turn it is. Without memory the chains just stay longer. */
static void map_grow(struct retained_store *store)
{
    uint32_t born = store->bucket_mask + 1 + store->split;

    if (store->bucket_mask >= UINT32_MAX / 4)
        return;
    if (born / SEGMENT_BUCKETS == store->segment_count && !segment_append(store))
        return;

    uint32_t *old = bucket_at(store, store->split);
    uint32_t *new = bucket_at(store, born);
    uint32_t  rest = *old;
    uint32_t *old_end = old;
    uint32_t *new_end = new;
    while (rest != NONE) {
        struct retained_node *node = node_at(store, rest);
        bool                  moves = (node->hash & (store->bucket_mask + 1)) != 0;
        if (moves) {
            *new_end = rest;
            new_end = &node->chain;
        } else {
            *old_end = rest;
            old_end = &node->chain;
        }
        rest = node->chain;
    }
    *old_end = NONE;
    *new_end = NONE;

    store->split++;
    if (store->split > store->bucket_mask) {
        store->bucket_mask = store->bucket_mask << 1 | 1;
        store->split = 0;
    }
}

static void map_insert(struct retained_store *store, uint32_t number)
{
    struct retained_node *node = node_at(store, number);
    uint32_t             *bucket = bucket_of(store, node->hash);

    node->chain = *bucket;
    *bucket = number;
    store->node_count++;
    if (store->node_count > store->bucket_mask + store->split)
        map_grow(store);
}

static void map_remove(struct retained_store *store, uint32_t number)
{
    const struct retained_node *node = node_at(store, number);
    uint32_t                   *link = bucket_of(store, node->hash);

    while (*link != number) {
        assert(*link != NONE);
        link = &node_at(store, *link)->chain;
    }
    *link = node->chain;
    store->node_count--;
}

static uint32_t child_find(const struct retained_store *store, uint32_t parent,
                           const struct retained_level *level)
{
    uint32_t hash = child_hash(parent, level);

    for (uint32_t number = *bucket_of(store, hash); number != NONE;) {
        const struct retained_node *node = node_at(store, number);
        if (node->hash == hash && node->parent == parent && node->text_size == level->size &&
            memcmp(node_text(node), level->text, level->size) == 0)
            return number;
        number = node->chain;
    }
    return NONE;
}

/* ---- nodes ---- */

static bool slab_append(struct retained_store *store)
{
    if (store->slab_count == SLAB_COUNT_MAX)
        return false;
    struct retained_node **slabs =
        pointers_reserve(store->slabs, store->slab_count, &store->slab_capacity);
    if (slabs == NULL)
        return false;
    store->slabs = slabs;

    struct retained_node *slab = calloc(SLAB_NODES, sizeof(*slab));
    if (slab == NULL)
        return false;
    store->slabs[store->slab_count++] = slab;
    return true;
}

/* A number without an owner, or NONE when out of memory. */
static uint32_t node_take(struct retained_store *store)
{
    uint32_t number = store->first_free;
    if (number != NONE) {
        store->first_free = node_at(store, number)->next;
        return number;
    }
    if (store->slots_used == store->slab_count * SLAB_NODES && !slab_append(store))
        return NONE;
    return store->slots_used++;
}

static void node_give(struct retained_store *store, uint32_t number)
{
    *node_at(store, number) = (struct retained_node){.next = store->first_free};
    store->first_free = number;
}

static bool node_set_text(struct retained_store *store, struct retained_node *node,
                          const struct retained_level *level)
{
    node->text_size = level->size;
    if (level->size <= LEVEL_INLINE_SIZE) {
        memcpy(node->level.text, level->text, level->size);
        return true;
    }
    node->level.long_text = malloc(level->size);
    if (node->level.long_text == NULL)
        return false;
    memcpy(node->level.long_text, level->text, level->size);
    store->text_bytes += level->size;
    return true;
}

static uint32_t child_insert(struct retained_store *store, uint32_t parent,
                             const struct retained_level *level)
{
    uint32_t number = node_take(store);
    if (number == NONE)
        return NONE;

    struct retained_node *node = node_at(store, number);
    *node = (struct retained_node){
        .parent = parent,
        .hash = child_hash(parent, level),
        .flags = NODE_USED,
    };
    if (!node_set_text(store, node, level)) {
        node_give(store, number);
        return NONE;
    }

    struct retained_node *above = node_at(store, parent);
    node->next = above->first_child;
    if (node->next != NONE)
        node_at(store, node->next)->previous = number;
    above->first_child = number;
    map_insert(store, number);
    return number;
}

static void child_remove(struct retained_store *store, uint32_t number)
{
    struct retained_node *node = node_at(store, number);

    map_remove(store, number);
    if (node->previous != NONE)
        node_at(store, node->previous)->next = node->next;
    else
        node_at(store, node->parent)->first_child = node->next;
    if (node->next != NONE)
        node_at(store, node->next)->previous = node->previous;

    if (node->text_size > LEVEL_INLINE_SIZE) {
        store->text_bytes -= node->text_size;
        free(node->level.long_text);
    }
    node_give(store, number);
}

/* Takes out `number` and each node above it that nothing needs any more. */
static void prune(struct retained_store *store, uint32_t number)
{
    while (number != ROOT && node_dead(node_at(store, number))) {
        uint32_t parent = node_at(store, number)->parent;
        child_remove(store, number);
        number = parent;
    }
}

/* ---- messages ---- */

static uint64_t message_weight(const struct message *message)
{
    return (uint64_t)message->topic_size + message->forward_size + message->payload_size;
}

/* $SYS is the broker's own: it takes no room from the clients. */
static bool is_system(const struct message *message)
{
    return message->topic_size >= 5 && memcmp(message->bytes, "$SYS/", 5) == 0;
}

static void node_drop_message(struct retained_store *store, struct retained_node *node)
{
    store->message_count--;
    store->message_bytes -= message_weight(node->message);
    if (is_system(node->message)) {
        store->system_count--;
        store->system_bytes -= message_weight(node->message);
    }
    message_release(node->message, store->outboxes);
    node->message = NULL;
    node->flags &= (uint16_t)~NODE_EXPIRES;
}

static void node_set_message(struct retained_store *store, struct retained_node *node,
                             struct message *message)
{
    node->message = message_retain(message);
    if (message->expires_ms != 0)
        node->flags |= NODE_EXPIRES;
    store->message_count++;
    store->message_bytes += message_weight(message);
    if (is_system(message)) {
        store->system_count++;
        store->system_bytes += message_weight(message);
    }
}

static bool has_room(const struct retained_store *store, const struct message *old,
                     const struct message *message)
{
    if (is_system(message))
        return true;

    uint64_t count = store->message_count - store->system_count + (old == NULL ? 1 : 0);
    uint64_t bytes = store->message_bytes - store->system_bytes -
                     (old == NULL ? 0 : message_weight(old)) + message_weight(message);

    if (store->limits.messages_max != 0 && count > store->limits.messages_max)
        return false;
    return store->limits.bytes_max == 0 || bytes <= store->limits.bytes_max;
}

static uint32_t topic_find(const struct retained_store *store, struct slice topic)
{
    uint32_t number = ROOT;

    for (uint32_t at = 0; at <= topic.size;) {
        struct slice          text = next_level(topic, &at);
        struct retained_level level = level_of(store, text.data, text.size);
        number = child_find(store, number, &level);
        if (number == NONE)
            return NONE;
    }
    return number;
}

/* The node of `topic`, made where missing. NONE: out of memory, and nothing is left behind. */
static uint32_t topic_insert(struct retained_store *store, struct slice topic)
{
    uint32_t number = ROOT;

    for (uint32_t at = 0; at <= topic.size;) {
        struct slice          text = next_level(topic, &at);
        struct retained_level level = level_of(store, text.data, text.size);
        uint32_t              child = child_find(store, number, &level);
        if (child == NONE)
            child = child_insert(store, number, &level);
        if (child == NONE) {
            prune(store, number);
            return NONE;
        }
        number = child;
    }
    return number;
}

static enum retained_outcome retained_clear(struct retained_store *store, struct slice topic)
{
    uint32_t number = topic_find(store, topic);
    if (number == NONE || node_at(store, number)->message == NULL)
        return RETAINED_ABSENT;

    node_drop_message(store, node_at(store, number));
    prune(store, number);
    return RETAINED_CLEARED;
}

enum retained_outcome retained_put(struct retained_store *store, struct message *message)
{
    struct slice topic = message_topic(message);
    assert(topic.size > 0);
    if (message->payload_size == 0)
        return retained_clear(store, topic); /* [MQTT-3.3.1-6] [MQTT-3.3.1-7] */

    uint32_t        number = topic_find(store, topic);
    struct message *old = number != NONE ? node_at(store, number)->message : NULL;
    if (!has_room(store, old, message))
        return RETAINED_FULL;

    if (number == NONE)
        number = topic_insert(store, topic);
    if (number == NONE)
        return RETAINED_OUT_OF_MEMORY;

    struct retained_node *node = node_at(store, number);
    if (old != NULL)
        node_drop_message(store, node);
    node_set_message(store, node, message);
    return old != NULL ? RETAINED_REPLACED : RETAINED_STORED;
}

struct message *retained_find(struct retained_store *store, struct slice topic, uint64_t now_ms)
{
    uint32_t number = topic_find(store, topic);
    if (number == NONE)
        return NULL;

    struct message *message = node_at(store, number)->message;
    return message != NULL && !message_expired(message, now_ms) ? message : NULL;
}

uint32_t retained_sweep(struct retained_store *store, uint64_t now_ms, uint32_t steps)
{
    uint32_t dropped = 0;

    if (steps > store->slots_used)
        steps = store->slots_used; /* once round is enough */
    for (; steps > 0; steps--) {
        if (store->sweep_at >= store->slots_used)
            store->sweep_at = 0;
        uint32_t              number = store->sweep_at++;
        struct retained_node *node = node_at(store, number);
        if ((node->flags & NODE_EXPIRES) == 0 || !message_expired(node->message, now_ms))
            continue;
        node_drop_message(store, node);
        prune(store, number);
        dropped++;
    }
    return dropped;
}

/* ---- walks ---- */

bool retained_walk_begin(struct retained_walk *walk, struct retained_store *store,
                         struct slice filter)
{
    uint32_t count = 1;
    for (uint32_t at = 0; at < filter.size; at++)
        count += filter.data[at] == '/';

    *walk = (struct retained_walk){.done = true};
    struct retained_level *levels = malloc(count * sizeof(*levels) + filter.size);
    if (levels == NULL)
        return false;
    struct slice copy = slice_of(levels + count, filter.size);
    memcpy(levels + count, filter.data, filter.size);

    for (uint32_t at = 0, index = 0; at <= copy.size; index++) {
        struct slice text = next_level(copy, &at);
        levels[index] = level_of(store, text.data, text.size);
        levels[index].plus = text.size == 1 && text.data[0] == '+';
        if (text.size == 1 && text.data[0] == '#') {
            assert(index == count - 1);
            walk->open_ended = true;
        }
    }

    walk->store = store;
    walk->levels = levels;
    walk->level_count = walk->open_ended ? count - 1 : count;
    walk->done = false;
    walk->at = ROOT;
    node_at(store, ROOT)->pins++;
    store->walk_count++;
    return true;
}

/* Whether the children at this depth are all taken, rather than the one that the filter names. */
static bool takes_all_at(const struct retained_walk *walk, uint32_t depth)
{
    return depth >= walk->level_count || walk->levels[depth].plus;
}

static uint32_t walk_child(const struct retained_walk *walk)
{
    if (walk->depth >= walk->level_count && !walk->open_ended)
        return NONE;
    if (takes_all_at(walk, walk->depth))
        return node_at(walk->store, walk->at)->first_child;
    return child_find(walk->store, walk->at, &walk->levels[walk->depth]);
}

/* One step: down to a child, or aside to a brother, or up. True: `at` is a node not seen before. */
static bool walk_step(struct retained_walk *walk)
{
    const struct retained_node *node = node_at(walk->store, walk->at);

    if (!walk->ascending) {
        uint32_t child = walk_child(walk);
        walk->ascending = child == NONE;
        if (child == NONE)
            return false;
        walk->at = child;
        walk->depth++;
        return true;
    }
    if (walk->at == ROOT) {
        walk->done = true;
        return false;
    }
    if (takes_all_at(walk, walk->depth - 1) && node->next != NONE) {
        walk->at = node->next;
        walk->ascending = false;
        return true;
    }
    walk->at = node->parent;
    walk->depth--;
    return false;
}

/* The message of the node that the walk has just entered, when the filter ends here or above. */
static struct message *walk_message(const struct retained_walk *walk, uint64_t now_ms)
{
    struct message *message = node_at(walk->store, walk->at)->message;

    if (walk->depth < walk->level_count || message == NULL || message_expired(message, now_ms))
        return NULL;
    return message;
}

/* A wildcard does not enter the subtree of a `$` topic [MQTT-4.7.2-1]. */
static bool walk_forbidden(const struct retained_walk *walk)
{
    const struct retained_node *node = node_at(walk->store, walk->at);
    return walk->depth == 1 && takes_all_at(walk, 0) && node->text_size > 0 &&
           node_text(node)[0] == '$';
}

struct message *retained_walk_next(struct retained_walk *walk, uint64_t now_ms, uint32_t *steps)
{
    if (walk->done)
        return NULL;

    struct message *found = NULL;
    uint32_t        left = walk->at;
    while (found == NULL && !walk->done && *steps > 0) {
        (*steps)--;
        if (!walk_step(walk))
            continue;
        if (walk_forbidden(walk))
            walk->ascending = true;
        else
            found = walk_message(walk, now_ms);
    }

    /* The pin moves only here: nothing changes the store while the walk goes. */
    node_at(walk->store, walk->at)->pins++;
    node_at(walk->store, left)->pins--;
    prune(walk->store, left);
    if (walk->done)
        retained_walk_end(walk);
    return found;
}

void retained_walk_end(struct retained_walk *walk)
{
    struct retained_store *store = walk->store;

    if (store != NULL) {
        node_at(store, walk->at)->pins--;
        prune(store, walk->at);
        store->walk_count--;
    }
    free(walk->levels);
    walk->levels = NULL;
    walk->store = NULL;
    walk->done = true;
}

/* ---- the store ---- */

struct retained_store *retained_create(const struct topic_secret    *secret,
                                       const struct retained_limits *limits,
                                       struct outbox                *outboxes)
{
    struct retained_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return NULL;

    store->secret = secret;
    store->limits = *limits;
    store->outboxes = outboxes;
    if (!segment_append(store) || !slab_append(store)) {
        retained_destroy(store);
        return NULL;
    }
    store->bucket_mask = SEGMENT_BUCKETS - 1;
    store->slots_used = 1; /* the root */
    store->slabs[0][ROOT].flags = NODE_USED;
    return store;
}

void retained_destroy(struct retained_store *store)
{
    if (store == NULL)
        return;
    for (uint32_t number = 0; number < store->slots_used; number++) {
        struct retained_node *node = node_at(store, number);
        if (node->message != NULL)
            message_release(node->message, store->outboxes);
        if (node->text_size > LEVEL_INLINE_SIZE)
            free(node->level.long_text);
    }
    for (uint32_t index = 0; index < store->slab_count; index++)
        free(store->slabs[index]);
    for (uint32_t index = 0; index < store->segment_count; index++)
        free(store->segments[index]);
    free(store->slabs);
    free(store->segments);
    free(store);
}

uint64_t retained_count(const struct retained_store *store)
{
    return store->message_count;
}

uint64_t retained_bytes(const struct retained_store *store)
{
    return store->message_bytes;
}

size_t retained_memory(const struct retained_store *store)
{
    return sizeof(*store) + store->text_bytes +
           (size_t)store->slab_count * SLAB_NODES * sizeof(struct retained_node) +
           (size_t)store->segment_count * SEGMENT_BUCKETS * sizeof(uint32_t) +
           (store->slab_capacity + store->segment_capacity) * sizeof(void *);
}

void retained_walk_forget(struct retained_walk *walk)
{
    free(walk->levels);
    *walk = (struct retained_walk){.done = true};
}
