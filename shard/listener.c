/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE

#include "shard/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union any_address {
    struct sockaddr     any;
    struct sockaddr_in  ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_un  path;
};

static socklen_t to_socket_address(const struct address *address, union any_address *socket_address)
{
    memset(socket_address, 0, sizeof(*socket_address));
    if (address->kind == ADDRESS_IPV4) {
        socket_address->ipv4.sin_family = AF_INET;
        socket_address->ipv4.sin_port = htons(address->port);
        memcpy(&socket_address->ipv4.sin_addr, address->ip, 4);
        return sizeof(socket_address->ipv4);
    }
    if (address->kind == ADDRESS_IPV6) {
        socket_address->ipv6.sin6_family = AF_INET6;
        socket_address->ipv6.sin6_port = htons(address->port);
        memcpy(&socket_address->ipv6.sin6_addr, address->ip, 16);
        return sizeof(socket_address->ipv6);
    }
    socket_address->path.sun_family = AF_UNIX;
    memcpy(socket_address->path.sun_path, address->path, strlen(address->path));
    return sizeof(socket_address->path);
}

static int switch_on(int descriptor, int level, int option)
{
    int on = 1;
    return setsockopt(descriptor, level, option, &on, sizeof(on)) == 0 ? 0 : -errno;
}

/* A bound socket, not listening yet. Negative errno otherwise. */
static int bind_tcp(const struct address *address, bool share_port)
{
    union any_address socket_address;
    socklen_t         size = to_socket_address(address, &socket_address);

    int descriptor = socket(socket_address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;

    int status = switch_on(descriptor, SOL_SOCKET, SO_REUSEADDR);
    if (status == 0 && share_port)
        status = switch_on(descriptor, SOL_SOCKET, SO_REUSEPORT);
    /* Accepted sockets inherit it: a message must not wait for the acknowledgement of the last. */
    if (status == 0)
        status = switch_on(descriptor, IPPROTO_TCP, TCP_NODELAY);
    if (status == 0 && address->kind == ADDRESS_IPV6)
        status = switch_on(descriptor, IPPROTO_IPV6, IPV6_V6ONLY);
    if (status == 0 && bind(descriptor, &socket_address.any, size) != 0)
        status = -errno;
    if (status < 0) {
        close(descriptor);
        return status;
    }
    return descriptor;
}

/* SO_REUSEPORT would let a second broker of the same user share the port in silence. */
static int refuse_port_in_use(const struct address *address)
{
    int descriptor = bind_tcp(address, false);
    if (descriptor < 0)
        return descriptor;
    int status = listen(descriptor, 1) == 0 ? 0 : -errno;
    close(descriptor);
    return status;
}

static int learn_port(int descriptor, struct address *address)
{
    union any_address socket_address;
    socklen_t         size = sizeof(socket_address);
    if (getsockname(descriptor, &socket_address.any, &size) != 0)
        return -errno;
    /* The kernel wrote the member of this family.
     * NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    address->port = ntohs(address->kind == ADDRESS_IPV4 ? socket_address.ipv4.sin_port
                                                        : socket_address.ipv6.sin6_port);
    return 0;
}

static int open_tcp(struct listener *listener, uint32_t backlog)
{
    int status = 0;
    if (listener->count > 1 && listener->address.port != 0)
        status = refuse_port_in_use(&listener->address);

    for (uint16_t shard = 0; status == 0 && shard < listener->count; shard++) {
        int descriptor = bind_tcp(&listener->address, listener->count > 1);
        if (descriptor < 0)
            return descriptor;
        listener->descriptors[shard] = descriptor;
        if (listener->address.port == 0)
            status = learn_port(descriptor, &listener->address);
        if (status == 0 && listen(descriptor, (int)backlog) != 0)
            status = -errno;
    }
    return status;
}

/* The path of a broker that died is taken over; that of a living one, or of anything else, is not.
 */
static int remove_stale_socket(const struct address *address)
{
    struct stat what;
    if (lstat(address->path, &what) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(what.st_mode))
        return -EEXIST;

    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;
    union any_address socket_address;
    socklen_t         size = to_socket_address(address, &socket_address);
    int status = connect(descriptor, &socket_address.any, size) == 0 ? -EADDRINUSE : -errno;
    close(descriptor);
    if (status != -ECONNREFUSED)
        return status == -EAGAIN ? -EADDRINUSE : status;
    return unlink(address->path) == 0 ? 0 : -errno;
}

static int open_unix(struct listener *listener, const struct options_listener *options)
{
    int status = remove_stale_socket(&listener->address);
    if (status < 0)
        return status;

    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;

    union any_address socket_address;
    socklen_t         size = to_socket_address(&listener->address, &socket_address);
    if (bind(descriptor, &socket_address.any, size) != 0) {
        status = -errno;
        close(descriptor);
        return status;
    }
    /* Nobody can connect before listen, so the mode is in force for the first one, too. */
    if (chmod(listener->address.path, options->mode) != 0 ||
        listen(descriptor, (int)options->backlog) != 0) {
        status = -errno;
        close(descriptor);
        unlink(listener->address.path);
        return status;
    }
    for (uint16_t shard = 0; shard < listener->count; shard++)
        listener->descriptors[shard] = descriptor;
    return 0;
}

int listener_open(struct listener *listener, const struct options_listener *options,
                  uint16_t shard_count, char *why, size_t why_room)
{
    *listener = (struct listener){.address = options->address, .count = shard_count};
    listener->descriptors = malloc(shard_count * sizeof(*listener->descriptors));
    if (listener->descriptors == NULL)
        return -ENOMEM;
    for (uint16_t shard = 0; shard < shard_count; shard++)
        listener->descriptors[shard] = -1;

    int status = options->address.kind == ADDRESS_UNIX ? open_unix(listener, options)
                                                       : open_tcp(listener, options->backlog);
    if (status < 0) {
        char text[ADDRESS_TEXT_SIZE];
        snprintf(why, why_room, "cannot listen on %s: %s",
                 address_print(&options->address, text, sizeof(text)), strerror(-status));
        listener_close(listener);
    }
    return status;
}

void listener_close(struct listener *listener)
{
    if (listener->descriptors == NULL)
        return;

    bool is_unix = listener->address.kind == ADDRESS_UNIX;
    if (is_unix && listener->descriptors[0] >= 0)
        unlink(listener->address.path);
    for (uint32_t shard = 0; shard < (is_unix ? 1U : listener->count); shard++) {
        if (listener->descriptors[shard] >= 0)
            close(listener->descriptors[shard]);
    }
    free(listener->descriptors);
    *listener = (struct listener){0};
}
