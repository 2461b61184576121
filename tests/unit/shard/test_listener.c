/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/listener.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct listener listener;
static char            why[256];

static struct options_listener loopback(uint16_t port)
{
    return (struct options_listener){
        .address = {.kind = ADDRESS_IPV4, .port = port, .ip = {127, 0, 0, 1}}, .backlog = 16};
}

static struct options_listener at_path(const char *name)
{
    struct options_listener options = {.address.kind = ADDRESS_UNIX, .backlog = 16, .mode = 0660};
    snprintf(options.address.path, sizeof(options.address.path), "%s-%d", name, (int)getpid());
    return options;
}

Test(listener, all_shards_share_the_port_that_the_kernel_chose)
{
    struct options_listener options = loopback(0);

    cr_assert_eq(listener_open(&listener, &options, 3, why, sizeof(why)), 0);

    cr_assert_neq(listener.address.port, 0);
    for (int shard = 0; shard < 3; shard++) {
        struct sockaddr_in address;
        socklen_t          size = sizeof(address);
        cr_assert_eq(getsockname(listener.descriptors[shard], (struct sockaddr *)&address, &size),
                     0);
        cr_assert_eq(ntohs(address.sin_port), listener.address.port);
    }
    listener_close(&listener);
}

Test(listener, a_port_in_use_is_refused_even_though_shards_share_ports)
{
    struct options_listener options = loopback(0);
    struct listener         second;
    cr_assert_eq(listener_open(&listener, &options, 2, why, sizeof(why)), 0);
    options.address.port = listener.address.port;

    cr_assert_eq(listener_open(&second, &options, 2, why, sizeof(why)), -EADDRINUSE);

    cr_assert_not_null(strstr(why, "127.0.0.1:"));
    listener_close(&listener);
}

Test(listener, an_address_of_another_machine_is_refused)
{
    struct options_listener options = loopback(0);
    options.address.ip[0] = 192;
    options.address.ip[2] = 2;

    cr_assert_eq(listener_open(&listener, &options, 1, why, sizeof(why)), -EADDRNOTAVAIL);
}

Test(listener, the_socket_of_a_dead_broker_is_replaced)
{
    struct options_listener options = at_path("listener-stale");
    struct sockaddr_un      address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, options.address.path, sizeof(address.sun_path));
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
    close(dead);

    cr_assert_eq(listener_open(&listener, &options, 1, why, sizeof(why)), 0);

    listener_close(&listener);
    cr_assert_neq(access(options.address.path, F_OK), 0);
}

Test(listener, the_socket_of_a_living_broker_is_left_alone)
{
    struct options_listener options = at_path("listener-live");
    struct listener         second;
    cr_assert_eq(listener_open(&listener, &options, 2, why, sizeof(why)), 0);

    cr_assert_eq(listener_open(&second, &options, 1, why, sizeof(why)), -EADDRINUSE);

    cr_assert_eq(access(options.address.path, F_OK), 0);
    listener_close(&listener);
}

Test(listener, a_file_that_is_no_socket_is_left_alone)
{
    struct options_listener options = at_path("listener-file");
    close(open(options.address.path, O_CREAT | O_WRONLY, 0600));

    cr_assert_eq(listener_open(&listener, &options, 1, why, sizeof(why)), -EEXIST);

    cr_assert_eq(access(options.address.path, F_OK), 0);
    unlink(options.address.path);
}

Test(listener, a_folder_that_is_not_there_is_said)
{
    struct options_listener options = at_path("not/there");

    cr_assert_eq(listener_open(&listener, &options, 1, why, sizeof(why)), -ENOENT);

    cr_assert_not_null(strstr(why, "not/there"));
}
