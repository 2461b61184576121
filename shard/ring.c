/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _GNU_SOURCE

#include "shard/ring.h"

#include <liburing.h>

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Newer than the headers of Linux 6.1. */
#define FEATURE_MIN_TIMEOUT     (1U << 15)
#define BUFFER_RING_INCREMENTAL 2U
#define COMPLETION_BUFFER_MORE  (1U << 4)
#define WAKE_WITHOUT_COMPLETION 1U /* IORING_MSG_RING_CQE_SKIP */

#define BUFFER_GROUP        0
#define SUBMIT_ATTEMPTS_MAX 10000

struct ring {
    struct io_uring uring;
    uint32_t        enter_flags;
    bool            direct;
    bool            min_wait;

    struct io_uring_buf_ring *buffer_ring;
    size_t                    buffer_ring_size;
    uint8_t                  *buffer_bytes;
    uint32_t                 *buffer_used; /* of each buffer, incremental use only */
    uint32_t                  buffer_count;
    uint32_t                  buffer_size;
    bool                      incremental;
    uint16_t                  buffer_tail;
};

static int open_files(struct ring *ring, uint32_t files)
{
    ring->direct = files > 0;
    return files > 0 ? io_uring_register_files_sparse(&ring->uring, files) : 0;
}

int ring_open(struct ring **opened, const struct ring_setup *setup)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL)
        return -ENOMEM;

    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP,
        .cq_entries = setup->completion_entries,
    };
    int status = io_uring_queue_init_params(setup->entries, &ring->uring, &params);
    if (status < 0)
        goto free_ring;

    status = open_files(ring, setup->files);
    if (status < 0)
        goto close_ring;

    /* Saves a reference count on each call; not worth failing for. */
    if (io_uring_register_ring_fd(&ring->uring) == 1)
        ring->enter_flags = IORING_ENTER_REGISTERED_RING;
    ring->min_wait = setup->min_wait && (ring->uring.features & FEATURE_MIN_TIMEOUT) != 0;
    *opened = ring;
    return 0;

close_ring:
    io_uring_queue_exit(&ring->uring);
free_ring:
    free(ring);
    return status;
}

void ring_close(struct ring *ring)
{
    io_uring_queue_exit(&ring->uring);
    if (ring->buffer_ring != NULL)
        munmap(ring->buffer_ring, ring->buffer_ring_size);
    if (ring->buffer_bytes != NULL)
        munmap(ring->buffer_bytes, (size_t)ring->buffer_count * ring->buffer_size);
    free(ring->buffer_used);
    free(ring);
}

int ring_descriptor(const struct ring *ring)
{
    return ring->uring.ring_fd;
}

bool ring_knows_min_wait(const struct ring *ring)
{
    return (ring->uring.features & FEATURE_MIN_TIMEOUT) != 0;
}

int ring_install_file(struct ring *ring, uint32_t file, int descriptor)
{
    int status = io_uring_register_files_update(&ring->uring, file, &descriptor, 1);
    return status < 0 ? status : 0;
}

/* --- receive buffers --- */

static void *map_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static uint8_t *buffer_address(const struct ring *ring, uint32_t buffer)
{
    return ring->buffer_bytes + (size_t)buffer * ring->buffer_size;
}

static void provide(struct ring *ring, uint32_t buffer)
{
    struct io_uring_buf *entry =
        &ring->buffer_ring->bufs[ring->buffer_tail & (ring->buffer_count - 1)];

    entry->addr = (uintptr_t)buffer_address(ring, buffer);
    entry->len = ring->buffer_size;
    entry->bid = (uint16_t)buffer;
    ring->buffer_tail++;
    /* The kernel reads the entries up to the tail when it picks a buffer. */
    __atomic_store_n(&ring->buffer_ring->tail, ring->buffer_tail, __ATOMIC_RELEASE);
}

int ring_buffers_open(struct ring *ring, const struct ring_buffers *setup)
{
    assert(ring->buffer_ring == NULL);
    assert((setup->count & (setup->count - 1)) == 0 && setup->count <= 32768);

    size_t ring_size = setup->count * sizeof(struct io_uring_buf);
    void  *shared = map_pages(ring_size);
    if (shared == NULL)
        return -ENOMEM;

    /* The member `pad` became `flags`; kernels that do not know it refuse anything but zero. */
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)shared,
        .ring_entries = setup->count,
        .bgid = BUFFER_GROUP,
        .pad = setup->incremental ? BUFFER_RING_INCREMENTAL : 0,
    };
    int status = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (status < 0) {
        munmap(shared, ring_size);
        return status;
    }

    ring->buffer_ring = shared;
    ring->buffer_ring_size = ring_size;
    ring->buffer_count = setup->count;
    ring->buffer_size = setup->size;
    ring->incremental = setup->incremental;
    ring->buffer_bytes = map_pages((size_t)setup->count * setup->size);
    ring->buffer_used = calloc(setup->count, sizeof(*ring->buffer_used));
    if (ring->buffer_bytes == NULL || ring->buffer_used == NULL)
        return -ENOMEM; /* ring_close lets go of the rest */

    for (uint32_t buffer = 0; buffer < setup->count; buffer++)
        provide(ring, buffer);
    return 0;
}

static uint32_t buffer_number(const struct ring *ring, const struct completion *completion)
{
    uint32_t buffer = completion->flags >> IORING_CQE_BUFFER_SHIFT;
    assert(buffer < ring->buffer_count);
    return buffer;
}

const uint8_t *ring_buffer(const struct ring *ring, const struct completion *completion)
{
    if ((completion->flags & IORING_CQE_F_BUFFER) == 0 || completion->result <= 0)
        return NULL;
    uint32_t buffer = buffer_number(ring, completion);
    return buffer_address(ring, buffer) + ring->buffer_used[buffer];
}

void ring_buffer_done(struct ring *ring, const struct completion *completion)
{
    if ((completion->flags & IORING_CQE_F_BUFFER) == 0)
        return;

    uint32_t buffer = buffer_number(ring, completion);
    if (ring->incremental && (completion->flags & COMPLETION_BUFFER_MORE) != 0) {
        if (completion->result > 0)
            ring->buffer_used[buffer] += (uint32_t)completion->result;
        return;
    }
    ring->buffer_used[buffer] = 0;
    provide(ring, buffer);
}

/* --- completions --- */

bool completion_continues(const struct completion *completion)
{
    return (completion->flags & IORING_CQE_F_MORE) != 0;
}

bool ring_has_completions(const struct ring *ring)
{
    const struct io_uring_cq *cq = &ring->uring.cq;
    return *cq->khead != __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
}

uint32_t ring_reap(struct ring *ring, struct completion *completions, uint32_t room)
{
    struct io_uring_cq *cq = &ring->uring.cq;
    uint32_t            head = *cq->khead;
    /* The kernel wrote the entries before the tail. */
    uint32_t tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE);
    uint32_t count = tail - head < room ? tail - head : room;

    for (uint32_t i = 0; i < count; i++) {
        const struct io_uring_cqe *cqe = &cq->cqes[(head + i) & cq->ring_mask];
        completions[i] = (struct completion){cqe->user_data, cqe->res, cqe->flags};
    }
    /* Gives the entries back to the kernel, after they were read. */
    __atomic_store_n(cq->khead, head + count, __ATOMIC_RELEASE);
    return count;
}

/* --- submission --- */

/* Makes the prepared entries visible to the kernel; how many it has not taken yet. */
static uint32_t flush_queue(struct ring *ring)
{
    struct io_uring_sq *sq = &ring->uring.sq;
    uint32_t            tail = *sq->ktail;

    while (sq->sqe_head != sq->sqe_tail) {
        sq->array[tail & sq->ring_mask] = sq->sqe_head & sq->ring_mask;
        tail++;
        sq->sqe_head++;
    }
    __atomic_store_n(sq->ktail, tail, __ATOMIC_RELEASE);
    return tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

static int enter(struct ring *ring, uint32_t wait_count, uint32_t flags, void *argument,
                 size_t argument_size)
{
    return io_uring_enter2((unsigned)ring->uring.enter_ring_fd, flush_queue(ring), wait_count,
                           flags | ring->enter_flags, argument, argument_size);
}

int ring_submit(struct ring *ring, const struct ring_wait *wait)
{
    if (wait->count == 0 || wait->timeout_us == 0) {
        int status = enter(ring, 0, IORING_ENTER_GETEVENTS, NULL, 0);
        return status < 0 ? status : 0;
    }

    uint64_t timeout_us = wait->timeout_us;
    uint32_t count = wait->gather_us > 0 ? wait->count : 1;
    if (count > 1 && !ring->min_wait && timeout_us > wait->gather_us)
        timeout_us = wait->gather_us; /* the nearest thing: give up early, with what there is */

    struct __kernel_timespec timeout = {
        .tv_sec = (long long)(timeout_us / 1000000),
        .tv_nsec = (long long)(timeout_us % 1000000 * 1000),
    };
    struct io_uring_getevents_arg argument = {
        .sigmask_sz = _NSIG / 8,
        .pad = count > 1 && ring->min_wait ? wait->gather_us : 0, /* min_wait_usec since 6.12 */
        .ts = timeout_us == RING_FOREVER ? 0 : (uintptr_t)&timeout,
    };
    int status = enter(ring, count, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument,
                       sizeof(argument));
    return status < 0 && status != -ETIME && status != -EINTR ? status : 0;
}

/* Hands a full queue to the kernel. It may be out of memory for a moment; for ever is fatal. */
static void make_room(struct ring *ring)
{
    for (int attempt = 0; attempt < SUBMIT_ATTEMPTS_MAX; attempt++) {
        int status = enter(ring, 0, 0, NULL, 0);
        if (status > 0)
            return;
        if (status != -EINTR)
            sched_yield();
    }
    fprintf(stderr, "shardmq: the kernel takes no more operations (out of memory?)\n");
    abort();
}

static struct io_uring_sqe *operation(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    while (sqe == NULL) {
        make_room(ring);
        sqe = io_uring_get_sqe(&ring->uring);
    }
    return sqe;
}

static void finish(struct io_uring_sqe *sqe, uint64_t token)
{
    io_uring_sqe_set_data64(sqe, token);
}

/* The same on a file of the table. */
static void finish_on_file(const struct ring *ring, struct io_uring_sqe *sqe, uint64_t token)
{
    if (ring->direct)
        sqe->flags |= IOSQE_FIXED_FILE;
    finish(sqe, token);
}

void ring_receive_many(struct ring *ring, uint64_t token, uint32_t file)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_recv_multishot(sqe, (int)file, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    finish_on_file(ring, sqe, token);
}

void ring_receive(struct ring *ring, uint64_t token, uint32_t file, void *bytes, uint32_t size)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_recv(sqe, (int)file, bytes, size, 0);
    finish_on_file(ring, sqe, token);
}

void ring_poll_readable(struct ring *ring, uint64_t token, uint32_t file)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_poll_add(sqe, (int)file, POLLIN | POLLRDHUP);
    finish_on_file(ring, sqe, token);
}

void ring_send(struct ring *ring, uint64_t token, uint32_t file, const void *bytes, uint32_t size)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_send(sqe, (int)file, bytes, size, MSG_NOSIGNAL);
    finish_on_file(ring, sqe, token);
}

void ring_send_parts(struct ring *ring, uint64_t token, uint32_t file, const struct msghdr *parts)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_sendmsg(sqe, (int)file, parts, MSG_NOSIGNAL);
    finish_on_file(ring, sqe, token);
}

void ring_shutdown(struct ring *ring, uint64_t token, uint32_t file)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_shutdown(sqe, (int)file, SHUT_WR);
    finish_on_file(ring, sqe, token);
}

void ring_close_file(struct ring *ring, uint64_t token, uint32_t file)
{
    struct io_uring_sqe *sqe = operation(ring);
    if (ring->direct)
        io_uring_prep_close_direct(sqe, file);
    else
        io_uring_prep_close(sqe, (int)file);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    finish(sqe, token);
}

void ring_cancel(struct ring *ring, uint64_t token, uint64_t target)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    finish(sqe, token);
}

void ring_accept_many(struct ring *ring, uint64_t token, int descriptor)
{
    struct io_uring_sqe *sqe = operation(ring);
    if (ring->direct)
        io_uring_prep_multishot_accept_direct(sqe, descriptor, NULL, NULL, 0);
    else
        io_uring_prep_multishot_accept(sqe, descriptor, NULL, NULL, SOCK_CLOEXEC);
    finish(sqe, token);
}

void ring_read(struct ring *ring, uint64_t token, int descriptor, void *bytes, uint32_t size)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_read(sqe, descriptor, bytes, size, (uint64_t)-1);
    finish(sqe, token);
}

void ring_write(struct ring *ring, uint64_t token, int descriptor, const void *bytes, uint32_t size)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_write(sqe, descriptor, bytes, size, (uint64_t)-1);
    finish(sqe, token);
}

void ring_wake(struct ring *ring, uint64_t token, int target, uint64_t target_token)
{
    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_msg_ring(sqe, target, 0, target_token, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    finish(sqe, token);
}

/* liburing 2.3 has no helper for it. */
void ring_send_file(struct ring *ring, uint64_t token, int target, uint32_t file)
{
    assert(ring->direct);

    struct io_uring_sqe *sqe = operation(ring);
    io_uring_prep_rw(IORING_OP_MSG_RING, sqe, target, NULL, 0, 0);
    sqe->addr = IORING_MSG_SEND_FD;
    sqe->addr3 = file;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    sqe->rw_flags = WAKE_WITHOUT_COMPLETION;
    finish(sqe, token);
}
