/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/lifecycle.h"

#include "shard/carry.h"
#include "shard/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_MS_MAX  5000U
#define LINGER_MS_MAX 1000U
/* With that many closing at once, something is wrong or somebody attacks: they get less time. */
#define CLOSING_CROWD 1024U
#define CROWD_MS_MAX  200U
#define SCAN_MS_MAX   250U
#define SCAN_STEPS    2048U

static struct connection *at(const struct shard *shard, uint32_t slot)
{
    return connections_at(&shard->connections, slot);
}

static void close_file(struct shard *shard, uint32_t file)
{
    ring_close_file(shard->ring, token_of(OPERATION_NONE, 0, 0), file);
}

/* --- begin --- */

void lifecycle_open(struct shard *shard, const struct link_origin *origin, uint32_t file,
                    struct carry *carry)
{
    struct handle link;
    bool          fits =
        shard->slots_used < shard->fabric->placement.links_max || shard->links < shard->slots_used;

    /* Slots are dense: the next link has one of those used so far, or the one after. */
    if (!fits || connections_reserve(&shard->connections, shard->slots_used) < 0 ||
        !broker_accept(shard->broker, origin, &link)) {
        close_file(shard, file);
        gate_leave(&shard->fabric->gate);
        free(carry);
        return;
    }
    assert(link.slot <= shard->slots_used);
    if (link.slot == shard->slots_used)
        shard->slots_used++;

    struct connection *connection = at(shard, link.slot);
    assert(connection->life == LIFE_FREE);
    *connection = (struct connection){
        .generation = link.generation,
        .file = file,
        .carry = carry,
        .timed_index = NOT_TIMED,
        .heard_ms = (uint32_t)shard->now_ms,
        .listener = origin->listener,
        .life = LIFE_OPEN,
        .dirty = connection->dirty, /* the slot may still be on the list */
    };
    shard->links++;
    transport_present(shard, link.slot);
    transport_update_receive(shard, link.slot);
}

/* --- end --- */

static bool is_closing(const struct connection *connection)
{
    return connection->life == LIFE_FLUSHING || connection->life == LIFE_LINGERING;
}

static void set_life(struct shard *shard, struct connection *connection, enum connection_life life)
{
    bool was_closing = is_closing(connection);
    connection->life = (uint8_t)life;
    if (!was_closing && is_closing(connection))
        shard->closing++;
    else if (was_closing && !is_closing(connection))
        shard->closing--;
}

static uint32_t patience_ms(const struct shard *shard, uint32_t usual_ms)
{
    return shard->closing > CLOSING_CROWD ? CROWD_MS_MAX : usual_ms;
}

static void progress_flushing(struct shard *shard, uint32_t slot)
{
    struct connection  *connection = at(shard, slot);
    const struct handle link = {slot, connection->generation};

    if (connection->broken) {
        set_life(shard, connection, LIFE_ENDING);
    } else if (connection->sending) {
        return;
    } else if (broker_output_size(shard->broker, link) > 0) {
        transport_mark_dirty(shard, slot);
    } else if (connection->hung_up) {
        set_life(shard, connection, LIFE_ENDING);
    } else {
        set_life(shard, connection, LIFE_LINGERING);
        connection->due_ms = (uint32_t)shard->now_ms + patience_ms(shard, LINGER_MS_MAX);
        connection->operations++;
        ring_shutdown(shard->ring, token_of(OPERATION_SHUTDOWN, slot, connection->generation),
                      connection->file);
    }
}

static void progress_ending(struct shard *shard, uint32_t slot)
{
    struct connection *connection = at(shard, slot);

    transport_cancel_send(shard, slot);
    if (connection->operations > 0)
        return;
    close_file(shard, connection->file);
    set_life(shard, connection, LIFE_ENDED);
    slot_list_push(&shard->ended, slot);
}

static void moved_out(struct shard *shard, uint32_t slot, uint32_t file)
{
    struct connection *connection = at(shard, slot);
    struct outbox     *outbox = &broker_outboxes(shard->broker)[connection->target];

    outbox_push(outbox, (struct parcel){.kind = PARCEL_MOVED,
                                        .number = file,
                                        .pointer = connection->carry,
                                        .words = {connection->listener}});
    connection->carry = NULL;
    shard->statistics.moved_out++;
}

static void progress_moving(struct shard *shard, uint32_t slot)
{
    struct connection *connection = at(shard, slot);

    if (connection->operations > 0)
        return;
    if (!connection->broken &&
        broker_output_size(shard->broker, (struct handle){slot, connection->generation}) > 0) {
        transport_mark_dirty(shard, slot);
        return;
    }
    if (shard->fabric->features.send_file) {
        connection->operations++;
        ring_send_file(shard->ring, token_of(OPERATION_SEND_FILE, slot, connection->generation),
                       shard->fabric->rings[connection->target], connection->file);
        return;
    }
    /* A plain descriptor is good for every shard: it stays open, only its owner changes. */
    moved_out(shard, slot, connection->file);
    set_life(shard, connection, LIFE_ENDED);
    slot_list_push(&shard->ended, slot);
}

void lifecycle_on_send_file(struct shard *shard, uint32_t slot, int32_t result)
{
    struct connection *connection = at(shard, slot);

    connection->operations--;
    if (result >= 0 && connection->life == LIFE_MOVING)
        moved_out(shard, slot, (uint32_t)result);
    else if (result < 0)
        log_line(&shard->log, LOG_WARNING,
                 "a connection was closed: it could not be handed over to shard %u: %s",
                 connection->target, strerror(-result));
    set_life(shard, connection, LIFE_ENDING);
    lifecycle_progress(shard, slot);
}

void lifecycle_progress(struct shard *shard, uint32_t slot)
{
    struct connection *connection = at(shard, slot);

    if (connection->life == LIFE_FLUSHING)
        progress_flushing(shard, slot);
    if (connection->life == LIFE_LINGERING && connection->hung_up)
        set_life(shard, connection, LIFE_ENDING);

    transport_update_receive(shard, slot);
    if (connection->life == LIFE_ENDING)
        progress_ending(shard, slot);
    else if (connection->life == LIFE_MOVING)
        progress_moving(shard, slot);
}

void lifecycle_present_resumed(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->resumed.count; i++) {
        uint32_t           slot = shard->resumed.slots[i];
        struct connection *connection = at(shard, slot);

        connection->resuming = false;
        if (connection->life != LIFE_OPEN || connection->paused)
            continue;
        transport_present(shard, slot);
        transport_update_receive(shard, slot);
    }
    shard->resumed.count = 0;
}

void lifecycle_forget_ended(struct shard *shard)
{
    for (uint32_t i = 0; i < shard->ended.count; i++) {
        uint32_t           slot = shard->ended.slots[i];
        struct connection *connection = at(shard, slot);

        assert(connection->life == LIFE_ENDED && connection->operations == 0);
        broker_forget(shard->broker, (struct handle){slot, connection->generation});
        free(connection->carry);
        connection->carry = NULL;
        connection->life = LIFE_FREE;
        shard->links--;
        gate_leave(&shard->fabric->gate);
    }
    shard->ended.count = 0;
}

void lifecycle_end_all(struct shard *shard)
{
    for (uint32_t slot = 0; slot < shard->slots_used; slot++) {
        struct connection *connection = at(shard, slot);
        if (connection->life == LIFE_FREE || connection->life >= LIFE_ENDING)
            continue;
        set_life(shard, connection, LIFE_ENDING);
        lifecycle_progress(shard, slot);
    }
}

/* --- orders --- */

void lifecycle_order(struct shard *shard, const struct order *order)
{
    struct connection *connection = connections_get(&shard->connections, order->link);
    if (connection == NULL || connection->life != LIFE_OPEN)
        return; /* cut by the shard in the meantime */

    switch ((enum order_kind)order->kind) {
    case ORDER_CLOSE:
        set_life(shard, connection, LIFE_FLUSHING);
        connection->due_ms = (uint32_t)shard->now_ms + patience_ms(shard, FLUSH_MS_MAX);
        break;
    case ORDER_ABORT:
        set_life(shard, connection, LIFE_ENDING);
        break;
    case ORDER_PAUSE:
        connection->paused = true;
        break;
    case ORDER_RESUME:
        connection->paused = false;
        if (!connection->resuming)
            slot_list_push(&shard->resumed, order->link.slot);
        connection->resuming = true;
        break;
    case ORDER_HANDOVER:
        assert(order->target < shard->fabric->shard_count && order->target != shard->number);
        connection->target = order->target;
        set_life(shard, connection, LIFE_MOVING);
        break;
    }
    lifecycle_progress(shard, order->link.slot);
}

/* --- hand-over, the other side --- */

void lifecycle_moved_in(struct shard *shard, const struct parcel *parcel)
{
    const struct link_origin origin = {.listener = (uint16_t)parcel->words[0], .handed_over = true};

    assert(parcel->kind == PARCEL_MOVED);
    atomic_fetch_add_explicit(&shard->fabric->gate.connections, 1, memory_order_relaxed);
    shard->statistics.moved_in++;
    if (shard->stage >= STAGE_LINKS) {
        close_file(shard, parcel->number);
        gate_leave(&shard->fabric->gate);
        free(parcel->pointer);
        return;
    }
    lifecycle_open(shard, &origin, parcel->number, parcel->pointer);
}

void lifecycle_drop(const struct parcel *parcel)
{
    assert(parcel->kind == PARCEL_MOVED);
    free(parcel->pointer); /* the descriptor goes with its ring */
}

/* --- clocks --- */

static bool needs_clock(const struct connection *connection)
{
    return is_closing(connection) || (connection->life == LIFE_OPEN && !connection->idle &&
                                      connection->receive == RECEIVE_MANY);
}

void lifecycle_update_timed(struct shard *shard, uint32_t slot)
{
    struct connection *connection = at(shard, slot);
    struct slot_list  *timed = &shard->timed;
    bool               listed = connection->timed_index != NOT_TIMED;

    if (needs_clock(connection) == listed)
        return;
    if (!listed) {
        connection->timed_index = timed->count;
        slot_list_push(timed, slot);
        return;
    }
    uint32_t last = timed->slots[--timed->count];
    timed->slots[connection->timed_index] = last;
    at(shard, last)->timed_index = connection->timed_index;
    connection->timed_index = NOT_TIMED;
}

/* Low bits of a clock: right as long as the times compared are less than 24 days apart. */
static bool passed(uint32_t since_ms, uint64_t now_ms, uint32_t least_ms)
{
    int32_t gone_ms = (int32_t)((uint32_t)now_ms - since_ms);
    return gone_ms >= 0 && (uint32_t)gone_ms >= least_ms;
}

static void look_at_clock(struct shard *shard, uint32_t slot)
{
    struct connection *connection = at(shard, slot);

    if (is_closing(connection)) {
        if (!passed(connection->due_ms, shard->now_ms, 0))
            return;
        set_life(shard, connection, LIFE_ENDING);
        lifecycle_progress(shard, slot);
        return;
    }
    if (connection->carry == NULL &&
        passed(connection->heard_ms, shard->now_ms, shard->options->runtime.idle_after_ms)) {
        connection->idle = true;
        shard->statistics.to_idle++;
        transport_update_receive(shard, slot);
    }
}

static uint32_t scan_interval_ms(const struct shard *shard)
{
    uint32_t quarter_ms = shard->options->runtime.idle_after_ms / 4;
    return shard->closing > 0 && quarter_ms > SCAN_MS_MAX ? SCAN_MS_MAX : quarter_ms;
}

void lifecycle_scan(struct shard *shard)
{
    struct slot_list *timed = &shard->timed;

    if (timed->count == 0) {
        shard->timed_hand = 0;
        shard->timed_due_ms = UINT64_MAX;
        return;
    }
    uint64_t interval_ms = scan_interval_ms(shard);
    if (shard->timed_due_ms > shard->now_ms + interval_ms)
        shard->timed_due_ms = shard->now_ms + interval_ms;
    if (shard->timed_due_ms > shard->now_ms)
        return;

    for (uint32_t step = 0; step < SCAN_STEPS && shard->timed_hand < timed->count; step++) {
        uint32_t slot = timed->slots[shard->timed_hand];
        look_at_clock(shard, slot);
        /* One that left the list was replaced by its last one, which is looked at next. */
        if (shard->timed_hand < timed->count && timed->slots[shard->timed_hand] == slot)
            shard->timed_hand++;
    }
    if (shard->timed_hand >= timed->count) {
        shard->timed_hand = 0;
        shard->timed_due_ms = shard->now_ms + interval_ms;
    }
}
