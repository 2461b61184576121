/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The whole runtime, threads and rings and sockets, around a broker that only plays one. */

#include "tests/support/fake_broker.c"

#include "shard/process.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct options  options;
static struct process *process;
static char            why[512];

static void add_tcp_listener(void)
{
    options.listeners[0] = (struct options_listener){
        .address = {.kind = ADDRESS_IPV4, .port = 0, .ip = {127, 0, 0, 1}}, .backlog = 128};
    options.listener_count = 1;
}

static void prepare(uint16_t shards)
{
    signal(SIGPIPE, SIG_IGN);
    options_defaults(&options);
    options.shards = shards;
    options.runtime.pin = false;
    add_tcp_listener();
}

static void start(uint16_t shards)
{
    prepare(shards);
    cr_assert_eq(process_start(&process, &options, why, sizeof(why)), 0, "%s", why);
}

static void stop(void)
{
    process_stop(process, false);
    process_finish(process);
}

static int dial_port(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int            peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(peer >= 0);
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(connect(peer, (struct sockaddr *)&address, sizeof(address)), 0);
    return peer;
}

static int dial(void)
{
    return dial_port(process_port(process, 0));
}

static void put(int peer, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size > 0) {
        ssize_t sent = send(peer, at, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        cr_assert(sent > 0, "send: %s", strerror(errno));
        at += sent;
        size -= (size_t)sent;
    }
}

static void get(int peer, void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = recv(peer, at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        cr_assert(got > 0, "recv: %s", got == 0 ? "closed" : strerror(errno));
        at += got;
        size -= (size_t)got;
    }
}

static bool is_closed(int peer)
{
    char    bytes[4096];
    ssize_t got;
    while ((got = recv(peer, bytes, sizeof(bytes), 0)) > 0 || (got < 0 && errno == EINTR))
        ;
    return got == 0 || errno == ECONNRESET;
}

static void put_header(uint8_t *frame, char kind, uint32_t size)
{
    const uint8_t header[FAKE_HEADER_SIZE] = {(uint8_t)kind, (uint8_t)(size >> 24),
                                              (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                                              (uint8_t)size};
    memcpy(frame, header, sizeof(header));
}

static void put_small(int peer, char kind, uint8_t value)
{
    uint8_t frame[FAKE_HEADER_SIZE + 1];
    put_header(frame, kind, 1);
    frame[FAKE_HEADER_SIZE] = value;
    put(peer, frame, sizeof(frame));
}

static void expect_small(int peer, char kind, uint8_t value)
{
    uint8_t frame[FAKE_HEADER_SIZE + 1];
    get(peer, frame, sizeof(frame));
    cr_assert_eq(frame[0], kind);
    cr_assert_eq(frame[FAKE_HEADER_SIZE], value);
}

static void echo(int peer, uint8_t value)
{
    put_small(peer, 'E', value);
    expect_small(peer, 'E', value);
}

/* Sends from a child process, so that sender and receiver cannot block each other. */
static pid_t put_aside(int peer, const void *bytes, size_t size)
{
    pid_t child = fork();
    if (child == 0) {
        put(peer, bytes, size);
        _exit(0);
    }
    return child;
}

static uint32_t open_descriptors(void)
{
    uint32_t count = 0;
    for (int descriptor = 0; descriptor < 4096; descriptor++)
        count += fcntl(descriptor, F_GETFD) >= 0;
    return count;
}

Test(shard, one_shard_echoes)
{
    start(1);
    int peer = dial();

    for (uint8_t i = 0; i < 100; i++)
        echo(peer, i);

    close(peer);
    stop();
}

Test(shard, frames_cut_at_every_byte_arrive_whole)
{
    uint8_t frames[3 * (FAKE_HEADER_SIZE + 1)];
    for (uint8_t i = 0; i < 3; i++) {
        put_header(frames + i * (FAKE_HEADER_SIZE + 1), 'E', 1);
        frames[i * (FAKE_HEADER_SIZE + 1) + FAKE_HEADER_SIZE] = i;
    }
    start(1);
    int peer = dial();

    for (size_t cut = 1; cut < sizeof(frames); cut++) {
        put(peer, frames, cut);
        put(peer, frames + cut, sizeof(frames) - cut);
        for (uint8_t i = 0; i < 3; i++)
            expect_small(peer, 'E', i);
    }

    close(peer);
    stop();
}

Test(shard, a_frame_of_16_mib_is_echoed)
{
    const uint32_t size = FAKE_HEADER_SIZE + (16U << 20);
    uint8_t       *frame = malloc(size);
    uint8_t       *answer = malloc(size);
    for (uint32_t i = 0; i < size; i++)
        frame[i] = (uint8_t)(i * 7 + (i >> 12));
    put_header(frame, 'E', size - FAKE_HEADER_SIZE);
    start(1);
    int peer = dial();

    put_aside(peer, frame, size);
    get(peer, answer, size);

    cr_assert_eq(memcmp(frame, answer, size), 0);
    echo(peer, 1);
    close(peer);
    stop();
    free(frame);
    free(answer);
}

Test(shard, a_pause_loses_nothing_and_keeps_the_order)
{
    start(1);
    int peer = dial();

    for (uint8_t turns = 1; turns < 40; turns++) {
        put_small(peer, 'P', turns);
        for (uint8_t i = 0; i < 50; i++)
            put_small(peer, 'E', i);
        expect_small(peer, 'P', turns);
        for (uint8_t i = 0; i < 50; i++)
            expect_small(peer, 'E', i);
    }

    close(peer);
    stop();
}

Test(shard, a_slow_reader_delays_nobody_and_gets_everything)
{
    const uint32_t size = 32U << 20;
    uint8_t        frame[FAKE_HEADER_SIZE + 4];
    uint8_t       *answer = malloc(size);
    put_header(frame, 'N', 4);
    frame[5] = size >> 24;
    frame[6] = size >> 16 & 0xff;
    frame[7] = 0;
    frame[8] = 0;
    start(1);
    int slow = dial();
    int other = dial();

    put(slow, frame, sizeof(frame));
    for (uint8_t i = 0; i < 100; i++)
        echo(other, i);
    get(slow, answer, size);

    cr_assert_eq(answer[size - 1], 'n');
    close(slow);
    close(other);
    stop();
    free(answer);
}

Test(shard, many_answers_in_one_turn_arrive_in_order)
{
    uint8_t frames[1000][FAKE_HEADER_SIZE + 1];
    uint8_t answers[1000][FAKE_HEADER_SIZE + 1];
    for (uint32_t i = 0; i < 1000; i++) {
        put_header(frames[i], 'E', 1);
        frames[i][FAKE_HEADER_SIZE] = (uint8_t)i;
    }
    start(1);
    int peer = dial();

    put(peer, frames, sizeof(frames));
    get(peer, answers, sizeof(answers));

    cr_assert_eq(memcmp(frames, answers, sizeof(frames)), 0);
    close(peer);
    stop();
}

Test(shard, a_closed_connection_gets_what_was_waiting_first)
{
    uint8_t request[FAKE_HEADER_SIZE + 4 + FAKE_HEADER_SIZE] = {0};
    uint8_t answer[1U << 20];
    put_header(request, 'N', 4);
    request[6] = sizeof(answer) >> 16;
    put_header(request + FAKE_HEADER_SIZE + 4, 'C', 0);
    start(1);
    int peer = dial();

    put(peer, request, sizeof(request));
    get(peer, answer, sizeof(answer));

    cr_assert(is_closed(peer));
    close(peer);
    stop();
}

Test(shard, an_aborted_connection_is_closed_and_others_live_on)
{
    start(1);
    int bad = dial();
    int good = dial();

    put_small(bad, '?', 0);

    cr_assert(is_closed(bad));
    echo(good, 1);
    close(bad);
    close(good);
    stop();
}

Test(shard, a_peer_that_goes_away_frees_its_link)
{
    options_defaults(&options);
    start(1);

    for (uint32_t i = 0; i < 2000; i++) {
        int peer = dial();
        if (i % 3 == 0)
            put_small(peer, 'D', 0);
        if (i % 5 == 0)
            put_small(peer, 'E', 0);
        close(peer);
    }

    int peer = dial();
    echo(peer, 1);
    close(peer);
    stop();
}

Test(shard, a_connection_moves_to_each_shard_with_its_unread_bytes)
{
    start(3);

    for (uint8_t round = 0; round < 30; round++) {
        int peer = dial();
        for (uint8_t i = 0; i < 20; i++)
            put_small(peer, i == 3 ? 'H' : 'E', i == 3 ? round % 3 : i);
        for (uint8_t i = 0; i < 20; i++)
            expect_small(peer, i == 3 ? 'H' : 'E', i == 3 ? round % 3 : i);
        echo(peer, round);
        close(peer);
    }
    stop();
}

Test(shard, parcels_reach_siblings_and_come_back)
{
    start(2);
    int peers[8];
    for (uint32_t i = 0; i < 8; i++)
        peers[i] = dial();

    for (uint32_t round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 8; i++) {
            char answer = 0;
            put_small(peers[i], 'H', i % 2); /* its home */
            expect_small(peers[i], 'H', i % 2);
            put_small(peers[i], 'X', (i + 1) % 2);
            get(peers[i], &answer, 1);
            cr_assert_eq(answer, 'X');
        }
    }
    for (uint32_t i = 0; i < 8; i++)
        close(peers[i]);
    stop();
}

Test(shard, full_mailboxes_lose_no_parcel)
{
    const uint32_t count = 20000;
    uint8_t       *frames = malloc(count * (FAKE_HEADER_SIZE + 1));
    char          *answers = malloc(count);
    for (uint32_t i = 0; i < count; i++) {
        put_header(frames + i * (FAKE_HEADER_SIZE + 1), 'X', 1);
        frames[i * (FAKE_HEADER_SIZE + 1) + FAKE_HEADER_SIZE] = 1;
    }
    prepare(2);
    options.runtime.mailbox_capacity = 64;
    cr_assert_eq(process_start(&process, &options, why, sizeof(why)), 0, "%s", why);
    int peer = dial();
    put_small(peer, 'H', 0);
    expect_small(peer, 'H', 0);

    put_aside(peer, frames, count * (FAKE_HEADER_SIZE + 1));
    get(peer, answers, count);

    close(peer);
    stop();
    free(frames);
    free(answers);
}

Test(shard, an_idle_connection_goes_to_poll_and_comes_back)
{
    prepare(1);
    options.runtime.idle_after_ms = 100;
    cr_assert_eq(process_start(&process, &options, why, sizeof(why)), 0, "%s", why);
    int peer = dial();
    echo(peer, 1);

    /* Longer than the quiet time, so that it has most likely gone to poll; right either way. */
    for (uint8_t i = 0; i < 3; i++) {
        usleep(300000);
        echo(peer, i);
    }

    close(peer);
    stop();
}

Test(shard, seven_shards_on_any_number_of_cpus)
{
    start(7);
    int peers[64];
    for (uint8_t i = 0; i < 64; i++)
        peers[i] = dial();

    for (uint8_t i = 0; i < 64; i++) {
        put_small(peers[i], 'H', i % 7);
        expect_small(peers[i], 'H', i % 7);
    }
    for (uint8_t i = 0; i < 64; i++)
        echo(peers[i], i);

    for (uint8_t i = 0; i < 64; i++)
        close(peers[i]);
    stop();
}

Test(shard, stopping_tells_clients_and_closes_them)
{
    start(2);
    int peer = dial();
    echo(peer, 1);

    process_stop(process, false);
    char bye[3];
    get(peer, bye, sizeof(bye));

    cr_assert_eq(memcmp(bye, "bye", 3), 0);
    cr_assert(is_closed(peer));
    close(peer);
    process_finish(process);
}

Test(shard, connections_past_the_limit_are_refused_with_an_answer)
{
    prepare(1);
    options.limits.connections_max = 2;
    cr_assert_eq(process_start(&process, &options, why, sizeof(why)), 0, "%s", why);
    int first = dial();
    int second = dial();
    echo(first, 1);
    echo(second, 1);

    int  third = dial();
    char answer[7];
    put_small(third, 'E', 1);
    get(third, answer, sizeof(answer));

    cr_assert_eq(memcmp(answer, "refused", 7), 0);
    cr_assert(is_closed(third));
    echo(first, 2);
    close(first);
    close(second);
    close(third);
    stop();
}

Test(shard, a_unix_socket_is_served_by_all_and_removed_at_the_end)
{
    char path[64];
    snprintf(path, sizeof(path), "shardmq-test-%d.sock", (int)getpid());
    prepare(2);
    options.listeners[0] =
        (struct options_listener){.address.kind = ADDRESS_UNIX, .backlog = 16, .mode = 0600};
    memcpy(options.listeners[0].address.path, path, strlen(path) + 1);
    cr_assert_eq(process_start(&process, &options, why, sizeof(why)), 0, "%s", why);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    for (uint8_t i = 0; i < 8; i++) {
        int peer = socket(AF_UNIX, SOCK_STREAM, 0);
        cr_assert_eq(connect(peer, (struct sockaddr *)&address, sizeof(address)), 0);
        put_small(peer, 'H', i % 2);
        expect_small(peer, 'H', i % 2);
        close(peer);
    }
    struct stat what;
    cr_assert_eq(stat(path, &what), 0);
    cr_assert_eq(what.st_mode & 0777, 0600);
    stop();

    cr_assert_neq(access(path, F_OK), 0);
}

Test(shard, a_port_in_use_is_refused_in_one_sentence)
{
    start(2);
    struct process *second = NULL;
    struct options  same = options;
    same.listeners[0].address.port = process_port(process, 0);
    uint32_t before = open_descriptors();

    int status = process_start(&second, &same, why, sizeof(why));

    cr_assert_eq(status, -EADDRINUSE);
    cr_assert_not_null(strstr(why, "cannot listen on 127.0.0.1:"));
    cr_assert_eq(open_descriptors(), before);
    stop();
}

/*
 * Each step that takes a descriptor fails in turn; none may leave one open. The limit only goes
 * down, because it cannot be raised again.
 */
Test(shard, a_start_that_fails_anywhere_leaves_nothing_open)
{
    const uint32_t fillers =
        200; /* numbers below the limit are taken: tables need a limit of 128 */
    uint32_t failures = 0;
    prepare(2);
    for (uint32_t i = 0; i < fillers; i++)
        cr_assert(dup(STDERR_FILENO) >= 0);
    uint32_t filled = open_descriptors();

    for (uint32_t limit = filled + 40; limit >= filled; limit--) {
        struct rlimit descriptors = {limit, limit};
        struct rlimit more = {limit + 1, limit + 1};
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &descriptors), 0);
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            return; /* then the start may raise it as well, and nothing would fail */

        why[0] = '\0';
        if (process_start(&process, &options, why, sizeof(why)) == 0) {
            stop();
        } else {
            failures++;
            cr_assert_neq(why[0], '\0');
        }
        cr_assert_eq(open_descriptors(), filled);
    }
    cr_assert(failures >= 5, "only %u", failures);
}
