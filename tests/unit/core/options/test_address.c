/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/address.h"

#include <criterion/criterion.h>

static struct address parsed(const char *text)
{
    struct address address = {.port = 1883};

    const char *expected = address_parse(&address, slice_text(text));
    cr_assert_null(expected, "%s: expected %s", text, expected);
    return address;
}

static void assert_reads_as(const char *text, const char *printed)
{
    char           room[ADDRESS_TEXT_SIZE];
    struct address address = parsed(text);

    cr_assert_str_eq(address_print(&address, room, sizeof(room)), printed);
}

static void assert_refused(const char *text)
{
    struct address address = {.port = 7};

    cr_assert_not_null(address_parse(&address, slice_text(text)), "%s was taken", text);
    cr_assert_eq(address.kind, ADDRESS_NONE);
    cr_assert_eq(address.port, 7);
}

Test(address, ipv4_has_four_parts_in_network_order)
{
    struct address address = parsed("192.168.0.254");

    cr_assert_eq(address.kind, ADDRESS_IPV4);
    cr_assert_arr_eq(address.ip, ((uint8_t[]){192, 168, 0, 254}), 4);
    cr_assert_eq(address.port, 1883);
}

Test(address, a_port_may_follow_the_last_colon)
{
    cr_assert_eq(parsed("0.0.0.0:1").port, 1);
    cr_assert_eq(parsed("[::]:65535").port, 65535);
    cr_assert_eq(parsed("127.0.0.1:0").port, 0);
}

Test(address, ipv6_is_read_in_each_of_its_forms)
{
    assert_reads_as("::", "[::]:1883");
    assert_reads_as("::1", "[::1]:1883");
    assert_reads_as("[::1]", "[::1]:1883");
    assert_reads_as("1::", "[1::]:1883");
    assert_reads_as("2001:DB8:0:0:1:0:0:1", "[2001:db8::1:0:0:1]:1883");
    assert_reads_as("1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:1883");
    assert_reads_as("[1:2:3:4:5:6:7::]:5", "[1:2:3:4:5:6:7:0]:5");
    assert_reads_as("::ffff:1.2.3.4", "[::ffff:102:304]:1883");
    assert_reads_as("1:2:3:4:5:6:1.2.3.4", "[1:2:3:4:5:6:102:304]:1883");
}

Test(address, a_unix_socket_has_a_path_and_no_port)
{
    struct address address = parsed("unix:/run/a:b.sock");

    cr_assert_eq(address.kind, ADDRESS_UNIX);
    cr_assert_eq(address.port, 0);
    cr_assert_str_eq(address.path, "/run/a:b.sock");
    assert_reads_as("unix:/run/x", "unix:/run/x");
}

Test(address, anything_else_is_refused_and_changes_nothing)
{
    static const char *const wrong[] = {
        "",
        ":",
        ":1883",
        "localhost",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:65536",
        "1.2.3.4: 1",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "12345::",
        "::g",
        "1:",
        ":1:2",
        "[::1",
        "::1]",
        "[]",
        "[1.2.3.4]",
        "[::1]1883",
        "[::1]:",
        "1:2:3:4:5:6:7:1.2.3.4",
        "::1.2.3",
        "fe80::1%eth0",
        "unix:",
        "unix:relative",
        "1:2:3:4:5:6:7:8::",
        "1.2.3.4:-1",
        "unix:/a\nb",
    };

    for (size_t index = 0; index < sizeof(wrong) / sizeof(wrong[0]); index++)
        assert_refused(wrong[index]);
}

Test(address, a_path_must_fit_sun_path)
{
    char           text[5 + ADDRESS_PATH_SIZE + 1] = "unix:/";
    struct address address = {0};

    memset(text + 6, 'x', ADDRESS_PATH_SIZE - 2);
    cr_assert_null(address_parse(&address, slice_text(text)));

    text[strlen(text)] = 'x';
    cr_assert_not_null(address_parse(&address, slice_text(text)));
}
