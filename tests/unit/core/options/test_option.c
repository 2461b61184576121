/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/option.h"
#include "core/options/options.h"

#include <criterion/criterion.h>
#include <stddef.h>

static const struct option size_option = {
    .group = "limits",
    .name = "packet_size_max",
    .type = OPTION_SIZE,
    .offset = offsetof(struct options, limits.packet_size_max),
    .size = 4,
    .minimum = 64,
    .maximum = MQTT_PACKET_SIZE_MAX,
};
static const struct option seconds_option = {
    .group = "protocol",
    .name = "session_expiry_max",
    .type = OPTION_DURATION,
    .scale = 1000000,
    .offset = offsetof(struct options, protocol.session_expiry_max_s),
    .size = 4,
    .minimum = 0,
    .maximum = OPTIONS_NEVER,
    .never = true,
};
static const struct option microseconds_option = {
    .group = "runtime",
    .name = "wait_max",
    .type = OPTION_DURATION,
    .scale = 1,
    .offset = offsetof(struct options, runtime.wait_max_us),
    .size = 4,
    .minimum = 50,
    .maximum = 1000000,
    .zero_too = true,
};
static const struct option cpus_option = {.group = "", .name = "cpus", .type = OPTION_CPUS};
static const struct option power_option = {
    .group = "runtime",
    .name = "ring_entries",
    .type = OPTION_INTEGER,
    .power_of_two = true,
    .offset = offsetof(struct options, runtime.ring_entries),
    .size = 4,
    .minimum = 16,
    .maximum = 4096,
};

static struct options options;
static char           reason[OPTION_REASON_SIZE];

static bool set(const struct option *option, const char *text)
{
    return option_set(option, &options, slice_text(text), reason);
}

static void assert_size(const char *text, uint32_t bytes)
{
    cr_assert(set(&size_option, text), "%s: %s", text, reason);
    cr_assert_eq(options.limits.packet_size_max, bytes, "%s", text);
}

static void assert_seconds(const char *text, uint32_t seconds)
{
    cr_assert(set(&seconds_option, text), "%s: %s", text, reason);
    cr_assert_eq(options.protocol.session_expiry_max_s, seconds, "%s", text);
}

static void assert_refused(const struct option *option, const char *text, const char *why)
{
    cr_assert_not(set(option, text), "%s was taken", text);
    cr_assert_not_null(strstr(reason, why), "%s: %s", text, reason);
}

Test(option, sizes_know_units_of_1024_and_of_1000)
{
    assert_size("64B", 64);
    assert_size("1KiB", 1024);
    assert_size("2 MiB", 2097152);
    assert_size("10kB", 10000);
    assert_size("10KB", 10000);
    assert_size("3mb", 3000000);
    assert_size("268435460B", MQTT_PACKET_SIZE_MAX);
}

Test(option, a_size_without_its_unit_is_refused_and_says_so)
{
    assert_refused(&size_option, "1024", "the unit must be B, KiB");
    assert_refused(&size_option, "1M", "the unit must be");
    assert_refused(&size_option, "1s", "the unit must be");
    assert_refused(&size_option, "0", "from 64B to 268435460B");
}

Test(option, what_is_out_of_range_is_refused_and_changes_nothing)
{
    options.limits.packet_size_max = 77;
    assert_refused(&size_option, "63B", "expected a size from 64B to 268435460B, got \"63B\"");
    assert_refused(&size_option, "1GiB", "got \"1GiB\"");
    assert_refused(&size_option, "99999999999999999999B", "too large");
    assert_refused(&size_option, "18014398509481984KiB", "too large");
    assert_refused(&size_option, "", "got nothing");
    assert_refused(&size_option, "-1B", "got \"-1B\"");
    cr_assert_eq(options.limits.packet_size_max, 77);
}

Test(option, durations_know_units_from_microseconds_to_days)
{
    assert_seconds("0", 0);
    assert_seconds("1000ms", 1);
    assert_seconds("60s", 60);
    assert_seconds("2m", 120);
    assert_seconds("2min", 120);
    assert_seconds("1h", 3600);
    assert_seconds("30d", 2592000);
    assert_seconds("never", OPTIONS_NEVER);
    cr_assert(set(&microseconds_option, "1ms"));
    cr_assert_eq(options.runtime.wait_max_us, 1000);
}

Test(option, a_duration_that_does_not_fit_its_field_is_refused)
{
    assert_refused(&seconds_option, "1500ms", "a whole number of seconds");
    assert_refused(&seconds_option, "60", "the unit must be us, ms, s, min, h or d");
    assert_refused(&seconds_option, "50000d", "or never");
    assert_refused(&microseconds_option, "never", "from 50us to 1s");
    assert_refused(&microseconds_option, "49us", "0, or from 50us to 1s");
    cr_assert(set(&microseconds_option, "0"));
}

Test(option, cpus_are_numbers_and_ranges_in_the_order_given)
{
    cr_assert(set(&cpus_option, "6, 0-2,1023"));
    cr_assert_eq(options.cpu_count, 5);
    cr_assert_arr_eq(options.cpus, ((uint16_t[]){6, 0, 1, 2, 1023}), 5 * sizeof(uint16_t));

    cr_assert(set(&cpus_option, ""));
    cr_assert_eq(options.cpu_count, 0);
}

Test(option, a_wrong_list_of_cpus_leaves_the_old_one)
{
    cr_assert(set(&cpus_option, "3"));
    assert_refused(&cpus_option, "0-2,1", "a CPU is named twice");
    assert_refused(&cpus_option, "3-1", "a range runs upwards");
    assert_refused(&cpus_option, "1024", "below 1024");
    assert_refused(&cpus_option, "0-99999999999999999999", "too large");
    assert_refused(&cpus_option, "1,", "got \"1,\"");
    assert_refused(&cpus_option, "1;2", "got \"1;2\"");
    assert_refused(&cpus_option, "-1", "got \"-1\"");
    cr_assert_eq(options.cpu_count, 1);
    cr_assert_eq(options.cpus[0], 3);
}

Test(option, a_power_of_two_is_asked_for_by_name)
{
    cr_assert(set(&power_option, "1024"));
    assert_refused(&power_option, "1000", "expected a power of two from 16 to 4096");
}

Test(option, quoting_makes_any_bytes_safe_to_print)
{
    char quoted[128];
    char many[200];

    cr_assert_str_eq(option_quote(slice_text("a\x1b[31m\xff"), quoted, sizeof(quoted)),
                     "\"a\\x1b[31m\\xff\"");
    memset(many, '\n', sizeof(many));
    option_quote(slice_of(many, sizeof(many)), quoted, sizeof(quoted));
    cr_assert_leq(strlen(quoted), sizeof(quoted) - 1);
    cr_assert_not_null(strstr(quoted, "...\""));
}

Test(option, distance_is_the_number_of_edits)
{
    cr_assert_eq(option_distance(slice_text(""), slice_text("abc")), 3);
    cr_assert_eq(option_distance(slice_text("kitten"), slice_text("sitting")), 3);
    cr_assert_eq(option_distance(slice_text("same"), slice_text("same")), 0);
}
