/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Where a listener listens, read from text without the resolver (core knows no sockets): an IPv4 or
 * IPv6 address with a port, or the path of a unix socket.
 */

#include "proto/bytes.h"

#define ADDRESS_PATH_SIZE 108U /* room of sun_path, with its zero */
#define ADDRESS_TEXT_SIZE 128U

enum address_kind {
    ADDRESS_NONE = 0,
    ADDRESS_IPV4,
    ADDRESS_IPV6,
    ADDRESS_UNIX,
};

struct address {
    enum address_kind kind;
    uint16_t          port;                    /* host order; 0 for unix */
    uint8_t           ip[16];                  /* network order; IPv4 uses the first 4 */
    char              path[ADDRESS_PATH_SIZE]; /* of a unix socket */
};

/*
 * "127.0.0.1", "::1", "[::1]" or "unix:/path". The port is left as it is. NULL on success, else
 * what was expected, as half a sentence.
 */
const char *address_parse_host(struct address *address, struct slice text);

/* The same with an optional ":port": "127.0.0.1:1883", "[::1]:1883"; "::1" alone has no port. */
const char *address_parse(struct address *address, struct slice text);

/* True when `text` has a port behind its last colon. */
bool address_names_port(struct slice text);

/* "127.0.0.1:1883", "[::1]:1883" or "unix:/path", cut at the room given. Returns `text`. */
char *address_print(const struct address *address, char *text, size_t room);
