/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/placement.h"

#include <criterion/criterion.h>
#include <errno.h>

static struct options   options;
static struct placement placement;
static char             why[256];
static const uint16_t   allowed[] = {2, 3, 7};

static int decide(uint64_t files_limit)
{
    return placement_decide(&placement, &options, allowed, 3, files_limit, why, sizeof(why));
}

Test(placement, one_shard_for_each_allowed_cpu)
{
    options_defaults(&options);

    cr_assert_eq(decide(20000), 0);

    cr_assert_eq(placement.shard_count, 3);
    cr_assert_eq(placement.cpus[2], 7);
}

Test(placement, more_shards_than_cpus_are_allowed)
{
    options_defaults(&options);
    options.shards = 53;

    cr_assert_eq(decide(20000), 0);

    cr_assert_eq(placement.shard_count, 53);
    cr_assert_eq(placement.cpu_count, 3);
}

Test(placement, a_cpu_that_is_not_allowed_is_named)
{
    options_defaults(&options);
    options.cpu_count = 2;
    options.cpus[0] = 3;
    options.cpus[1] = 4;

    cr_assert_eq(decide(20000), -EINVAL);

    cr_assert_not_null(strstr(why, "CPU 4"));
}

Test(placement, tables_are_as_large_as_the_limit_or_as_connections_need)
{
    options_defaults(&options);
    cr_assert_eq(decide(20000), 0);
    cr_assert_eq(placement.files, 20000);
    cr_assert_lt(placement.links_max, placement.files);

    options.limits.connections_max = 100;
    cr_assert_eq(decide(20000), 0);
    cr_assert_lt(placement.files, 200);
    cr_assert_geq(placement.links_max, 100);

    cr_assert_eq(decide(UINT64_MAX), 0);
    cr_assert_eq(decide(20), -EMFILE);
}
