/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/statistics.h"

#include <criterion/criterion.h>

#include <string.h>

Test(statistics, every_counter_is_summed)
{
    struct statistics sum;
    struct statistics other;
    uint64_t         *of_sum = (uint64_t *)&sum;
    uint64_t         *of_other = (uint64_t *)&other;
    size_t            count = sizeof(sum) / sizeof(uint64_t);
    for (size_t field = 0; field < count; field++) {
        of_sum[field] = 1000 + field;
        of_other[field] = 7 * field;
    }
    uint64_t high_water = sum.outbox_high_water;
    other.outbox_high_water = high_water - 1;

    statistics_add(&sum, &other);

    cr_assert_eq(sum.outbox_high_water, high_water);
    sum.outbox_high_water = 0;
    for (size_t field = 0; field < count; field++)
        cr_assert(of_sum[field] == 1000 + 8 * field || of_sum[field] == 0, "field %zu", field);
}

Test(statistics, of_high_water_marks_the_larger_stays)
{
    struct statistics sum = {.outbox_high_water = 5, .packets_in = 1};
    struct statistics other = {.outbox_high_water = 9, .packets_in = 2};

    statistics_add(&sum, &other);

    cr_assert_eq(sum.outbox_high_water, 9);
    cr_assert_eq(sum.packets_in, 3);
}

Test(statistics, every_cause_has_a_name_of_its_own)
{
    for (unsigned cause = 0; cause < DROP_CAUSE_COUNT; cause++) {
        cr_assert_not_null(drop_cause_name((enum drop_cause)cause));
        for (unsigned other = 0; other < cause; other++)
            cr_assert_str_neq(drop_cause_name((enum drop_cause)cause),
                              drop_cause_name((enum drop_cause)other));
    }
}
