/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/transport.h"

#include "shard/carry.h"
#include "shard/lifecycle.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define SEND_PARTS_MAX 64U
#define FREE_PARTS_MAX 256U
/* Received straight into place: when this much has come and this much is missing. */
#define INTO_SIZE_MIN    4096U
#define INTO_MISSING_MIN 32768U

/* What sendmsg refers to must stay until it completed; kept by connections that send right now. */
struct send_parts {
    struct send_parts *next; /* in the list of free ones */
    struct msghdr      header;
    struct iovec       parts[SEND_PARTS_MAX];
};

struct link_sink {
    struct shard *shard;
    struct handle link;
};

static struct handle link_at(const struct connection *connection, uint32_t slot)
{
    return (struct handle){.slot = slot, .generation = connection->generation};
}

/* --- receiving --- */

static enum receive_mode receive_wanted(const struct connection *connection)
{
    if (connection->hung_up)
        return RECEIVE_NONE;
    if (connection->life == LIFE_FLUSHING || connection->life == LIFE_LINGERING)
        return RECEIVE_MANY;
    if (connection->life != LIFE_OPEN || connection->paused)
        return RECEIVE_NONE;
    if (carry_missing(connection->carry) >= INTO_MISSING_MIN &&
        connection->carry->size >= INTO_SIZE_MIN)
        return RECEIVE_INTO;
    return connection->idle ? RECEIVE_POLL : RECEIVE_MANY;
}

static enum operation receive_operation(enum receive_mode mode)
{
    return mode == RECEIVE_MANY   ? OPERATION_RECEIVE_MANY
           : mode == RECEIVE_INTO ? OPERATION_RECEIVE_INTO
                                  : OPERATION_POLL;
}

static int arm(struct shard *shard, struct connection *connection, uint64_t token,
               enum receive_mode mode)
{
    if (mode == RECEIVE_POLL) {
        ring_poll_readable(shard->ring, token, connection->file);
        return 0;
    }
    if (mode == RECEIVE_MANY) {
        ring_receive_many(shard->ring, token, connection->file);
        return 0;
    }
    int status = carry_reserve(&connection->carry);
    if (status < 0)
        return status;
    struct carry *carry = connection->carry;
    ring_receive(shard->ring, token, connection->file, carry->bytes + carry->size,
                 carry->capacity - carry->size);
    return 0;
}

static void fail(struct shard *shard, uint32_t slot, int status)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    bool               known = connection->hung_up;

    connection->hung_up = true;
    if (!known && connection->life == LIFE_OPEN)
        broker_hang_up(shard->broker, link_at(connection, slot), status);
}

void transport_update_receive(struct shard *shard, uint32_t slot)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    enum receive_mode  wanted = receive_wanted(connection);

    if (connection->receive != wanted && connection->receive != RECEIVE_NONE) {
        if (!connection->cancelling)
            ring_cancel(shard->ring, token_of(OPERATION_NONE, 0, 0),
                        token_of(receive_operation((enum receive_mode)connection->receive), slot,
                                 connection->generation));
        connection->cancelling = true;
    } else if (connection->receive != wanted) {
        uint64_t token = token_of(receive_operation(wanted), slot, connection->generation);
        int      status = arm(shard, connection, token, wanted);
        if (status < 0) {
            fail(shard, slot, status);
        } else {
            connection->receive = (uint8_t)wanted;
            connection->cancelling = false;
            connection->operations++;
        }
    }
    lifecycle_update_timed(shard, slot);
}

/* What was armed has ended. */
static void disarmed(struct connection *connection)
{
    assert(connection->operations > 0);
    connection->operations--;
    connection->receive = RECEIVE_NONE;
    connection->cancelling = false;
}

static struct input_result sink_input(void *context, struct slice bytes)
{
    const struct link_sink *sink = context;
    return broker_input(sink->shard->broker, sink->link, bytes);
}

static void take_bytes(struct shard *shard, uint32_t slot, struct slice bytes)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    int                status = 0;

    if (connection->life == LIFE_OPEN && !connection->paused) {
        struct link_sink        context = {shard, link_at(connection, slot)};
        const struct carry_sink sink = {.input = sink_input, .context = &context};
        status = carry_feed(&connection->carry, bytes, &sink);
    } else if (connection->life == LIFE_OPEN || connection->life == LIFE_MOVING) {
        status = carry_keep(&connection->carry, bytes);
    }
    /* Closing connections are read so that they end in order; what they say no longer counts. */

    if (status < 0) {
        connection->broken = true;
        fail(shard, slot, status);
    }
}

static void heard(struct shard *shard, struct connection *connection, uint32_t size)
{
    shard->statistics.receives++;
    shard->statistics.receive_bytes += size;
    connection->idle = false;
    batching_heard(&shard->batching, connection->heard_ms != (uint32_t)shard->now_ms);
    connection->heard_ms = (uint32_t)shard->now_ms;
}

/* The peer closed its side (0) or the connection failed. */
static void receive_ended(struct shard *shard, uint32_t slot, int32_t result)
{
    if (result == -ENOBUFS) {
        shard->statistics.out_of_buffers++;
        return;
    }
    if (result > 0 || result == -ECANCELED || result == -EINTR || result == -EAGAIN)
        return;
    if (result < 0)
        connections_at(&shard->connections, slot)->broken = true;
    fail(shard, slot, result);
}

static void received_into(struct shard *shard, uint32_t slot, uint32_t size)
{
    struct connection      *connection = connections_at(&shard->connections, slot);
    struct link_sink        context = {shard, link_at(connection, slot)};
    const struct carry_sink sink = {.input = sink_input, .context = &context};

    if (connection->life == LIFE_OPEN && !connection->paused)
        carry_received(&connection->carry, size, &sink);
    else
        connection->carry->size += size;
}

void transport_on_receive(struct shard *shard, uint32_t slot, const struct completion *completion)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    const uint8_t     *bytes = ring_buffer(shard->ring, completion);

    if (completion->result > 0)
        heard(shard, connection, (uint32_t)completion->result);
    if (bytes != NULL)
        take_bytes(shard, slot, slice_of(bytes, (size_t)completion->result));
    else if (completion->result > 0)
        received_into(shard, slot, (uint32_t)completion->result);
    ring_buffer_done(shard->ring, completion);

    if (!completion_continues(completion)) {
        receive_ended(shard, slot, completion->result);
        disarmed(connection);
        lifecycle_progress(shard, slot);
    } else if (carry_missing(connection->carry) >= INTO_MISSING_MIN) {
        transport_update_receive(shard, slot);
    }
}

void transport_on_poll(struct shard *shard, uint32_t slot)
{
    struct connection *connection = connections_at(&shard->connections, slot);

    if (connection->idle && !connection->cancelling)
        shard->statistics.from_idle++;
    /* Data, end or error: the receive will tell which. Quiet time counts from here. */
    connection->idle = false;
    connection->heard_ms = (uint32_t)shard->now_ms;
    disarmed(connection);
    lifecycle_progress(shard, slot);
}

void transport_present(struct shard *shard, uint32_t slot)
{
    struct connection      *connection = connections_at(&shard->connections, slot);
    struct link_sink        context = {shard, link_at(connection, slot)};
    const struct carry_sink sink = {.input = sink_input, .context = &context};

    if (connection->receive != RECEIVE_INTO) /* else the kernel writes there; later, then */
        carry_present(&connection->carry, &sink);
}

/* --- sending --- */

static struct send_parts *take_parts(struct shard *shard)
{
    struct send_parts *parts = shard->free_parts;
    if (parts == NULL)
        return malloc(sizeof(*parts));
    shard->free_parts = parts->next;
    shard->free_parts_count--;
    return parts;
}

static void give_parts(struct shard *shard, struct send_parts *parts)
{
    if (parts == NULL)
        return;
    if (shard->free_parts_count == FREE_PARTS_MAX) {
        free(parts);
        return;
    }
    parts->next = shard->free_parts;
    shard->free_parts = parts;
    shard->free_parts_count++;
}

void transport_fini(struct shard *shard)
{
    while (shard->free_parts != NULL)
        free(take_parts(shard));
    for (uint32_t slot = 0; slot < connections_slots(&shard->connections); slot++) {
        struct connection *connection = connections_at(&shard->connections, slot);
        free(connection->parts);
        free(connection->carry);
    }
}

static void send_parts(struct shard *shard, struct connection *connection, uint64_t token,
                       const struct slice *slices, uint32_t count)
{
    struct send_parts *parts = count > 1 ? take_parts(shard) : NULL;
    if (parts == NULL) { /* one part, or no memory: then one after the other */
        ring_send(shard->ring, token, connection->file, slices[0].data, slices[0].size);
        return;
    }

    for (uint32_t i = 0; i < count; i++)
        parts->parts[i] = (struct iovec){(void *)(uintptr_t)slices[i].data, slices[i].size};
    parts->header = (struct msghdr){.msg_iov = parts->parts, .msg_iovlen = count};
    connection->parts = parts;
    ring_send_parts(shard->ring, token, connection->file, &parts->header);
}

/* True when a send was started. */
static bool flush(struct shard *shard, uint32_t slot)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    struct slice       slices[SEND_PARTS_MAX];

    if (connection->sending || connection->broken ||
        (connection->life != LIFE_OPEN && connection->life != LIFE_FLUSHING &&
         connection->life != LIFE_MOVING))
        return false;

    uint32_t count =
        broker_output(shard->broker, link_at(connection, slot), slices, SEND_PARTS_MAX);
    if (count == 0)
        return false;
    send_parts(shard, connection, token_of(OPERATION_SEND, slot, connection->generation), slices,
               count);
    connection->sending = true;
    connection->operations++;
    shard->statistics.sends++;
    return true;
}

void transport_mark_dirty(struct shard *shard, uint32_t slot)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    if (connection->dirty || connection->sending)
        return;
    connection->dirty = true;
    slot_list_push(&shard->dirty, slot);
}

bool transport_flush_dirty(struct shard *shard)
{
    struct slot_list *dirty = &shard->dirty;
    uint32_t          done = 0;

    shard->sends_started = 0;
    for (; done < dirty->count && shard->sends_started < shard->sends_max; done++) {
        uint32_t slot = dirty->slots[done];
        connections_at(&shard->connections, slot)->dirty = false;
        if (flush(shard, slot))
            shard->sends_started++;
    }
    dirty->count -= done;
    if (dirty->count > 0)
        memmove(dirty->slots, dirty->slots + done, dirty->count * sizeof(*dirty->slots));
    return dirty->count > 0;
}

void transport_on_send(struct shard *shard, uint32_t slot, int32_t result)
{
    struct connection *connection = connections_at(&shard->connections, slot);
    struct handle      link = link_at(connection, slot);

    assert(connection->sending && connection->operations > 0);
    connection->sending = false;
    connection->operations--;
    give_parts(shard, connection->parts);
    connection->parts = NULL;

    if (result > 0) {
        shard->statistics.send_bytes += (uint32_t)result;
        broker_sent(shard->broker, link, (uint32_t)result);
    } else if (result != -EAGAIN && result != -EINTR && result != -ECANCELED) {
        connection->broken = true;
        /* An armed receive ends by itself, after what the peer said before it went. */
        if (connection->receive == RECEIVE_NONE)
            fail(shard, slot, result);
    }

    if (!connection->broken && broker_output_size(shard->broker, link) > 0) {
        shard->statistics.short_sends++;
        transport_mark_dirty(shard, slot);
    }
    if (connection->life != LIFE_OPEN)
        lifecycle_progress(shard, slot);
}

void transport_cancel_send(struct shard *shard, uint32_t slot)
{
    struct connection *connection = connections_at(&shard->connections, slot);

    if (!connection->sending || connection->send_cancelled)
        return;
    connection->send_cancelled = true;
    ring_cancel(shard->ring, token_of(OPERATION_NONE, 0, 0),
                token_of(OPERATION_SEND, slot, connection->generation));
}
