/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bench/load/engine.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SUBMISSIONS      4096U
#define COMPLETIONS      32768U
#define BUFFER_COUNT     512U /* a power of two; small enough to stay in the cache */
#define BUFFER_SIZE      8192U
#define BUFFER_GROUP     0
#define GATHER_COUNT     64U    /* completions that are worth a turn at once */
#define PORTS_PER_SOURCE 10000U /* connections from one source address before the next is used */
#define SOURCES          250U
#define OUTPUT_SIZE_MIN  128U

/* Since Linux 6.12; liburing 2.3 does not name them yet. */
#define FEATURE_MIN_TIMEOUT (1U << 15)

struct getevents_argument {
    uint64_t signal_mask;
    uint32_t signal_mask_size;
    uint32_t minimum_wait_us;
    uint64_t timespec;
};

/* The low bits of a completion's user data; connections are aligned to more than that. */
enum operation { OPERATION_CONNECT, OPERATION_RECEIVE, OPERATION_SEND, OPERATION_SHUTDOWN };
#define OPERATION_MASK 7U

uint64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void buffer_give_back(struct engine *engine, uint16_t id)
{
    io_uring_buf_ring_add(engine->buffers, engine->buffer_memory + (size_t)id * BUFFER_SIZE,
                          BUFFER_SIZE, id, io_uring_buf_ring_mask(BUFFER_COUNT), 0);
    io_uring_buf_ring_advance(engine->buffers, 1);
}

static int buffers_open(struct engine *engine)
{
    size_t ring_size = BUFFER_COUNT * sizeof(struct io_uring_buf);
    void  *memory = NULL;
    if (posix_memalign(&memory, 4096, ring_size + (size_t)BUFFER_COUNT * BUFFER_SIZE) != 0)
        return -ENOMEM;

    engine->buffers = memory;
    engine->buffer_memory = (uint8_t *)memory + ring_size;
    io_uring_buf_ring_init(engine->buffers);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)memory, .ring_entries = BUFFER_COUNT, .bgid = BUFFER_GROUP};
    int status = io_uring_register_buf_ring(&engine->ring, &registration, 0);
    if (status < 0) {
        free(memory);
        return status;
    }
    for (uint16_t id = 0; id < BUFFER_COUNT; id++)
        buffer_give_back(engine, id);
    return 0;
}

int engine_open(struct engine *engine, const struct sockaddr_in *target,
                const struct engine_handler *handler)
{
    *engine = (struct engine){.handler = handler, .target = *target, .now_ns = clock_now_ns()};
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = COMPLETIONS,
    };
    int status = io_uring_queue_init_params(SUBMISSIONS, &engine->ring, &parameters);
    if (status < 0)
        return status;
    engine->has_minimum_wait = (parameters.features & FEATURE_MIN_TIMEOUT) != 0;
    status = buffers_open(engine);
    if (status < 0)
        io_uring_queue_exit(&engine->ring);
    return status;
}

void engine_close(struct engine *engine)
{
    io_uring_queue_exit(&engine->ring);
    free(engine->buffers);
}

static struct io_uring_sqe *sqe_take(struct engine *engine, struct connection *connection,
                                     enum operation operation)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&engine->ring);
    while (sqe == NULL) {
        io_uring_submit(&engine->ring);
        sqe = io_uring_get_sqe(&engine->ring);
    }
    /* The preparation functions of liburing 2.3 leave user_data alone. */
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)connection | operation);
    return sqe;
}

static void receive_arm(struct connection *connection)
{
    struct io_uring_sqe *sqe = sqe_take(connection->engine, connection, OPERATION_RECEIVE);
    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    connection->receiving = true;
}

static int source_bind(struct engine *engine, int fd)
{
    if (ntohl(engine->target.sin_addr.s_addr) >> 24 != 127)
        return 0;
    uint32_t           source = engine->opened++ / PORTS_PER_SOURCE % SOURCES;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(0x7f000001U + source)};
    int                yes = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes)) < 0)
        return -errno;
    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

int engine_connect(struct engine *engine, struct connection *connection)
{
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    int status = source_bind(engine, fd);
    if (status < 0) {
        close(fd);
        return status;
    }

    connection->engine = engine;
    connection->fd = fd;
    connection->status = 0;
    connection->hung_up = false;
    connection->connecting = true;
    struct io_uring_sqe *sqe = sqe_take(engine, connection, OPERATION_CONNECT);
    io_uring_prep_connect(sqe, fd, (const struct sockaddr *)&engine->target,
                          sizeof(engine->target));
    return 0;
}

static void bytes_reserve(struct engine_bytes *bytes, uint32_t size)
{
    if (bytes->capacity - bytes->size >= size)
        return;
    uint32_t capacity = bytes->capacity > 0 ? bytes->capacity : OUTPUT_SIZE_MIN;
    while (capacity - bytes->size < size)
        capacity *= 2;
    bytes->data = realloc(bytes->data, capacity);
    if (bytes->data == NULL)
        abort();
    bytes->capacity = capacity;
}

uint8_t *engine_room(struct connection *connection, uint32_t size)
{
    bytes_reserve(&connection->filling, size);
    uint8_t *room = connection->filling.data + connection->filling.size;
    connection->filling.size += size;
    if (!connection->dirty) {
        connection->dirty = true;
        connection->dirty_next = connection->engine->dirty;
        connection->engine->dirty = connection;
    }
    return room;
}

static void send_rest(struct connection *connection)
{
    struct io_uring_sqe *sqe = sqe_take(connection->engine, connection, OPERATION_SEND);
    io_uring_prep_send(sqe, connection->fd, connection->leaving.data + connection->sent,
                       connection->leaving.size - connection->sent, MSG_NOSIGNAL | MSG_WAITALL);
    connection->sending = true;
}

static void connection_flush(struct connection *connection)
{
    if (connection->sending || connection->connecting || connection->filling.size == 0)
        return;
    struct engine_bytes filled = connection->filling;
    connection->filling = connection->leaving;
    connection->filling.size = 0;
    connection->leaving = filled;
    connection->sent = 0;
    send_rest(connection);
}

void engine_hang_up(struct connection *connection)
{
    if (connection->hung_up)
        return;
    connection->hung_up = true;
    struct io_uring_sqe *sqe = sqe_take(connection->engine, connection, OPERATION_SHUTDOWN);
    io_uring_prep_shutdown(sqe, connection->fd, SHUT_RDWR);
}

void engine_forget(struct connection *connection)
{
    if (connection->engine == NULL)
        return;
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    free(connection->filling.data);
    free(connection->leaving.data);
    connection->filling = (struct engine_bytes){0};
    connection->leaving = (struct engine_bytes){0};
}

/* Nothing of it is with the kernel any more once neither half is under way. */
static void connection_finish(struct connection *connection)
{
    if (connection->receiving || connection->sending || connection->connecting)
        return;
    close(connection->fd);
    connection->fd = -1;
    connection->filling.size = 0;
    connection->engine->handler->closed(connection, connection->status);
}

static void on_connect(struct connection *connection, const struct io_uring_cqe *cqe)
{
    connection->connecting = false;
    if (cqe->res < 0) {
        connection->status = cqe->res;
        connection_finish(connection);
        return;
    }
    receive_arm(connection);
    connection->engine->handler->connected(connection);
}

static void on_receive(struct connection *connection, const struct io_uring_cqe *cqe)
{
    struct engine *engine = connection->engine;
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0)
            engine->handler->received(
                connection,
                slice_of(engine->buffer_memory + (size_t)id * BUFFER_SIZE, (size_t)cqe->res));
        buffer_give_back(engine, id);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) != 0)
        return;

    connection->receiving = false;
    if (cqe->res > 0 || cqe->res == -ENOBUFS) {
        receive_arm(connection);
        return;
    }
    if (connection->status == 0)
        connection->status = cqe->res;
    connection_finish(connection);
}

static void on_send(struct connection *connection, const struct io_uring_cqe *cqe)
{
    connection->sending = false;
    if (cqe->res < 0) {
        /* The receiving half sees the end too, and closes. */
        if (connection->receiving)
            engine_hang_up(connection);
        else
            connection_finish(connection);
        return;
    }
    connection->sent += (uint32_t)cqe->res;
    if (!connection->receiving)
        connection_finish(connection);
    else if (connection->sent < connection->leaving.size)
        send_rest(connection);
    else
        connection_flush(connection);
}

static void engine_handle(const struct io_uring_cqe *cqe)
{
    void              *data = io_uring_cqe_get_data(cqe);
    struct connection *connection =
        (struct connection *)((uint8_t *)data - (cqe->user_data & OPERATION_MASK));
    enum operation operation = (enum operation)(cqe->user_data & OPERATION_MASK);

    switch (operation) {
    case OPERATION_CONNECT:
        on_connect(connection, cqe);
        break;
    case OPERATION_RECEIVE:
        on_receive(connection, cqe);
        break;
    case OPERATION_SEND:
        on_send(connection, cqe);
        break;
    case OPERATION_SHUTDOWN:
        break;
    }
}

static void engine_flush(struct engine *engine)
{
    struct connection *connection = engine->dirty;
    engine->dirty = NULL;
    while (connection != NULL) {
        struct connection *next = connection->dirty_next;
        connection->dirty = false;
        connection_flush(connection);
        connection = next;
    }
}

static int engine_wait(struct engine *engine, uint64_t deadline_ns, uint32_t gather_us)
{
    uint64_t                  now_ns = engine->now_ns;
    uint64_t                  left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct __kernel_timespec  timeout = {.tv_sec = (int64_t)(left_ns / 1000000000U),
                                         .tv_nsec = (long long)(left_ns % 1000000000U)};
    bool                      gathers = gather_us > 0 && engine->has_minimum_wait;
    struct getevents_argument argument = {.minimum_wait_us = gathers ? gather_us : 0,
                                          .timespec = (uintptr_t)&timeout};

    int status = io_uring_submit(&engine->ring);
    if (status < 0)
        return status;
    return io_uring_enter2((unsigned)engine->ring.ring_fd, 0, gathers ? GATHER_COUNT : 1,
                           IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (sigset_t *)&argument,
                           sizeof(argument));
}

int engine_turn(struct engine *engine, uint64_t deadline_ns, uint32_t gather_us)
{
    engine_flush(engine);
    int status = engine_wait(engine, deadline_ns, gather_us);
    if (status < 0 && status != -ETIME && status != -EINTR && status != -EBUSY)
        return status;
    engine->now_ns = clock_now_ns();

    unsigned             head;
    unsigned             seen = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&engine->ring, head, cqe)
    {
        engine_handle(cqe);
        seen++;
    }
    io_uring_cq_advance(&engine->ring, seen);
    return 0;
}
