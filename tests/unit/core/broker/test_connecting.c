/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/connecting.h"

#include <criterion/criterion.h>

/* MQTT-3.1.2.4, MQTT-3.1.4: all there is to choose. */
Test(admission, is_decided_by_the_old_session_its_link_and_clean_start)
{
    struct link    link = {0};
    struct session offline = {0};
    struct session connected = {.link = &link};
    const struct {
        const struct session *existing;
        bool                  clean_start;
        struct admission      expected;
    } rows[] = {
        {NULL, true, {.takes_over = false, .resumes = false}},
        {NULL, false, {.takes_over = false, .resumes = false}},
        {&offline, true, {.takes_over = false, .resumes = false}},
        {&offline, false, {.takes_over = false, .resumes = true}},
        {&connected, true, {.takes_over = true, .resumes = false}},
        {&connected, false, {.takes_over = true, .resumes = true}},
    };

    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct admission admission = admission_decide(rows[row].existing, rows[row].clean_start);
        cr_assert_eq(admission.takes_over, rows[row].expected.takes_over, "row %zu", row);
        cr_assert_eq(admission.resumes, rows[row].expected.resumes, "row %zu", row);
    }
}
