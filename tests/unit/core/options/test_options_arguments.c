/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct options       options;
static struct options_error error;

/* Bytes are compared: both began as zeros, and only fields were written. */
static bool same(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct options)) == 0;
}

/* Words apart by spaces, behind the program's name. */
static int parse(const char *line)
{
    static char text[1024];
    char       *arguments[40] = {(char[]){"shardmq"}};
    int         count = 1;

    (void)snprintf(text, sizeof(text), "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        arguments[count++] = word;
    options_defaults(&options);
    return options_parse_arguments(&options, count, arguments, &error);
}

static void assert_parses(const char *line)
{
    cr_assert_eq(parse(line), 0, "%s", error.text);
}

static void assert_fault(const char *line, const char *message)
{
    cr_assert_eq(parse(line), -EINVAL, "taken: %s", line);
    cr_assert_str_eq(error.text, message);
}

Test(options_arguments, nothing_means_the_defaults)
{
    struct options defaults;

    options_defaults(&defaults);
    assert_parses("");
    cr_assert(same(&options, &defaults));
}

Test(options_arguments, dashes_dots_and_underscores_are_the_same)
{
    static const char *const lines[] = {
        "--limits-packet-size-max 1MiB",
        "--limits.packet_size_max 1MiB",
        "--limits_packet_size_max=1MiB",
    };

    for (size_t index = 0; index < sizeof(lines) / sizeof(lines[0]); index++) {
        assert_parses(lines[index]);
        cr_assert_eq(options.limits.packet_size_max, 1U << 20);
    }
}

Test(options_arguments, the_friendly_names_work)
{
    assert_parses("--port 1884 --bind 0.0.0.0 --shards 2 --cpus 0-3,6 --data /var/lib/x");

    cr_assert_eq(options.listener_count, 1);
    cr_assert_eq(options.listeners[0].address.port, 1884);
    cr_assert_eq(options.listeners[0].address.ip[0], 0);
    cr_assert_eq(options.shards, 2);
    cr_assert_eq(options.cpu_count, 5);
    cr_assert_str_eq(options.data, "/var/lib/x");

    assert_parses("-p 1885");
    cr_assert_eq(options.listeners[0].address.port, 1885);
    assert_parses("-p1886");
    cr_assert_eq(options.listeners[0].address.port, 1886);
}

Test(options_arguments, the_last_of_two_wins)
{
    assert_parses("--shards 2 --shards 5 --port 1 --port 2");

    cr_assert_eq(options.shards, 5);
    cr_assert_eq(options.listeners[0].address.port, 2);
}

Test(options_arguments, listen_may_be_repeated)
{
    assert_parses("--listen 127.0.0.1:1 --listen [::1]:2 --listen=unix:/run/x.sock");

    cr_assert_eq(options.listener_count, 3);
    cr_assert_eq(options.listeners[1].address.kind, ADDRESS_IPV6);
    cr_assert_eq(options.listeners[2].address.kind, ADDRESS_UNIX);
}

Test(options_arguments, too_many_listeners_are_refused)
{
    char line[1024] = "";

    for (int port = 1; port <= 17; port++)
        (void)snprintf(line + strlen(line), 32, "--listen 1.2.3.4:%d ", port);
    assert_fault(line, "argument 33 (--listen): expected at most 16 listeners, got more");
}

Test(options_arguments, bind_and_port_do_not_go_with_listen)
{
    cr_assert_eq(parse("--listen 1.2.3.4:1 --port 2"), -EINVAL);
    cr_assert_not_null(strstr(error.text, "do not go with --listen"));
    cr_assert_eq(parse("--bind 1.2.3.4 --listen 1.2.3.4:1"), -EINVAL);
    assert_fault("--bind unix:/x --port 2", "argument 3 (--port): the first listener is a unix "
                                            "socket, which has no port");
}

Test(options_arguments, a_fault_names_its_argument_and_the_nearest_name)
{
    assert_fault("--shards 2 --prot 1884",
                 "argument 3 (--prot): unknown option; did you mean \"--port\"?");
    assert_fault("--limits-paket-size-max=3",
                 "argument 1 (--limits-paket-size-max): unknown option; "
                 "did you mean \"--limits-packet-size-max\"?");
    assert_fault("--zzzzzz", "argument 1 (--zzzzzz): unknown option; --help lists all");
    assert_fault("-x", "argument 1 (-x): unknown option; --help lists all");
    assert_fault("1883", "argument 1 (1883): expected an option that begins with --");
    assert_fault("--", "argument 1 (--): expected an option that begins with --");
    assert_fault("--shards", "argument 1 (--shards): expected a value, got nothing");
    assert_fault("--shards --port 5", "argument 1 (--shards): expected a value, got nothing");
}

Test(options_arguments, several_faults_are_told_at_once)
{
    assert_fault("--shards 257 --port x",
                 "argument 1 (--shards): expected a whole number from 0 to 256, got \"257\"\n"
                 "argument 3 (--port): expected a whole number from 0 to 65535, got \"x\"");
}

Test(options_arguments, help_and_version_win_over_anything)
{
    assert_parses("--wrong --help");
    cr_assert_eq(options.command, OPTIONS_HELP);
    assert_parses("-h");
    cr_assert_eq(options.command, OPTIONS_HELP);
    assert_parses("--config /nonexistent -V");
    cr_assert_eq(options.command, OPTIONS_VERSION);
    assert_parses("--version");
    cr_assert_eq(options.command, OPTIONS_VERSION);
}

Test(options_arguments, check_takes_one_file)
{
    assert_parses("check some.yaml");
    cr_assert_eq(options.command, OPTIONS_CHECK);
    cr_assert_str_eq(options.config, "some.yaml");

    cr_assert_eq(parse("check"), -EINVAL);
    cr_assert_eq(parse("check a b"), -EINVAL);
}

static void write_file(char *path, const char *text)
{
    int descriptor = mkstemp(path);

    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(descriptor);
}

Test(options_arguments, the_command_line_beats_the_file_wherever_config_stands)
{
    char path[] = "test_arguments.XXXXXX";
    char line[256];

    write_file(path, "shards: 2\nlog_level: debug\nlisteners: [0.0.0.0:7, '[::1]:8']\n");
    (void)snprintf(line, sizeof(line), "--shards 3 --config %s --port 9", path);
    assert_parses(line);
    cr_assert_eq(options.shards, 3);
    cr_assert_eq(options.log_level, OPTIONS_LOG_DEBUG);
    cr_assert_eq(options.listener_count, 2);
    cr_assert_eq(options.listeners[0].address.port, 9);
    cr_assert_eq(options.listeners[1].address.port, 8);

    (void)snprintf(line, sizeof(line), "-c %s --listen 127.0.0.1:1", path);
    assert_parses(line);
    cr_assert_eq(options.listener_count, 1);

    (void)snprintf(line, sizeof(line), "-c %s -c %s", path, path);
    cr_assert_eq(parse(line), -EINVAL);
    (void)unlink(path);
}

Test(options_arguments, the_command_line_can_mend_what_does_not_go_together_in_the_file)
{
    char path[] = "test_arguments.XXXXXX";
    char line[256];

    write_file(path, "limits: {queue_bytes_max: 1MiB}\n");
    (void)snprintf(line, sizeof(line), "-c %s", path);
    cr_assert_eq(parse(line), -EINVAL);
    (void)snprintf(line, sizeof(line), "-c %s --limits-packet-size-max 64KiB", path);
    assert_parses(line);
    (void)unlink(path);
}

Test(options_arguments, faults_of_the_file_stop_the_start)
{
    assert_fault("-c /nonexistent.yaml",
                 "/nonexistent.yaml: cannot be opened: No such file or directory");
}
