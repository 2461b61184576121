/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/batching.h"

#include <criterion/criterion.h>

static void run_for(struct batching *batching, uint64_t *now_ms, uint32_t milliseconds,
                    uint32_t connections, uint32_t receives)
{
    for (uint32_t ms = 0; ms < milliseconds; ms++) {
        for (uint32_t i = 0; i < receives; i++)
            batching_heard(batching, i < connections);
        batching_tick(batching, ++*now_ms);
    }
}

Test(batching, a_single_busy_client_is_never_delayed)
{
    struct batching batching;
    uint64_t        now_ms = 1;
    batching_init(&batching, OPTIONS_BATCHING_ADAPTIVE, 1000);
    batching_tick(&batching, now_ms);

    run_for(&batching, &now_ms, 1000, 1, 20);

    struct batching_wait wait =
        batching_decide(OPTIONS_BATCHING_ADAPTIVE, 1000, batching_load(&batching));
    cr_assert_eq(wait.count, 1);
    cr_assert_eq(wait.gather_us, 0);
}

Test(batching, many_busy_clients_are_gathered)
{
    struct batching batching;
    uint64_t        now_ms = 1;
    batching_init(&batching, OPTIONS_BATCHING_ADAPTIVE, 1000);
    batching_tick(&batching, now_ms);

    run_for(&batching, &now_ms, 100, 100, 100);

    cr_assert(batching_load(&batching).active > 90 && batching_load(&batching).active <= 100);
    struct batching_wait wait =
        batching_decide(OPTIONS_BATCHING_ADAPTIVE, 1000, batching_load(&batching));
    cr_assert(wait.count > 80 && wait.count <= 100);
    cr_assert(wait.gather_us > 0 && wait.gather_us <= 1000);
}

Test(batching, a_silence_is_forgotten_load)
{
    struct batching batching;
    uint64_t        now_ms = 1;
    batching_init(&batching, OPTIONS_BATCHING_ADAPTIVE, 1000);
    batching_tick(&batching, now_ms);
    run_for(&batching, &now_ms, 100, 100, 100);

    batching_tick(&batching, now_ms + 5000);

    cr_assert_eq(batching_load(&batching).active, 0);
}

Test(batching, a_few_that_wait_for_answers_are_not_delayed_but_a_few_calm_ones_are)
{
    const struct batching_load eager = {.active = 8, .receives = 80};
    const struct batching_load calm = {.active = 8, .receives = 9};

    cr_assert_eq(batching_decide(OPTIONS_BATCHING_ADAPTIVE, 1000, eager).gather_us, 0);
    cr_assert_eq(batching_decide(OPTIONS_BATCHING_ADAPTIVE, 1000, calm).count, 8);
}

Test(batching, never_waits_longer_than_the_option_allows)
{
    const struct batching_load busy = {.active = 1000, .receives = 1000};
    const struct batching_load idle = {0};

    cr_assert_eq(batching_decide(OPTIONS_BATCHING_ADAPTIVE, 70, busy).gather_us, 70);
    cr_assert_eq(batching_decide(OPTIONS_BATCHING_ADAPTIVE, 0, busy).gather_us, 0);
    cr_assert_eq(batching_decide(OPTIONS_BATCHING_THROUGHPUT, 0, busy).gather_us, 0);
    cr_assert_eq(batching_decide(OPTIONS_BATCHING_THROUGHPUT, 300, idle).gather_us, 300);
    cr_assert_eq(batching_decide(OPTIONS_BATCHING_LATENCY, 1000, busy).gather_us, 0);
}

Test(batching, always_wants_at_least_one_completion)
{
    for (uint32_t active = 0; active < 100000; active = active * 2 + 1) {
        const struct batching_load load = {active, active};
        for (int policy = OPTIONS_BATCHING_ADAPTIVE; policy <= OPTIONS_BATCHING_THROUGHPUT;
             policy++)
            cr_assert(batching_decide((enum options_batching)policy, 1000, load).count >= 1);
    }
}
