/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/share.h"

#include <xxhash.h>

#include <stdlib.h>

#define NOBODY     UINT32_MAX
#define TABLE_FROM 16U /* groups: fewer are looked through one by one */

/*
 * A member stands in two rings: that of all members, and that of the members on its shard. A ring's
 * turn points at who is asked next. Who joins stands right before the turn, who leaves passes the
 * turn on: so in each round everybody is asked once, whoever comes and goes.
 */
enum ring_kind { RING_ALL, RING_SHARD, RING_COUNT };

struct slot {
    struct share_member member;
    uint32_t            next[RING_COUNT];
    uint32_t            previous[RING_COUNT];
};

struct shard_turn {
    uint16_t shard;
    uint32_t at; /* a slot on that shard */
};

/*
 * Slots are dense, so that a hash chooses one at once; the last one fills the hole of a leaver. The
 * lookup is an open-addressing table of slot numbers by (shard, session).
 */
struct share_group {
    struct share_group *next;
    struct share_group *previous;
    struct share_group *chain; /* the next of the same bucket */
    struct slot        *slots;
    uint32_t           *lookup;
    struct shard_turn  *shard_turns; /* [shard_count]: one for each shard with members */
    uint32_t            lookup_size; /* power of two, at least twice the members; 0 at first */
    uint32_t            shard_count;
    uint32_t            shard_capacity;
    uint32_t            count;
    uint32_t            capacity;
    uint32_t            turn; /* NOBODY when empty */
    uint32_t            sticky;
    struct handle       tag;
    uint64_t            hash;
    uint32_t            name_size;
    char                name[];
};

/* ---- groups of a filter ---- */

static uint64_t group_hash(struct slice name)
{
    return XXH3_64bits(name.data, name.size);
}

static bool group_is(const struct share_group *group, uint64_t hash, struct slice name)
{
    return group->hash == hash && slice_equal(share_group_name(group), name);
}

struct share_group *share_group_find(const struct share_groups *groups, struct slice name)
{
    if (groups == NULL)
        return NULL;

    uint64_t            hash = group_hash(name);
    bool                chained = groups->table != NULL;
    struct share_group *group =
        chained ? groups->table[hash & (groups->table_size - 1)] : groups->first;
    while (group != NULL && !group_is(group, hash, name))
        group = chained ? group->chain : group->next;
    return group;
}

static void chain_insert(struct share_groups *groups, struct share_group *group)
{
    struct share_group **bucket = &groups->table[group->hash & (groups->table_size - 1)];
    group->chain = *bucket;
    *bucket = group;
}

static void chain_remove(struct share_groups *groups, struct share_group *group)
{
    struct share_group **link = &groups->table[group->hash & (groups->table_size - 1)];
    while (*link != group)
        link = &(*link)->chain;
    *link = group->chain;
}

/* Twice the chains. Without memory they just stay longer. */
static void table_grow(struct share_groups *groups)
{
    uint32_t             size = groups->table == NULL ? 2 * TABLE_FROM : groups->table_size * 2;
    struct share_group **table = calloc(size, sizeof(struct share_group *));
    if (table == NULL)
        return;

    free(groups->table);
    groups->table = table;
    groups->table_size = size;
    for (struct share_group *group = groups->first; group != NULL; group = group->next)
        chain_insert(groups, group);
}

struct share_group *share_group_insert(struct share_groups **groups, struct slice name)
{
    assert(share_group_find(*groups, name) == NULL);

    struct share_group  *group = calloc(1, sizeof(*group) + name.size);
    struct share_groups *all = *groups != NULL ? *groups : calloc(1, sizeof(*all));
    if (group == NULL || all == NULL) {
        free(group);
        if (*groups == NULL)
            free(all);
        return NULL;
    }

    group->turn = NOBODY;
    group->sticky = NOBODY;
    group->hash = group_hash(name);
    group->name_size = name.size;
    memcpy(group->name, name.data, name.size);

    group->previous = all->last;
    if (all->last != NULL)
        all->last->next = group;
    else
        all->first = group;
    all->last = group;
    all->count++;
    if (all->table != NULL)
        chain_insert(all, group);
    if (all->count > TABLE_FROM && all->count > all->table_size)
        table_grow(all);
    *groups = all;
    return group;
}

static void group_free(struct share_group *group)
{
    free(group->slots);
    free(group->lookup);
    free(group->shard_turns);
    free(group);
}

void share_groups_destroy(struct share_groups **groups)
{
    struct share_groups *all = *groups;
    if (all == NULL)
        return;
    while (all->first != NULL) {
        struct share_group *group = all->first;
        all->first = group->next;
        group_free(group);
    }
    free(all->table);
    free(all);
    *groups = NULL;
}

void share_group_remove(struct share_groups **groups, struct share_group *group)
{
    struct share_groups *all = *groups;
    assert(group->count == 0);
    assert(all->count > 0);

    if (all->table != NULL)
        chain_remove(all, group);
    if (group->previous != NULL)
        group->previous->next = group->next;
    else
        all->first = group->next;
    if (group->next != NULL)
        group->next->previous = group->previous;
    else
        all->last = group->previous;
    group_free(group);

    if (--all->count == 0) {
        free(all->table);
        free(all);
        *groups = NULL;
    }
}

struct share_group *share_group_next(const struct share_group *group)
{
    return group->next;
}

struct slice share_group_name(const struct share_group *group)
{
    return slice_of(group->name, group->name_size);
}

uint32_t share_group_size(const struct share_group *group)
{
    return group->count;
}

/* ---- looking a member up ---- */

static uint32_t lookup_start(const struct share_group *group, uint16_t shard, struct handle session)
{
    uint64_t mixed = ((uint64_t)session.slot << 16 | shard) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32) & (group->lookup_size - 1);
}

static bool slot_is(const struct slot *slot, uint16_t shard, struct handle session)
{
    return slot->member.shard == shard && handle_equal(slot->member.session, session);
}

/* Where the lookup names this member, or the free place where it would. */
static uint32_t lookup_place(const struct share_group *group, uint16_t shard, struct handle session)
{
    uint32_t place = lookup_start(group, shard, session);

    while (group->lookup[place] != NOBODY &&
           !slot_is(&group->slots[group->lookup[place]], shard, session))
        place = (place + 1) & (group->lookup_size - 1);
    return place;
}

static uint32_t slot_find(const struct share_group *group, uint16_t shard, struct handle session)
{
    return group->count == 0 ? NOBODY : group->lookup[lookup_place(group, shard, session)];
}

/* Closes the hole, so that no search stops at it: what may move there, moves. */
static void lookup_remove(struct share_group *group, uint32_t hole)
{
    uint32_t mask = group->lookup_size - 1;

    for (uint32_t place = (hole + 1) & mask; group->lookup[place] != NOBODY;
         place = (place + 1) & mask) {
        const struct share_member *member = &group->slots[group->lookup[place]].member;
        uint32_t                   start = lookup_start(group, member->shard, member->session);
        if (((place - start) & mask) >= ((place - hole) & mask)) {
            group->lookup[hole] = group->lookup[place];
            hole = place;
        }
    }
    group->lookup[hole] = NOBODY;
}

/* Room for one more member in slots and lookup. */
static bool slots_reserve(struct share_group *group)
{
    if (group->count < group->capacity)
        return true;

    uint32_t     capacity = group->capacity == 0 ? 4 : group->capacity * 2;
    struct slot *slots = realloc(group->slots, capacity * sizeof(*slots));
    if (slots == NULL)
        return false;
    group->slots = slots;

    uint32_t *lookup = malloc((size_t)capacity * 2 * sizeof(*lookup));
    if (lookup == NULL)
        return false;
    free(group->lookup);
    group->lookup = lookup;
    group->lookup_size = capacity * 2;
    group->capacity = capacity;
    for (uint32_t place = 0; place < group->lookup_size; place++)
        lookup[place] = NOBODY;
    for (uint32_t slot = 0; slot < group->count; slot++) {
        const struct share_member *member = &slots[slot].member;
        lookup[lookup_place(group, member->shard, member->session)] = slot;
    }
    return true;
}

/* ---- rings ---- */

static struct shard_turn *shard_turn_find(struct share_group *group, uint16_t shard)
{
    for (uint32_t index = 0; index < group->shard_count; index++) {
        if (group->shard_turns[index].shard == shard)
            return &group->shard_turns[index];
    }
    return NULL;
}

/* The turn of this shard's ring, made where missing; NULL: out of memory. */
static struct shard_turn *shard_turn_insert(struct share_group *group, uint16_t shard)
{
    struct shard_turn *turn = shard_turn_find(group, shard);
    if (turn != NULL)
        return turn;

    if (group->shard_count == group->shard_capacity) {
        uint32_t           capacity = group->shard_capacity == 0 ? 2 : group->shard_capacity * 2;
        struct shard_turn *turns = realloc(group->shard_turns, capacity * sizeof(*turns));
        if (turns == NULL)
            return NULL;
        group->shard_turns = turns;
        group->shard_capacity = capacity;
    }
    turn = &group->shard_turns[group->shard_count++];
    *turn = (struct shard_turn){.shard = shard, .at = NOBODY};
    return turn;
}

/* In front of who is asked next: last in this round. */
static void ring_insert(struct share_group *group, enum ring_kind ring, uint32_t *turn,
                        uint32_t slot)
{
    struct slot *slots = group->slots;
    uint32_t     after = *turn == NOBODY ? slot : *turn;
    uint32_t     before = *turn == NOBODY ? slot : slots[after].previous[ring];

    slots[slot].next[ring] = after;
    slots[slot].previous[ring] = before;
    slots[before].next[ring] = slot;
    slots[after].previous[ring] = slot;
    if (*turn == NOBODY)
        *turn = slot;
}

static void ring_remove(struct share_group *group, enum ring_kind ring, uint32_t *turn,
                        uint32_t slot)
{
    struct slot *slots = group->slots;
    uint32_t     after = slots[slot].next[ring];

    if (*turn == slot)
        *turn = after != slot ? after : NOBODY;
    slots[slots[slot].previous[ring]].next[ring] = after;
    slots[after].previous[ring] = slots[slot].previous[ring];
}

/* Gives the member of slot `from` the number `to`, which is free, in everything that names it. */
static void slot_move(struct share_group *group, uint32_t from, uint32_t to)
{
    struct slot       *slots = group->slots;
    struct shard_turn *turn = shard_turn_find(group, slots[from].member.shard);
    uint32_t place = lookup_place(group, slots[from].member.shard, slots[from].member.session);

    slots[to] = slots[from];
    for (enum ring_kind ring = 0; ring < RING_COUNT; ring++) {
        /* Alone in the ring it points at itself. */
        bool alone = slots[from].next[ring] == from;
        slots[to].next[ring] = alone ? to : slots[from].next[ring];
        slots[to].previous[ring] = alone ? to : slots[from].previous[ring];
        slots[slots[to].previous[ring]].next[ring] = to;
        slots[slots[to].next[ring]].previous[ring] = to;
    }
    group->lookup[place] = to;
    if (group->turn == from)
        group->turn = to;
    if (group->sticky == from)
        group->sticky = to;
    if (turn->at == from)
        turn->at = to;
}

/* ---- members ---- */

bool share_group_join(struct share_group *group, const struct share_member *member, bool *is_new)
{
    uint32_t slot = slot_find(group, member->shard, member->session);
    *is_new = slot == NOBODY;
    if (slot != NOBODY) {
        uint32_t inflight = group->slots[slot].member.inflight;
        group->slots[slot].member = *member;
        group->slots[slot].member.inflight = inflight;
        return true;
    }

    if (!slots_reserve(group))
        return false;
    struct shard_turn *turn = shard_turn_insert(group, member->shard);
    if (turn == NULL)
        return false;

    slot = group->count++;
    group->slots[slot] = (struct slot){.member = *member};
    group->lookup[lookup_place(group, member->shard, member->session)] = slot;
    ring_insert(group, RING_ALL, &group->turn, slot);
    ring_insert(group, RING_SHARD, &turn->at, slot);
    return true;
}

bool share_group_leave(struct share_group *group, uint16_t shard, struct handle session)
{
    uint32_t slot = slot_find(group, shard, session);
    if (slot == NOBODY)
        return false;

    struct shard_turn *turn = shard_turn_find(group, shard);
    lookup_remove(group, lookup_place(group, shard, session));
    ring_remove(group, RING_ALL, &group->turn, slot);
    ring_remove(group, RING_SHARD, &turn->at, slot);
    if (turn->at == NOBODY)
        *turn = group->shard_turns[--group->shard_count];
    if (group->sticky == slot)
        group->sticky = NOBODY;

    uint32_t last = --group->count;
    if (slot != last)
        slot_move(group, last, slot);
    return true;
}

struct share_member *share_group_member(struct share_group *group, uint16_t shard,
                                        struct handle session)
{
    uint32_t slot = slot_find(group, shard, session);
    return slot != NOBODY ? &group->slots[slot].member : NULL;
}

/* ---- choice ---- */

/* The first pass takes who can have it now, the second whoever may. */
enum pass { PASS_ONLINE, PASS_ANY };

static bool may_take(const struct share_group *group, uint32_t slot,
                     const struct share_choice *choice, enum pass pass)
{
    const struct slot *candidate = &group->slots[slot];

    if (choice->exclude && slot_is(candidate, choice->exclude_shard, choice->exclude_session))
        return false;
    return pass == PASS_ANY || candidate->member.online;
}

/* The next in turn who may take it; moves the turn behind. */
static uint32_t pick_in_turn(const struct share_group *group, enum ring_kind ring, uint32_t *turn,
                             const struct share_choice *choice, enum pass pass)
{
    uint32_t slot = *turn;

    do {
        uint32_t after = group->slots[slot].next[ring];
        if (may_take(group, slot, choice, pass)) {
            *turn = after;
            return slot;
        }
        slot = after;
    } while (slot != *turn);
    return NOBODY;
}

static uint32_t pick_round_robin(struct share_group *group, const struct share_choice *choice,
                                 enum pass pass)
{
    return pick_in_turn(group, RING_ALL, &group->turn, choice, pass);
}

static uint32_t pick_local_first(struct share_group *group, const struct share_choice *choice,
                                 enum pass pass)
{
    struct shard_turn *turn = shard_turn_find(group, choice->publisher_shard);
    uint32_t           slot =
        turn != NULL ? pick_in_turn(group, RING_SHARD, &turn->at, choice, pass) : NOBODY;

    return slot != NOBODY ? slot : pick_round_robin(group, choice, pass);
}

static uint32_t pick_sticky(struct share_group *group, const struct share_choice *choice,
                            enum pass pass)
{
    if (group->sticky != NOBODY && may_take(group, group->sticky, choice, pass))
        return group->sticky;

    uint32_t slot = pick_round_robin(group, choice, pass);
    if (slot != NOBODY)
        group->sticky = slot;
    return slot;
}

/*
 * Jump consistent hash (Lamping and Veach): a number below `count`, of which few change when a
 * member comes or goes.
 */
static uint32_t jump_hash(uint64_t key, uint32_t count)
{
    int64_t chosen = 0;

    for (int64_t next = 0; next < (int64_t)count;) {
        chosen = next;
        key = key * UINT64_C(2862933555777941757) + 1;
        next = (int64_t)((double)(chosen + 1) *
                         ((double)(INT64_C(1) << 31) / (double)((key >> 33) + 1)));
    }
    return (uint32_t)chosen;
}

static uint32_t pick_by_hash(const struct share_group *group, uint64_t hash,
                             const struct share_choice *choice, enum pass pass)
{
    uint32_t first = jump_hash(hash, group->count);

    for (uint32_t step = 0; step < group->count; step++) {
        uint32_t slot = (first + step) % group->count;
        if (may_take(group, slot, choice, pass))
            return slot;
    }
    return NOBODY;
}

static uint32_t pick_least_inflight(struct share_group *group, const struct share_choice *choice,
                                    enum pass pass)
{
    uint32_t best = NOBODY;

    /* From the turn on, so that equals share. */
    uint32_t slot = group->turn;
    do {
        const struct slot *candidate = &group->slots[slot];
        if (may_take(group, slot, choice, pass) &&
            (best == NOBODY || candidate->member.inflight < group->slots[best].member.inflight))
            best = slot;
        slot = candidate->next[RING_ALL];
    } while (slot != group->turn);

    if (best != NOBODY)
        group->turn = group->slots[best].next[RING_ALL];
    return best;
}

static uint32_t pick(struct share_group *group, const struct share_choice *choice, enum pass pass)
{
    switch (choice->strategy) {
    case SHARE_LOCAL_FIRST:
        return pick_local_first(group, choice, pass);
    case SHARE_STICKY:
        return pick_sticky(group, choice, pass);
    case SHARE_HASH_CLIENT:
        return pick_by_hash(group, choice->publisher, choice, pass);
    case SHARE_HASH_TOPIC:
        return pick_by_hash(group, choice->topic_hash, choice, pass);
    case SHARE_LEAST_INFLIGHT:
        return pick_least_inflight(group, choice, pass);
    case SHARE_ROUND_ROBIN:
    case SHARE_STRATEGY_COUNT:
        break;
    }
    return pick_round_robin(group, choice, pass);
}

struct share_member *share_group_pick(struct share_group *group, const struct share_choice *choice)
{
    if (group->count == 0)
        return NULL;

    uint32_t slot = pick(group, choice, PASS_ONLINE);
    if (slot == NOBODY)
        slot = pick(group, choice, PASS_ANY);
    if (slot == NOBODY) /* only the one that just failed is left */
        slot = slot_find(group, choice->exclude_shard, choice->exclude_session);
    assert(slot != NOBODY);
    return &group->slots[slot].member;
}

struct handle share_group_tag(const struct share_group *group)
{
    return group->tag;
}

void share_group_set_tag(struct share_group *group, struct handle tag)
{
    group->tag = tag;
}
