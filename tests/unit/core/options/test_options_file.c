/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct options       options;
static struct options_error error;

/* Bytes are compared: both began as zeros, and only fields were written. */
static bool same(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct options)) == 0;
}

static int load_bytes(const char *text, size_t size)
{
    options_defaults(&options);
    return options_load_text(&options, "f.yaml", text, size, &error);
}

static int load(const char *text)
{
    return load_bytes(text, strlen(text));
}

static void assert_loads(const char *text)
{
    cr_assert_eq(load(text), 0, "%s", error.text);
    cr_assert_eq(error.count, 0);
    cr_assert_str_empty(error.text);
}

/* Exactly this message, alone. */
static void assert_fault(const char *text, const char *message)
{
    cr_assert_eq(load(text), -EINVAL, "taken: %s", text);
    cr_assert_str_eq(error.text, message);
    cr_assert_eq(error.count, 1);
}

static void assert_refused(const char *text, const char *part)
{
    cr_assert_eq(load(text), -EINVAL, "taken: %s", text);
    cr_assert_not_null(strstr(error.text, part), "%s", error.text);
}

Test(options_file, an_empty_file_leaves_the_defaults)
{
    static const char *const empty[] = {"",
                                        "\n\n",
                                        "# only a comment\n",
                                        "---\n",
                                        "---\n...\n",
                                        "{}",
                                        "limits:\nprotocol: # later\nlisteners:\n",
                                        "\xef\xbb\xbf",
                                        "\r\n"};
    struct options           defaults;

    options_defaults(&defaults);
    for (size_t index = 0; index < sizeof(empty) / sizeof(empty[0]); index++) {
        assert_loads(empty[index]);
        cr_assert(same(&options, &defaults));
    }
}

Test(options_file, groups_lists_and_scalars_are_read_in_any_style)
{
    assert_loads("shards: 3\n"
                 "cpus: [0-1, 7]\n"
                 "data: 'a b'\n"
                 "protocol:\n"
                 "    versions:\n"
                 "        - \"3.1.1\"\n"
                 "        - 5\n"
                 "    retain_available: off\n"
                 "limits: {packet_size_max: 1MiB, \"queue_policy\": drop_oldest}\n");

    cr_assert_eq(options.shards, 3);
    cr_assert_eq(options.cpu_count, 3);
    cr_assert_eq(options.cpus[2], 7);
    cr_assert_str_eq(options.data, "a b");
    cr_assert_eq(options.protocol.versions, 1U << MQTT_VERSION_311 | 1U << MQTT_VERSION_5);
    cr_assert_not(options.protocol.retain_available);
    cr_assert_eq(options.limits.packet_size_max, 1U << 20);
    cr_assert_eq(options.limits.queue_policy, OPTIONS_QUEUE_DROP_OLDEST);
}

Test(options_file, a_fault_names_place_key_expectation_and_the_nearest_name)
{
    assert_fault("limits:\n  paket_size_max: 1MiB\n",
                 "f.yaml:2:3: limits.paket_size_max: unknown option; did you mean "
                 "\"packet_size_max\"?");
    assert_fault("limit: {}\n", "f.yaml:1:1: limit: unknown option; did you mean \"limits\"?");
    assert_fault("xyz: 3\n", "f.yaml:1:1: xyz: unknown option");
    assert_fault("limits:\n  inflight_max: many\n",
                 "f.yaml:2:17: limits.inflight_max: expected a whole number from 1 to 65535, got "
                 "\"many\"");
    assert_fault("log_level: inof\n", "f.yaml:1:12: log_level: expected error, warning, info or "
                                      "debug, got \"inof\"; did you mean \"info\"?");
    assert_fault("protocol:\n  connect_timeout: 10\n",
                 "f.yaml:2:20: protocol.connect_timeout: expected a time from 100ms to 10min, got "
                 "\"10\"; the unit must be us, ms, s, min, h or d");
}

Test(options_file, a_key_in_the_wrong_group_is_told_its_place)
{
    assert_fault("packet_size_max: 1MiB\n", "f.yaml:1:1: packet_size_max: unknown option here; "
                                            "\"packet_size_max\" belongs below \"limits:\"");
    assert_fault("limits.packet_size_max: 1MiB\n",
                 "f.yaml:1:1: limits.packet_size_max: unknown option here; \"packet_size_max\" "
                 "belongs below \"limits:\"");
    assert_fault("limits: {shards: 1}\n", "f.yaml:1:10: limits.shards: unknown option here; "
                                          "\"shards\" belongs at the top level");
}

Test(options_file, all_faults_are_told_at_once)
{
    cr_assert_eq(load("shards: x\nlimits: {a: {b: [c]}, inflight_max: [1]}\nsys: {interval: 0}\n"
                      "pace: 3\n"),
                 -EINVAL);

    cr_assert_eq(error.count, 4);
    cr_assert_not_null(strstr(error.text, "f.yaml:1:9: shards: "));
    cr_assert_not_null(strstr(error.text, "\nf.yaml:2:10: limits.a: unknown option\n"));
    cr_assert_not_null(strstr(error.text, "limits.inflight_max: expected a whole number from 1 to "
                                          "65535, got a list\n"));
    cr_assert_not_null(strstr(error.text, "\"pace\" belongs below \"retained:\""));
    cr_assert_eq(options.sys.interval_ms, 0);
}

Test(options_file, faults_past_the_room_are_counted_and_said_to_be_more)
{
    char text[4096] = "limits:\n";

    for (int line = 0; line < 40; line++)
        (void)snprintf(text + strlen(text), 32, "  inflight_max: 1\n");
    cr_assert_eq(load(text), -EINVAL);

    cr_assert_gt(error.count, 20);
    cr_assert_not_null(strstr(error.text, "\n(further faults are not shown)"));
}

Test(options_file, a_key_is_given_once)
{
    assert_fault("shards: 1\nshards: 1\n", "f.yaml:2:1: shards: given twice");
    assert_fault("sys: {}\nshards: 1\nsys: {}\n", "f.yaml:3:1: sys: given twice");
    assert_fault("sys: {interval: 1s, interval: 2s}\n", "f.yaml:1:21: sys.interval: given twice");
    assert_fault("listeners: [1.2.3.4]\nlisteners: [1.2.3.4]\n",
                 "f.yaml:2:1: listeners: given twice");
    assert_fault("listeners: [{address: 1.2.3.4, address: 1.2.3.5}]",
                 "f.yaml:1:32: listeners.address: given twice");
}

Test(options_file, a_value_of_the_wrong_shape_is_refused)
{
    assert_refused("- 1\n", "f.yaml:1:1: expected a mapping of options, got a list");
    assert_refused("word\n", "expected a mapping of options, got a single value");
    assert_refused("limits: 5\n", "limits: expected a mapping of options, got a single value");
    assert_refused("limits: [5]\n", "limits: expected a mapping of options, got a list");
    assert_refused("shards: {a: 1}\n",
                   "shards: expected a whole number from 0 to 256, got a mapping");
    assert_refused("shards: [1]\n", "got a list");
    assert_refused("shards:\n",
                   "f.yaml:1:1: shards: expected a whole number from 0 to 256, got nothing");
    assert_refused("shards: \"\"\n", "got nothing");
    assert_refused("cpus: {0: 1}\n", "got a mapping");
    assert_refused("cpus: [[0]]\n", "expected a single value in the list, got a list");
    assert_refused("protocol: {versions: []}\n", "got nothing");
    assert_refused("listeners: 1.2.3.4\n", "listeners: expected a list of listeners, got a single");
    assert_refused("? [a]\n: 1\n", "f.yaml:1:3: expected a name, got a list");
}

Test(options_file, listeners_are_addresses_or_mappings)
{
    assert_loads("listeners:\n"
                 "  - 0.0.0.0:1\n"
                 "  - {port: 2, address: '::1', backlog: 16, name: six}\n"
                 "  - address: unix:/run/x.sock\n"
                 "    mode: 0600\n"
                 "  - {address: '[::]:4'}\n"
                 "  - {address: 1.2.3.4}\n");

    cr_assert_eq(options.listener_count, 5);
    cr_assert_eq(options.listeners[0].address.kind, ADDRESS_IPV4);
    cr_assert_eq(options.listeners[0].address.port, 1);
    cr_assert_eq(options.listeners[1].address.kind, ADDRESS_IPV6);
    cr_assert_eq(options.listeners[1].address.port, 2);
    cr_assert_eq(options.listeners[1].backlog, 16);
    cr_assert_str_eq(options.listeners[1].name, "six");
    cr_assert_eq(options.listeners[2].address.kind, ADDRESS_UNIX);
    cr_assert_eq(options.listeners[2].mode, 0600);
    cr_assert_eq(options.listeners[3].address.port, 4);
    cr_assert_eq(options.listeners[4].address.port, 1883);
}

Test(options_file, a_listener_that_makes_no_sense_is_refused)
{
    assert_fault("listeners: []\n",
                 "f.yaml:1:12: listeners: expected at least one listener, got an empty list");
    assert_fault("listeners: [{port: 1}]\n",
                 "f.yaml:1:13: listeners: expected an address in each, got none");
    assert_refused("listeners: [{address: unix:/x, port: 1}]\n", "a unix socket has no port");
    assert_refused("listeners: [{port: 2, address: 1.2.3.4:1}]\n", "the address names a port, too");
    assert_refused("listeners: [{address: 1.2.3.4, mode: 0600}]\n", "only a unix socket");
    assert_refused("listeners: [{address: unix:/x, mode: 9}]\n", "octal permission bits");
    assert_refused("listeners: [{adress: 1.2.3.4}]\n", "did you mean \"address\"?");
    assert_refused("listeners: [localhost]\n", "expected an IPv4 or IPv6 address (no host name)");
    assert_refused("listeners: [[1.2.3.4]]\n", "got a list");
}

Test(options_file, sixteen_listeners_are_taken_and_no_more)
{
    char text[1024] = "listeners:\n";

    for (int port = 1; port <= 16; port++)
        (void)snprintf(text + strlen(text), 32, "  - 1.2.3.4:%d\n", port);
    assert_loads(text);
    cr_assert_eq(options.listener_count, 16);
    cr_assert_eq(options.listeners[15].address.port, 16);

    (void)snprintf(text + strlen(text), 32, "  - 1.2.3.4:17\n");
    assert_refused(text, "expected at most 16 listeners, got more");
}

Test(options_file, anchors_aliases_and_tags_are_refused)
{
    assert_fault("data: &a x\n", "f.yaml:1:10: anchors, aliases and tags are not allowed");
    assert_refused("data: *a\n", "anchors, aliases and tags");
    assert_refused("shards: !!int 3\n", "anchors, aliases and tags");
    assert_refused("limits: &l {}\n", "anchors, aliases and tags");
    assert_refused("cpus: &c [1]\n", "anchors, aliases and tags");
    assert_refused("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchors, aliases and tags");
}

Test(options_file, deep_nesting_is_refused_early)
{
    static char text[OPTIONS_FILE_SIZE_MAX];

    memset(text, '[', sizeof(text));
    cr_assert_eq(load_bytes(text, sizeof(text)), -EINVAL);
    cr_assert_not_null(strstr(error.text, "nested too deeply"));

    for (size_t index = 0; index < sizeof(text); index++)
        text[index] = index % 2 == 0 ? '-' : ' ';
    cr_assert_eq(load_bytes(text, sizeof(text)), -EINVAL);
    cr_assert_not_null(strstr(error.text, "nested too deeply"));
}

Test(options_file, one_document_is_read)
{
    assert_fault("shards: 1\n---\nshards: 2\n",
                 "f.yaml:2:1: expected one document, got a second one");
}

/* libfyaml 0.7.12 never comes back from the first of these. */
Test(options_file, only_plain_utf8_reaches_the_library, .timeout = 10)
{
    cr_assert_eq(load_bytes("%\xff", 2), -EINVAL);
    assert_fault("a: 1\nb: \xff\n",
                 "f.yaml:2:4: expected plain UTF-8 text, got a byte that is not UTF-8");
    assert_refused("a: \xc3", "not UTF-8");
    assert_refused("a: \xed\xa0\x80", "not UTF-8");
    assert_refused("a: \xe2\x28\xa1", "not UTF-8");
    assert_refused("a: \x1b[0m", "f.yaml:1:4: expected plain UTF-8 text, got a control character");
    assert_refused("%YAML 1.2\n---\nshards: 1\n",
                   "f.yaml:1:1: expected plain UTF-8 text, got a YAML");
    cr_assert_eq(load_bytes("a\0b", 3), -EINVAL);
    cr_assert_str_eq(error.text, "f.yaml:1:2: expected plain UTF-8 text, got a NUL byte");
}

Test(options_file, a_fault_of_syntax_has_a_place)
{
    assert_refused("shards: \"1\n", "expected YAML, got a fault of syntax");
    assert_refused("shards: {\n", "expected YAML, got a fault of syntax");
    assert_refused("shards: 1\n\tcpus: 1\n", "f.yaml:1:9: expected YAML, got a fault of syntax");
}

Test(options_file, hostile_text_in_a_message_is_harmless)
{
    assert_refused("\"a\\eb\": 1\n", "f.yaml:1:2: a\\x1bb: unknown option");
    assert_refused("data: \"a\\0b\"\n", "got \"a\\x00b\"");
}

Test(options_file, a_file_larger_than_a_mebibyte_is_refused)
{
    static char text[OPTIONS_FILE_SIZE_MAX + 1];

    memset(text, '\n', sizeof(text));
    cr_assert_eq(load_bytes(text, OPTIONS_FILE_SIZE_MAX), 0);
    cr_assert_eq(load_bytes(text, sizeof(text)), -EINVAL);
    cr_assert_not_null(strstr(error.text, "at most 1MiB"));
}

Test(options_file, a_file_that_cannot_be_read_says_why)
{
    options_defaults(&options);
    cr_assert_eq(options_load_file(&options, "/nonexistent.yaml", &error), -ENOENT);
    cr_assert_str_eq(error.text, "/nonexistent.yaml: cannot be opened: No such file or directory");
    cr_assert_eq(options_load_file(&options, "/", &error), -EISDIR);
    cr_assert_eq(options_load_file(&options, "/dev/zero", &error), -EINVAL);
}

Test(options_file, every_truncation_of_a_file_ends_in_an_answer)
{
    static const char text[] = "shards: 2\ncpus: [0-3, 6]\nlisteners:\n  - {name: \"s\", address: "
                               "'[::1]:1884'}\n  - unix:/x\nlimits:\n  packet_size_max: 1MiB\n";

    for (size_t size = 0; size < sizeof(text); size++) {
        int status = load_bytes(text, size);
        cr_assert((status == 0) == (error.count == 0));
        cr_assert((status == 0) == (error.text[0] == '\0'));
    }
}
