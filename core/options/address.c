/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/options/address.h"

#include <stdio.h>

#define IPV6_GROUPS 8U

/* Reads decimal digits up to `maximum`; no sign, no leading zero. False leaves `*at` anywhere. */
static bool take_decimal(const uint8_t **at, const uint8_t *end, uint32_t maximum, uint32_t *number)
{
    const uint8_t *begin = *at;
    uint32_t       value = 0;

    while (*at < end && **at >= '0' && **at <= '9') {
        value = value * 10 + (uint32_t)(**at - '0');
        if (value > maximum)
            return false;
        (*at)++;
    }
    *number = value;
    return *at > begin && (*begin != '0' || *at == begin + 1);
}

static bool parse_ipv4(struct slice text, uint8_t ip[4])
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;

    for (uint32_t part = 0; part < 4; part++) {
        uint32_t number;
        if (part > 0 && (at == end || *at++ != '.'))
            return false;
        if (!take_decimal(&at, end, 255, &number))
            return false;
        ip[part] = (uint8_t)number;
    }
    return at == end;
}

static int hexadecimal_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return -1;
}

static uint32_t take_hexadecimal(const uint8_t **at, const uint8_t *end, uint32_t *group)
{
    uint32_t digits = 0;

    *group = 0;
    while (*at < end && digits < 4 && hexadecimal_digit(**at) >= 0) {
        *group = *group << 4 | (uint32_t)hexadecimal_digit(**at);
        (*at)++;
        digits++;
    }
    return digits;
}

static void put_group(uint8_t ip[16], size_t place, uint16_t group)
{
    ip[2 * place] = (uint8_t)(group >> 8);
    ip[2 * place + 1] = (uint8_t)group;
}

static uint16_t get_group(const uint8_t ip[16], size_t place)
{
    return (uint16_t)(ip[2 * place] << 8 | ip[2 * place + 1]);
}

/* Groups to the left of "::" stay where they are, those to its right move to the end. */
static bool spread_groups(const uint16_t *groups, uint32_t count, uint32_t gap, uint8_t ip[16])
{
    bool     has_gap = gap <= IPV6_GROUPS;
    uint32_t missing = IPV6_GROUPS - count;

    if (has_gap ? count >= IPV6_GROUPS : count != IPV6_GROUPS)
        return false;

    memset(ip, 0, 16);
    for (uint32_t index = 0; index < count; index++) {
        uint32_t place = has_gap && index >= gap ? index + missing : index;
        put_group(ip, place, groups[index]);
    }
    return true;
}

static bool parse_ipv6(struct slice text, uint8_t ip[16])
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;
    uint16_t       groups[IPV6_GROUPS];
    uint32_t       count = 0;
    uint32_t       gap = UINT32_MAX;

    if (text.size >= 2 && at[0] == ':' && at[1] == ':') {
        gap = 0;
        at += 2;
    }
    while (at < end && count < IPV6_GROUPS) {
        const uint8_t *begin = at;
        uint32_t       group;
        uint8_t        tail[4];

        if (count <= IPV6_GROUPS - 2 && parse_ipv4(slice_of(at, (size_t)(end - at)), tail)) {
            groups[count++] = (uint16_t)(tail[0] << 8 | tail[1]);
            groups[count++] = (uint16_t)(tail[2] << 8 | tail[3]);
            at = end;
            break;
        }
        if (take_hexadecimal(&at, end, &group) == 0)
            return false;
        groups[count++] = (uint16_t)group;
        if (at == end)
            break;
        if (*at++ != ':' || at == end)
            return false;
        if (*at == ':') {
            if (gap != UINT32_MAX)
                return false;
            gap = count;
            at++;
        }
        assert(at > begin);
    }
    return at == end && spread_groups(groups, count, gap, ip);
}

static const char *parse_path(struct address *address, struct slice text)
{
    const struct slice prefix = slice_text("unix:");
    struct slice       path = slice_of(text.data + prefix.size, text.size - prefix.size);

    if (path.size == 0 || path.data[0] != '/')
        return "an absolute path after unix:";
    if (path.size >= ADDRESS_PATH_SIZE)
        return "a path of at most 107 bytes after unix:";
    for (uint32_t index = 0; index < path.size; index++)
        if (path.data[index] < ' ' || path.data[index] == 0x7f)
            return "a path without control characters";

    address->kind = ADDRESS_UNIX;
    address->port = 0;
    memset(address->path, 0, sizeof(address->path));
    memcpy(address->path, path.data, path.size);
    return NULL;
}

static bool is_unix(struct slice text)
{
    return text.size >= 5 && memcmp(text.data, "unix:", 5) == 0;
}

static bool is_bracketed(struct slice text)
{
    return text.size > 2 && text.data[0] == '[' && text.data[text.size - 1] == ']';
}

const char *address_parse_host(struct address *address, struct slice text)
{
    if (is_unix(text))
        return parse_path(address, text);

    struct slice bare = is_bracketed(text) ? slice_of(text.data + 1, text.size - 2) : text;
    uint8_t      ip[16] = {0};

    if (bare.size == text.size && bare.size > 0 && parse_ipv4(bare, ip))
        address->kind = ADDRESS_IPV4;
    else if (bare.size > 0 && parse_ipv6(bare, ip))
        address->kind = ADDRESS_IPV6;
    else
        return "an IPv4 or IPv6 address (no host name), or unix:/path";

    memcpy(address->ip, ip, sizeof(address->ip));
    memset(address->path, 0, sizeof(address->path));
    return NULL;
}

static uint32_t last_colon(struct slice text)
{
    uint32_t colon = text.size;

    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    return colon > 0 ? colon - 1 : text.size;
}

bool address_names_port(struct slice text)
{
    uint32_t colon = last_colon(text);

    if (is_unix(text) || colon == text.size)
        return false;
    /* A bare IPv6 address is full of colons: only brackets let a port follow it. */
    bool bracketed = colon > 0 && text.data[colon - 1] == ']';
    return bracketed || memchr(text.data, ':', colon) == NULL;
}

const char *address_parse(struct address *address, struct slice text)
{
    if (!address_names_port(text))
        return address_parse_host(address, text);

    uint32_t       colon = last_colon(text);
    const uint8_t *at = text.data + colon + 1;
    const uint8_t *end = text.data + text.size;
    uint32_t       port;
    if (!take_decimal(&at, end, UINT16_MAX, &port) || at != end)
        return "a port from 0 to 65535 after the last colon";

    const char *expected = address_parse_host(address, slice_of(text.data, colon));
    if (expected == NULL)
        address->port = (uint16_t)port;
    return expected;
}

/* The first longest run of two or more zero groups, which "::" stands for. */
static void find_gap(const uint8_t ip[16], uint32_t *gap, uint32_t *gap_size)
{
    *gap = IPV6_GROUPS;
    *gap_size = 1;
    for (uint32_t begin = 0; begin < IPV6_GROUPS; begin++) {
        uint32_t size = 0;
        while (begin + size < IPV6_GROUPS && get_group(ip, begin + size) == 0)
            size++;
        if (size > *gap_size) {
            *gap = begin;
            *gap_size = size;
        }
    }
}

static void print_ipv6(const uint8_t ip[16], char *host, size_t room)
{
    uint32_t gap;
    uint32_t gap_size;
    size_t   used = 0;

    find_gap(ip, &gap, &gap_size);
    for (uint32_t group = 0; group < IPV6_GROUPS; group++) {
        bool colon = used > 0 && host[used - 1] != ':';
        if (group == gap) {
            used += (size_t)snprintf(host + used, room - used, "::");
            group += gap_size - 1;
        } else {
            used += (size_t)snprintf(host + used, room - used, "%s%x", colon ? ":" : "",
                                     (unsigned)get_group(ip, group));
        }
    }
}

char *address_print(const struct address *address, char *text, size_t room)
{
    const uint8_t *ip = address->ip;
    char           host[64];

    assert(room > 0);
    switch (address->kind) {
    case ADDRESS_IPV4:
        (void)snprintf(text, room, "%u.%u.%u.%u:%u", ip[0], ip[1], ip[2], ip[3], address->port);
        break;
    case ADDRESS_IPV6:
        print_ipv6(ip, host, sizeof(host));
        (void)snprintf(text, room, "[%s]:%u", host, address->port);
        break;
    case ADDRESS_UNIX:
        (void)snprintf(text, room, "unix:%s", address->path);
        break;
    case ADDRESS_NONE:
        text[0] = '\0';
        break;
    }
    return text;
}
