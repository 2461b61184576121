/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The table as a whole: each row from YAML and from the command line into its field, and back out.
 */
#include "core/options/option_table.h"
#include "core/options/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static struct options       options;
static struct options       expected;
static struct options_error error;

/* Bytes are compared: both began as zeros, and only fields were written. */
static bool same(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct options)) == 0;
}

/* A value that is allowed and is not the default. */
static const char *other_value(const struct option *option, char text[64])
{
    const char *unit = option->type == OPTION_SIZE      ? "B"
                       : option->type == OPTION_INTEGER ? ""
                       : option->scale == 1000000       ? "s"
                       : option->scale == 1000          ? "ms"
                                                        : "us";
    switch (option->type) {
    case OPTION_BOOL:
        return strcmp(option->standard, "true") == 0 ? "false" : "true";
    case OPTION_CHOICE:
        return option->choices[strcmp(option->standard, option->choices[1].name) == 0 ? 0 : 1].name;
    case OPTION_CHOICES:
        return option->choices[1].name;
    case OPTION_CPUS:
        return "0-2,5";
    case OPTION_TEXT:
        return "some text";
    case OPTION_INTEGER:
    case OPTION_SIZE:
    case OPTION_DURATION:
        if (option->never)
            return "9d";
        (void)snprintf(text, 64, "%llu%s", (unsigned long long)option->maximum, unit);
        if (strcmp(text, option->standard) == 0 || strstr(option->name, "packet_size") != NULL ||
            strstr(option->name, "shapes_per") != NULL || strstr(option->name, "capacity") != NULL)
            (void)snprintf(text, 64, "%llu%s", (unsigned long long)option->minimum, unit);
        return text;
    case OPTION_MODE:
    case OPTION_ADDRESS:
        break;
    }
    cr_assert_fail("%s: the test knows no value of this type", option->name);
    return NULL;
}

static int load_pair(const struct option *option, const char *value)
{
    char text[512];

    if (option->group[0] != '\0')
        (void)snprintf(text, sizeof(text), "%s:\n  %s: %s\n", option->group, option->name, value);
    else
        (void)snprintf(text, sizeof(text), "%s: %s\n", option->name, value);
    options_defaults(&options);
    return options_load_text(&options, "test.yaml", text, strlen(text), &error);
}

static int parse_pair(const struct option *option, const char *value)
{
    char  program[] = "shardmq";
    char  name[OPTION_NAME_SIZE + 2] = "--";
    char  text[512];
    char *arguments[] = {program, name, text, NULL};

    option_argument(option, name + 2);
    (void)snprintf(text, sizeof(text), "%s", value);
    options_defaults(&options);
    return options_parse_arguments(&options, 3, arguments, &error);
}

Test(options, each_row_is_set_from_yaml_and_from_the_command_line)
{
    for (uint32_t index = 0; index < option_count; index++) {
        const struct option *option = &option_table[index];
        char                 text[64];
        char                 reason[OPTION_REASON_SIZE];
        const char          *value = other_value(option, text);

        options_defaults(&expected);
        cr_assert(option_set(option, &expected, slice_text(value), reason), "%s", reason);
        options_defaults(&options);
        cr_assert_not(same(&options, &expected), "%s %s changes nothing", option->name, value);

        cr_assert_eq(load_pair(option, value), 0, "%s", error.text);
        cr_assert(same(&options, &expected), "%s", option->name);

        cr_assert_eq(parse_pair(option, value), 0, "%s", error.text);
        cr_assert(same(&options, &expected), "%s", option->name);
    }
}

static void assert_error_has(const char *part)
{
    cr_assert_not_null(strstr(error.text, part), "no \"%s\" in: %s", part, error.text);
}

static void assert_yaml_refuses(const struct option *option, const char *value)
{
    char key[OPTION_NAME_SIZE];

    cr_assert_eq(load_pair(option, value), -EINVAL, "%s: %s was taken", option->name, value);
    assert_error_has("test.yaml:");
    assert_error_has(option_key(option, key));
}

static void assert_both_refuse(const struct option *option, const char *value)
{
    char key[OPTION_NAME_SIZE];

    assert_yaml_refuses(option, value);
    cr_assert_eq(parse_pair(option, value), -EINVAL, "%s: %s was taken", option->name, value);
    assert_error_has("argument 1 (--");
    assert_error_has(option_argument(option, key));
}

Test(options, each_row_refuses_what_is_out_of_its_range)
{
    for (uint32_t index = 0; index < option_count; index++) {
        const struct option *option = &option_table[index];
        char                 text[64];
        const char          *unit = option->type == OPTION_SIZE ? "B"
                                    : option->scale == 1000000  ? "s"
                                    : option->scale == 1000     ? "ms"
                                    : option->scale == 1        ? "us"
                                                                : "";
        switch (option->type) {
        case OPTION_INTEGER:
        case OPTION_SIZE:
        case OPTION_DURATION:
            (void)snprintf(text, sizeof(text), "%llu%s", (unsigned long long)option->maximum + 1,
                           unit);
            assert_both_refuse(option, text);
            assert_both_refuse(option, "word");
            if (option->minimum > (option->zero_too ? 1U : 0U)) {
                (void)snprintf(text, sizeof(text), "%llu%s",
                               (unsigned long long)option->minimum - 1, unit);
                assert_both_refuse(option, text);
            }
            break;
        case OPTION_BOOL:
        case OPTION_CHOICE:
        case OPTION_CHOICES:
        case OPTION_CPUS:
            assert_both_refuse(option, "word");
            break;
        case OPTION_TEXT:
        case OPTION_MODE:
        case OPTION_ADDRESS:
            break;
        }
    }
}

Test(options, each_row_fits_its_field_and_is_explained)
{
    for (uint32_t index = 0; index < option_count; index++) {
        const struct option *option = &option_table[index];
        bool is_number = option->type == OPTION_INTEGER || option->type == OPTION_SIZE ||
                         option->type == OPTION_DURATION;
        if (is_number && option->size < 8)
            cr_assert_lt(option->maximum, UINT64_C(1) << (8 * option->size), "%s", option->name);
        if (option->type == OPTION_TEXT)
            cr_assert_lt(option->maximum, option->size, "%s", option->name);
        if (option->type == OPTION_DURATION)
            cr_assert_gt(option->scale, 0, "%s", option->name);
        cr_assert_geq(strlen(option->help), 10, "%s", option->name);
        cr_assert_eq(option->help[strlen(option->help) - 1], '.', "%s", option->name);

        for (uint32_t other = 0; other < index; other++) {
            char one_name[OPTION_NAME_SIZE];
            char other_name[OPTION_NAME_SIZE];
            cr_assert_str_neq(option_argument(option, one_name),
                              option_argument(&option_table[other], other_name));
        }
    }
}

Test(options, defaults_are_sane_and_local)
{
    options_defaults(&options);

    cr_assert_eq(options.command, OPTIONS_RUN);
    cr_assert_eq(options.listener_count, 1);
    cr_assert_eq(options.listeners[0].address.kind, ADDRESS_IPV4);
    cr_assert_eq(options.listeners[0].address.ip[0], 127);
    cr_assert_eq(options.listeners[0].address.port, 1883);
    cr_assert_eq(options.protocol.versions,
                 1U << MQTT_VERSION_31 | 1U << MQTT_VERSION_311 | 1U << MQTT_VERSION_5);
    cr_assert_eq(options.protocol.maximum_qos, 2);
    cr_assert_eq(options.protocol.connect_timeout_ms, 10000);
    cr_assert_eq(options.protocol.session_expiry_max_s, MQTT_SESSION_NEVER_EXPIRES);
    cr_assert_eq(options.protocol.session_expiry_311_s, 7 * 86400);
    cr_assert_eq(options.limits.packet_size_max, 16U << 20);
    cr_assert_eq(options.limits.topic_levels_max, 200);
    cr_assert_eq(options.shared.strategy, OPTIONS_SHARED_ROUND_ROBIN);
    cr_assert_eq(options.sys.interval_ms, 10000);
}

static void assert_text_refused(const char *text, const char *why)
{
    options_defaults(&options);
    cr_assert_eq(options_load_text(&options, "test.yaml", text, strlen(text), &error), -EINVAL);
    cr_assert_not_null(strstr(error.text, why), "%s", error.text);
}

Test(options, values_that_do_not_go_together_are_refused)
{
    assert_text_refused("limits: {queue_bytes_max: 1MiB}",
                        "limits.queue_bytes_max (1048576 bytes): expected at least "
                        "limits.packet_size_max (16777216 bytes)");
    assert_text_refused("limits: {filter_shapes_max: 31}",
                        "limits.filter_shapes_per_client_max (32)");
    assert_text_refused("runtime: {receive_buffers: 32768, receive_buffer_size: 1MiB}",
                        "expected at most 4GiB for a shard");
    assert_text_refused("shards: 256\nruntime: {mailbox_capacity: 8192}",
                        "runtime.mailbox_capacity (8192): expected at most 4096");
    assert_text_refused("listeners: [1.2.3.4:5, '[::1]:5', 1.2.3.4:5]", "two of them on 1.2.3.4:5");
    assert_text_refused("listeners: [{name: a, address: ::1}, {name: a, address: 1.2.3.4}]",
                        "two of them with the name \"a\"");
}

Test(options, old_clients_sessions_end_no_later_than_new_ones)
{
    const char text[] = "protocol: {session_expiry_max: 1d, session_expiry_311: never}";

    options_defaults(&options);
    cr_assert_eq(options_load_text(&options, "test.yaml", text, strlen(text), &error), 0);

    cr_assert_eq(options.protocol.session_expiry_311_s, 86400);
}

Test(options, checking_a_file_prints_each_fault_and_returns_an_exit_code)
{
    char   path[] = "test_options.XXXXXX";
    char  *printed = NULL;
    size_t printed_size = 0;
    int    descriptor = mkstemp(path);
    FILE  *file = fdopen(descriptor, "w");
    cr_assert_not_null(file);
    (void)fputs("shard: 1\nlimits: {packet_size_max: 5}\n", file);
    (void)fclose(file);

    FILE *sink = open_memstream(&printed, &printed_size);
    int   code = options_check_file(path, sink, sink);
    (void)fclose(sink);
    (void)unlink(path);

    cr_assert_eq(code, 1);
    cr_assert_not_null(strstr(printed, ":1:1: shard: unknown option; did you mean \"shards\"?\n"));
    cr_assert_not_null(strstr(printed, ":2:27: limits.packet_size_max: expected a size"));
    free(printed);

    sink = open_memstream(&printed, &printed_size);
    code = options_check_file("/dev/null", sink, sink);
    (void)fclose(sink);
    cr_assert_eq(code, 0);
    cr_assert_str_eq(printed, "/dev/null: ok\n");
    free(printed);
}
