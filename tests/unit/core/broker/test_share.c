/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/share.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct share_group *group_of(struct share_groups **groups)
{
    struct share_group *group = share_group_insert(groups, slice_text("group"));
    cr_assert_not_null(group);
    return group;
}

static struct handle session_of(uint32_t number)
{
    return (struct handle){.slot = number, .generation = 1};
}

static struct share_member member_of(uint16_t shard, uint32_t number)
{
    return (struct share_member){.session = session_of(number), .shard = shard, .online = true};
}

static void join(struct share_group *group, uint16_t shard, uint32_t number)
{
    struct share_member member = member_of(shard, number);
    bool                is_new;
    cr_assert(share_group_join(group, &member, &is_new));
}

static void leave(struct share_group *group, uint16_t shard, uint32_t number)
{
    cr_assert(share_group_leave(group, shard, session_of(number)));
}

static void set_online(struct share_group *group, uint16_t shard, uint32_t number, bool online)
{
    share_group_member(group, shard, session_of(number))->online = online;
}

/* The session's number of whom is picked. */
static uint32_t pick(struct share_group *group, struct share_choice choice)
{
    struct share_member *member = share_group_pick(group, &choice);
    cr_assert_not_null(member);
    return member->session.slot;
}

static uint32_t pick_by(struct share_group *group, enum share_strategy strategy)
{
    return pick(group, (struct share_choice){.strategy = strategy});
}

static void end(struct share_groups **groups, struct share_group *group)
{
    for (uint16_t shard = 0; shard < 8; shard++) {
        for (uint32_t number = 0; number < 1100; number++)
            (void)share_group_leave(group, shard, session_of(number));
    }
    cr_assert_eq(share_group_size(group), 0);
    share_group_remove(groups, group);
    cr_assert_null(*groups);
}

Test(share, groups_of_a_filter_are_found_by_name_and_go_when_removed)
{
    struct share_groups *groups = NULL;
    char                 name[16];

    for (unsigned number = 0; number < 100; number++) {
        (void)snprintf(name, sizeof(name), "group%u", number);
        cr_assert_null(share_group_find(groups, slice_text(name)));
        cr_assert_not_null(share_group_insert(&groups, slice_text(name)));
    }

    unsigned seen = 0;
    for (struct share_group *group = groups->first; group != NULL; group = share_group_next(group))
        seen++;
    cr_assert_eq(seen, 100);
    for (unsigned number = 0; number < 100; number++) {
        (void)snprintf(name, sizeof(name), "group%u", number * 37 % 100);
        struct share_group *group = share_group_find(groups, slice_text(name));
        cr_assert(slice_equal(share_group_name(group), slice_text(name)));
        share_group_remove(&groups, group);
        cr_assert_null(share_group_find(groups, slice_text(name)));
    }
    cr_assert_null(groups);
}

Test(share, an_empty_group_has_nobody)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);

    for (enum share_strategy strategy = 0; strategy < SHARE_STRATEGY_COUNT; strategy++) {
        struct share_choice choice = {.strategy = strategy, .exclude = true};
        cr_assert_null(share_group_pick(group, &choice));
    }
    cr_assert_not(share_group_leave(group, 0, session_of(1)));
    end(&groups, group);
}

Test(share, round_robin_asks_each_once_a_round)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    for (uint32_t number = 0; number < 5; number++)
        join(group, (uint16_t)(number % 2), number);

    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t number = 0; number < 5; number++)
            cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), number);
    }
    end(&groups, group);
}

Test(share, round_robin_stays_fair_while_members_leave_and_join)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    for (uint32_t number = 0; number < 4; number++)
        join(group, 0, number);

    cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), 0);
    leave(group, 0, 0); /* was just asked: the round goes on with 1 */
    cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), 1);
    leave(group, 0, 2); /* would be next: 3 moves up */
    join(group, 0, 4);  /* last in this round: behind 1, which had its turn */
    cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), 3);
    cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), 1);
    cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), 4);
    cr_assert_eq(pick_by(group, SHARE_ROUND_ROBIN), 3);
    end(&groups, group);
}

Test(share, nobody_waits_longer_than_a_round_whoever_comes_and_goes)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    uint32_t             waited[64] = {0};
    uint64_t             noise = 42;
    for (uint32_t number = 0; number < 16; number++)
        join(group, (uint16_t)(number % 3), number);

    for (unsigned step = 0; step < 20000; step++) {
        noise = noise * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint32_t number = 16 + (uint32_t)(noise >> 33) % 48;
        uint16_t shard = (uint16_t)(number % 3);
        if (share_group_member(group, shard, session_of(number)) != NULL)
            leave(group, shard, number);
        else
            join(group, shard, number);

        uint32_t asked = pick_by(group, SHARE_ROUND_ROBIN);
        for (uint32_t stays = 0; stays < 16; stays++) {
            waited[stays] = stays == asked ? 0 : waited[stays] + 1;
            cr_assert_leq(waited[stays], 2 * 64);
        }
    }
    end(&groups, group);
}

Test(share, joining_again_replaces_the_member_and_keeps_its_inflight)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    join(group, 1, 7);
    share_group_member(group, 1, session_of(7))->inflight = 3;

    struct share_member again = member_of(1, 7);
    again.qos = 2;
    again.subscription_id = 99;
    bool is_new = true;
    cr_assert(share_group_join(group, &again, &is_new));

    cr_assert_not(is_new);
    cr_assert_eq(share_group_size(group), 1);
    const struct share_member *member = share_group_member(group, 1, session_of(7));
    cr_assert_eq(member->inflight, 3);
    cr_assert_eq(member->qos, 2);
    cr_assert_eq(member->subscription_id, 99);
    end(&groups, group);
}

Test(share, the_same_session_number_on_two_shards_is_two_members)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    join(group, 0, 1);
    join(group, 1, 1);

    cr_assert_eq(share_group_size(group), 2);
    leave(group, 0, 1);
    cr_assert_null(share_group_member(group, 0, session_of(1)));
    cr_assert_not_null(share_group_member(group, 1, session_of(1)));
    struct handle older = {.slot = 1, .generation = 2};
    cr_assert_null(share_group_member(group, 1, older));
    end(&groups, group);
}

Test(share, every_strategy_asks_online_members_before_offline_ones)
{
    for (enum share_strategy strategy = 0; strategy < SHARE_STRATEGY_COUNT; strategy++) {
        struct share_groups *groups = NULL;
        struct share_group  *group = group_of(&groups);
        for (uint32_t number = 0; number < 8; number++)
            join(group, 0, number);
        for (uint32_t number = 0; number < 8; number++)
            set_online(group, 0, number, number == 5);

        for (uint64_t hash = 0; hash < 20; hash++) {
            struct share_choice choice = {
                .strategy = strategy, .publisher = hash << 40, .topic_hash = hash << 40};
            cr_assert_eq(pick(group, choice), 5);
        }
        set_online(group, 0, 5, false);
        (void)pick_by(group, strategy); /* asserts that somebody gets it */
        end(&groups, group);
    }
}

Test(share, every_strategy_leaves_the_excluded_one_out_unless_it_is_alone)
{
    for (enum share_strategy strategy = 0; strategy < SHARE_STRATEGY_COUNT; strategy++) {
        struct share_groups *groups = NULL;
        struct share_group  *group = group_of(&groups);
        join(group, 0, 1);
        join(group, 0, 2);
        set_online(group, 0, 2, false);
        struct share_choice choice = {
            .strategy = strategy, .exclude = true, .exclude_session = session_of(1)};

        cr_assert_eq(pick(group, choice), 2); /* offline, but it has not failed */
        leave(group, 0, 2);
        cr_assert_eq(pick(group, choice), 1);
        end(&groups, group);
    }
}

Test(share, local_first_takes_turns_on_the_publishers_shard)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    join(group, 0, 1);
    join(group, 0, 2);
    join(group, 1, 3);
    struct share_choice here = {.strategy = SHARE_LOCAL_FIRST, .publisher_shard = 0};
    struct share_choice there = {.strategy = SHARE_LOCAL_FIRST, .publisher_shard = 1};

    for (unsigned round = 0; round < 4; round++) { /* publishers of two shards, in turn */
        cr_assert_eq(pick(group, here), 1 + round % 2);
        cr_assert_eq(pick(group, there), 3);
    }
    end(&groups, group);
}

Test(share, local_first_goes_elsewhere_when_nobody_here_is_online)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    join(group, 0, 1);
    join(group, 1, 2);
    join(group, 1, 3);
    set_online(group, 0, 1, false);
    struct share_choice here = {.strategy = SHARE_LOCAL_FIRST, .publisher_shard = 0};
    struct share_choice nowhere = {.strategy = SHARE_LOCAL_FIRST, .publisher_shard = 7};

    cr_assert_eq(pick(group, here), 2);
    cr_assert_eq(pick(group, nowhere), 3);
    set_online(group, 1, 2, false);
    set_online(group, 1, 3, false);
    cr_assert_eq(pick(group, here), 1);
    end(&groups, group);
}

Test(share, sticky_keeps_to_one_until_it_goes)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    for (uint32_t number = 0; number < 4; number++)
        join(group, 0, number);

    uint32_t first = pick_by(group, SHARE_STICKY);
    for (unsigned times = 0; times < 5; times++)
        cr_assert_eq(pick_by(group, SHARE_STICKY), first);
    join(group, 0, 9);
    leave(group, 0, 3); /* moves another member's place */
    cr_assert_eq(pick_by(group, SHARE_STICKY), first);

    leave(group, 0, first);
    uint32_t second = pick_by(group, SHARE_STICKY);
    cr_assert_neq(second, first);
    cr_assert_eq(pick_by(group, SHARE_STICKY), second);
    set_online(group, 0, second, false);
    cr_assert_neq(pick_by(group, SHARE_STICKY), second);
    end(&groups, group);
}

Test(share, hashes_stay_with_a_member_and_spread_over_all)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    uint32_t             before[1000];
    uint32_t             taken[10] = {0};
    for (uint32_t number = 0; number < 10; number++)
        join(group, 0, number);

    for (uint64_t key = 0; key < 1000; key++) {
        struct share_choice choice = {.strategy = SHARE_HASH_CLIENT,
                                      .publisher = key * UINT64_C(0x9e3779b97f4a7c15)};
        before[key] = pick(group, choice);
        taken[before[key]]++;
        cr_assert_eq(pick(group, choice), before[key]);
        choice = (struct share_choice){.strategy = SHARE_HASH_TOPIC,
                                       .topic_hash = key * UINT64_C(0x9e3779b97f4a7c15)};
        cr_assert_eq(pick(group, choice), before[key]);
    }
    for (uint32_t number = 0; number < 10; number++)
        cr_assert_geq(taken[number], 50);

    leave(group, 0, 4); /* few of the others' keys may move */
    uint32_t moved = 0;
    for (uint64_t key = 0; key < 1000; key++) {
        struct share_choice choice = {.strategy = SHARE_HASH_CLIENT,
                                      .publisher = key * UINT64_C(0x9e3779b97f4a7c15)};
        moved += pick(group, choice) != before[key];
    }
    cr_assert_leq(moved, 300);
    end(&groups, group);
}

Test(share, least_inflight_takes_the_smallest_and_shares_among_equals)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    for (uint32_t number = 0; number < 3; number++)
        join(group, 0, number);
    share_group_member(group, 0, session_of(0))->inflight = 5;
    share_group_member(group, 0, session_of(1))->inflight = 2;
    share_group_member(group, 0, session_of(2))->inflight = 3;

    cr_assert_eq(pick_by(group, SHARE_LEAST_INFLIGHT), 1);
    share_group_member(group, 0, session_of(1))->inflight = 3;
    uint32_t one = pick_by(group, SHARE_LEAST_INFLIGHT);
    uint32_t other = pick_by(group, SHARE_LEAST_INFLIGHT);
    cr_assert_eq(one + other, 3);
    end(&groups, group);
}

Test(share, a_thousand_members_are_found_after_half_have_left)
{
    struct share_groups *groups = NULL;
    struct share_group  *group = group_of(&groups);
    for (uint32_t number = 0; number < 1000; number++)
        join(group, (uint16_t)(number % 5), number);

    for (uint32_t number = 0; number < 1000; number += 2)
        leave(group, (uint16_t)(number % 5), number);

    cr_assert_eq(share_group_size(group), 500);
    for (uint32_t number = 0; number < 1000; number++) {
        const struct share_member *member =
            share_group_member(group, (uint16_t)(number % 5), session_of(number));
        cr_assert_eq(member != NULL, number % 2 == 1);
        cr_assert(member == NULL || member->session.slot == number);
    }
    bool asked[1000] = {false};
    for (unsigned times = 0; times < 500; times++)
        asked[pick_by(group, SHARE_ROUND_ROBIN)] = true;
    for (uint32_t number = 1; number < 1000; number += 2)
        cr_assert(asked[number]);
    end(&groups, group);
}
