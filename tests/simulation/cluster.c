/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/cluster.h"

#include "tests/simulation/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LINKS_MAX 512U
#define PIECE_MAX 3000U

struct mailbox {
    struct parcel *parcels;
    uint32_t       first;
    uint32_t       count;
};

struct stale_link {
    uint16_t      shard;
    struct handle link;
};

struct cluster {
    struct cluster_place   place;
    struct random         *random;
    const uint64_t        *now_ms;
    struct topic_secret    secret;
    struct interest_table *interest;
    struct broker        **brokers;
    struct mailbox        *mailboxes; /* [from * shard_count + to] */
    struct wire          **by_slot;   /* [shard * LINKS_MAX + slot] */
    bool                  *more;      /* the shard's last turn left work */
    uint64_t               turns;
    uint32_t               next_number;
    struct wire          **wires;
    uint32_t               wire_count;
    uint32_t               wire_capacity;
    struct stale_link     *stale; /* to be forgotten */
    uint32_t               stale_count;
    uint32_t               stale_capacity;
};

static struct mailbox *cluster_mailbox(struct cluster *cluster, uint16_t from, uint16_t to)
{
    return &cluster->mailboxes[(uint32_t)from * cluster->place.shard_count + to];
}

struct cluster *cluster_create(const struct cluster_place *place, struct random *random,
                               const uint64_t *now_ms)
{
    uint32_t        shards = place->shard_count;
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    uint64_t        entropy[8];

    assert(cluster != NULL);
    cluster->place = *place;
    cluster->random = random;
    cluster->now_ms = now_ms;
    for (uint32_t word = 0; word < 8; word++)
        entropy[word] = random_next(random);
    topic_secret_init(&cluster->secret, (const uint8_t *)entropy, sizeof(entropy));
    /* One shard alone needs no interest table. */
    if (shards > 1 || random_once_in(random, 2))
        cluster->interest = interest_create(&cluster->secret, place->shard_count);
    cluster->brokers = calloc(shards, sizeof(struct broker *));
    cluster->mailboxes = calloc((size_t)shards * shards, sizeof(struct mailbox));
    cluster->by_slot = calloc((size_t)shards * LINKS_MAX, sizeof(struct wire *));
    cluster->more = calloc(shards, sizeof(bool));
    for (uint32_t index = 0; index < shards * shards; index++)
        cluster->mailboxes[index].parcels = calloc(place->mailbox_capacity, sizeof(struct parcel));
    for (uint16_t shard = 0; shard < place->shard_count; shard++) {
        struct broker_place where = {
            .shard = shard,
            .shard_count = place->shard_count,
            .secret = &cluster->secret,
            .interest = cluster->interest,
            .options = place->options,
            .links_max = LINKS_MAX,
            .seed = random_next(random),
        };
        cluster->brokers[shard] = broker_create(&where, *now_ms);
        if (cluster->brokers[shard] == NULL)
            trace_fail("broker_create failed");
    }
    return cluster;
}

static void wire_free(struct wire *wire)
{
    stream_fini(&wire->to_broker);
    stream_fini(&wire->to_client);
    free(wire->marks);
    free(wire->sending);
    free(wire);
}

void cluster_destroy(struct cluster *cluster)
{
    uint32_t shards = cluster->place.shard_count;

    for (uint32_t slot = 0; slot < cluster->wire_count; slot++)
        wire_free(cluster->wires[slot]);
    for (uint32_t index = 0; index < shards * shards; index++) {
        struct mailbox *mailbox = &cluster->mailboxes[index];
        for (; mailbox->count > 0; mailbox->count--) {
            parcel_drop(&mailbox->parcels[mailbox->first]);
            mailbox->first = (mailbox->first + 1) % cluster->place.mailbox_capacity;
        }
        free(mailbox->parcels);
    }
    for (uint32_t shard = 0; shard < shards; shard++)
        broker_destroy(cluster->brokers[shard]);
    if (cluster->interest != NULL)
        interest_destroy(cluster->interest);
    free(cluster->brokers);
    free(cluster->mailboxes);
    free(cluster->by_slot);
    free(cluster->more);
    free(cluster->wires);
    free(cluster->stale);
    free(cluster);
}

struct wire *cluster_connect(struct cluster *cluster, uint16_t shard, int32_t client, int32_t owner)
{
    struct wire *wire = calloc(1, sizeof(*wire));

    assert(wire != NULL);
    wire->number = ++cluster->next_number;
    wire->client = client;
    wire->shard = shard;
    wire->owner = owner;
    if (cluster->wire_count == cluster->wire_capacity) {
        cluster->wire_capacity = 2 * cluster->wire_capacity + 16;
        cluster->wires = realloc(cluster->wires, cluster->wire_capacity * sizeof(struct wire *));
        assert(cluster->wires != NULL);
    }
    cluster->wires[cluster->wire_count++] = wire;
    return wire;
}

void wire_write(struct wire *wire, const void *bytes, uint32_t size)
{
    if (wire->client_gone || wire->end == WIRE_GONE)
        return;
    stream_push(&wire->to_broker, bytes, size);
    wire->written += size;
}

void wire_mark(struct wire *wire, enum wire_mark_kind kind, uint32_t number)
{
    if (wire->client_gone || wire->end == WIRE_GONE)
        return;
    wire->marks = realloc(wire->marks, (wire->mark_count + 1) * sizeof(struct wire_mark));
    assert(wire->marks != NULL);
    wire->marks[wire->mark_count++] =
        (struct wire_mark){.offset = wire->written, .number = number, .kind = kind};
}

void wire_close(struct wire *wire)
{
    wire->client_gone = true;
    wire->client = -1;
}

void wire_cut(struct wire *wire)
{
    wire->client_gone = true;
    wire->reset = true;
    wire->client = -1;
    stream_truncate(&wire->to_broker, wire->arrived);
    stream_fini(&wire->to_client);
}

static void wire_report_consumed(struct cluster *cluster, struct wire *wire)
{
    uint32_t done = 0;

    while (done < wire->mark_count && wire->marks[done].offset <= wire->consumed) {
        struct wire_mark mark = wire->marks[done++];
        if (mark.kind == WIRE_MARK_CONNECT)
            wire->connect_consumed = true;
        cluster->place.events.consumed(cluster->place.events.context, wire, &mark);
    }
    wire->mark_count -= done;
    if (done > 0)
        memmove(wire->marks, wire->marks + done, wire->mark_count * sizeof(struct wire_mark));
}

static void wire_input(struct cluster *cluster, struct wire *wire, bool eager)
{
    uint32_t fresh = wire->to_broker.size - wire->arrived;

    if (wire->paused || wire->ordered || (fresh == 0 && !wire->present))
        return;
    if (!eager && fresh > 1) {
        uint32_t piece_max = random_once_in(cluster->random, 3) ? 12 : PIECE_MAX + fresh / 2;
        fresh = random_between(cluster->random, 1, fresh < piece_max ? fresh : piece_max);
    }
    wire->arrived += fresh;
    wire->input_ms = *cluster->now_ms;
    wire->present = false;
    if (wire->arrived == 0)
        return;

    uint8_t *exact = malloc(wire->arrived);
    assert(exact != NULL);
    memcpy(exact, stream_view(&wire->to_broker).data, wire->arrived);
    struct input_result result =
        broker_input(cluster->brokers[wire->shard], wire->link, slice_of(exact, wire->arrived));
    free(exact);
    trace_event("shard %u wire %u: %u bytes in, %u consumed", wire->shard, wire->number,
                wire->arrived, result.consumed);
    if (result.consumed > wire->arrived)
        trace_fail("broker_input consumed %u of %u bytes", result.consumed, wire->arrived);
    stream_pop(&wire->to_broker, result.consumed);
    wire->arrived -= result.consumed;
    wire->consumed += result.consumed;
    if (result.consumed > 0)
        wire->heard_ms = *cluster->now_ms;
    wire_report_consumed(cluster, wire);
}

static void wire_accept(struct cluster *cluster, struct wire *wire)
{
    struct link_origin origin = {.handed_over = wire->end == WIRE_TRAVELLING};

    if (!broker_accept(cluster->brokers[wire->shard], &origin, &wire->link)) {
        trace_event("shard %u wire %u: not accepted", wire->shard, wire->number);
        wire->end = WIRE_GONE;
        return;
    }
    if (wire->link.slot >= LINKS_MAX)
        trace_fail("a link's slot is %u of %u", wire->link.slot, LINKS_MAX);
    struct wire **place = &cluster->by_slot[wire->shard * LINKS_MAX + wire->link.slot];
    if (*place != NULL)
        trace_fail("slot %u of shard %u was given out twice", wire->link.slot, wire->shard);
    *place = wire;
    trace_event("shard %u wire %u: accepted%s", wire->shard, wire->number,
                origin.handed_over ? " from another shard" : "");
    wire->end = WIRE_LINKED;
    wire->accepted_ms = *cluster->now_ms;
    wire->heard_ms = *cluster->now_ms;
    wire->input_ms = *cluster->now_ms;
    wire->ordered = false;
    wire->present = wire->arrived > 0;
}

static void wire_send_begin(struct cluster *cluster, struct wire *wire)
{
    uint32_t parts_max = random_between(cluster->random, 1, WIRE_PARTS_MAX);

    wire->wants_output = false;
    wire->part_count =
        broker_output(cluster->brokers[wire->shard], wire->link, wire->parts, parts_max);
    if (wire->part_count > parts_max)
        trace_fail("broker_output gave %u parts of at most %u", wire->part_count, parts_max);
    wire->sending_size = 0;
    for (uint32_t part = 0; part < wire->part_count; part++)
        wire->sending_size += wire->parts[part].size;
    if (wire->part_count == 0)
        return;
    if (wire->sending_size == 0)
        trace_fail("broker_output gave parts without bytes");
    wire->sending = malloc(wire->sending_size);
    assert(wire->sending != NULL);
    uint32_t at = 0;
    for (uint32_t part = 0; part < wire->part_count; part++) {
        memcpy(wire->sending + at, wire->parts[part].data, wire->parts[part].size);
        at += wire->parts[part].size;
    }
}

static void wire_send_end(struct cluster *cluster, struct wire *wire, bool eager)
{
    uint32_t at = 0;
    uint32_t size = wire->sending_size;

    if (!wire->client_gone && wire->to_client.size >= cluster->place.socket_size)
        return;
    for (uint32_t part = 0; part < wire->part_count; part++) {
        if (memcmp(wire->sending + at, wire->parts[part].data, wire->parts[part].size) != 0)
            trace_fail("output of wire %u changed while it was being sent", wire->number);
        at += wire->parts[part].size;
    }
    if (!eager && random_once_in(cluster->random, 3))
        size = random_between(cluster->random, 1, size);
    broker_sent(cluster->brokers[wire->shard], wire->link, size);
    trace_event("shard %u wire %u: %u of %u bytes sent", wire->shard, wire->number, size,
                wire->sending_size);
    trace_bytes(wire->sending, size);
    if (!wire->client_gone)
        stream_push(&wire->to_client, wire->sending, size);
    free(wire->sending);
    wire->sending = NULL;
    wire->wants_output = true;
}

static void cluster_forget_later(struct cluster *cluster, struct wire *wire)
{
    cluster->by_slot[wire->shard * LINKS_MAX + wire->link.slot] = NULL;
    if (cluster->stale_count == cluster->stale_capacity) {
        cluster->stale_capacity = 2 * cluster->stale_capacity + 16;
        cluster->stale =
            realloc(cluster->stale, cluster->stale_capacity * sizeof(struct stale_link));
        assert(cluster->stale != NULL);
    }
    cluster->stale[cluster->stale_count++] =
        (struct stale_link){.shard = wire->shard, .link = wire->link};
    free(wire->sending);
    wire->sending = NULL;
    wire->wants_output = false;
    wire->paused = false;
}

static void wire_gone(struct cluster *cluster, struct wire *wire)
{
    trace_event("shard %u wire %u: closed by the broker", wire->shard, wire->number);
    cluster_forget_later(cluster, wire);
    wire->end = WIRE_GONE;
    stream_fini(&wire->to_broker);
    wire->arrived = 0;
}

static void wire_step(struct cluster *cluster, struct wire *wire, bool eager)
{
    switch (wire->end) {
    case WIRE_ARRIVING:
    case WIRE_TRAVELLING:
        wire_accept(cluster, wire);
        if (wire->end != WIRE_LINKED || !eager)
            return;
        break;
    case WIRE_LINKED:
        break;
    case WIRE_GONE:
        return;
    }
    if (wire->sending != NULL && (eager || !random_once_in(cluster->random, 3)))
        wire_send_end(cluster, wire, eager);
    if (eager || !random_once_in(cluster->random, 4))
        wire_input(cluster, wire, eager);
    bool all_read =
        wire->reset || (wire->arrived == wire->to_broker.size && !wire->paused && !wire->present);
    if (wire->client_gone && !wire->hung_up && all_read &&
        (eager || random_once_in(cluster->random, 3))) {
        wire->hung_up = true;
        trace_event("shard %u wire %u: hang up%s", wire->shard, wire->number,
                    wire->reset ? " (reset)" : "");
        broker_hang_up(cluster->brokers[wire->shard], wire->link, wire->reset ? -ECONNRESET : 0);
    }
}

static void shard_forget(struct cluster *cluster, uint16_t shard, bool eager)
{
    uint32_t kept = 0;

    for (uint32_t index = 0; index < cluster->stale_count; index++) {
        struct stale_link stale = cluster->stale[index];
        if (stale.shard == shard && (eager || random_once_in(cluster->random, 2)))
            broker_forget(cluster->brokers[shard], stale.link);
        else
            cluster->stale[kept++] = stale;
    }
    cluster->stale_count = kept;
}

static void shard_take_parcels(struct cluster *cluster, uint16_t from, uint16_t shard,
                               uint32_t count_max)
{
    struct mailbox *mailbox = cluster_mailbox(cluster, from, shard);

    for (; mailbox->count > 0 && count_max > 0; count_max--) {
        struct parcel parcel = mailbox->parcels[mailbox->first];
        mailbox->first = (mailbox->first + 1) % cluster->place.mailbox_capacity;
        mailbox->count--;
        trace_event("shard %u: parcel %u from %u", shard, parcel.kind, from);
        broker_parcel(cluster->brokers[shard], &parcel);
    }
}

static struct wire *cluster_find(struct cluster *cluster, uint16_t shard, struct handle link)
{
    if (link.slot >= LINKS_MAX)
        return NULL;
    struct wire *wire = cluster->by_slot[shard * LINKS_MAX + link.slot];
    return wire != NULL && handle_equal(wire->link, link) ? wire : NULL;
}

static const char *order_name(uint8_t kind)
{
    static const char *const names[] = {"CLOSE", "ABORT", "PAUSE", "RESUME", "HANDOVER"};
    return kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

static void shard_carry_out(struct cluster *cluster, uint16_t shard, const struct order *order)
{
    struct wire *wire = cluster_find(cluster, shard, order->link);

    if (wire == NULL)
        trace_fail("shard %u: order %s for a stale link", shard, order_name(order->kind));
    trace_event("shard %u wire %u: order %s", shard, wire->number, order_name(order->kind));
    bool is_last = order->kind != ORDER_PAUSE && order->kind != ORDER_RESUME;
    if (is_last && wire->ordered)
        trace_fail("wire %u got a second last order: %s", wire->number, order_name(order->kind));
    if (is_last) {
        wire->ordered = true;
        wire->ordered_ms = *cluster->now_ms;
    }
    switch ((enum order_kind)order->kind) {
    case ORDER_CLOSE:
        wire->closing = true;
        wire->wants_output = true;
        break;
    case ORDER_ABORT:
        wire_gone(cluster, wire);
        break;
    case ORDER_PAUSE:
        wire->paused = true;
        return;
    case ORDER_RESUME:
        wire->paused = false;
        wire->present = wire->arrived > 0;
        return;
    case ORDER_HANDOVER:
        if (order->target >= cluster->place.shard_count || order->target == shard)
            trace_fail("wire %u is handed over from %u to %u", wire->number, shard, order->target);
        if (wire->consumed > 0)
            trace_fail("wire %u is handed over after its CONNECT was consumed", wire->number);
        cluster_forget_later(cluster, wire);
        wire->end = WIRE_TRAVELLING;
        wire->shard = order->target;
        return;
    default:
        trace_fail("order %u is unknown", order->kind);
    }
    cluster->place.events.ordered(cluster->place.events.context, wire);
}

static void shard_flush(struct cluster *cluster, uint16_t shard, bool eager)
{
    for (uint32_t slot = 0; slot < cluster->wire_count; slot++) {
        struct wire *wire = cluster->wires[slot];
        if (wire->end != WIRE_LINKED || wire->shard != shard)
            continue;
        if (wire->wants_output && wire->sending == NULL &&
            (eager || !random_once_in(cluster->random, 3)))
            wire_send_begin(cluster, wire);
        bool nothing = broker_output_size(cluster->brokers[shard], wire->link) == 0;
        if (wire->closing && (wire->client_gone || (nothing && wire->sending == NULL)))
            wire_gone(cluster, wire);
    }
}

static void shard_effects(struct cluster *cluster, uint16_t shard, bool eager)
{
    struct broker  *broker = cluster->brokers[shard];
    struct effects *effects = broker_effects(broker);

    for (uint32_t index = 0; index < effects->flush_count; index++) {
        struct wire *wire = cluster_find(cluster, shard, effects->flush[index]);
        if (wire == NULL)
            trace_fail("shard %u: flush of a stale link", shard);
        if (wire->flushed_turn == cluster->turns)
            trace_fail("wire %u is twice in the flush list of one turn", wire->number);
        wire->flushed_turn = cluster->turns;
        wire->wants_output = true;
    }
    for (uint32_t index = 0; index < effects->log_count; index++)
        trace_event("shard %u says: %s", shard, effects->logs[index].text);
    for (uint32_t index = 0; index < effects->order_count; index++)
        shard_carry_out(cluster, shard, &effects->orders[index]);
    shard_flush(cluster, shard, eager);
    broker_effects_done(broker);
}

void cluster_turn(struct cluster *cluster, uint16_t shard, bool eager)
{
    struct broker *broker = cluster->brokers[shard];
    uint16_t       shards = cluster->place.shard_count;

    cluster->turns++;
    broker_begin_turn(broker, *cluster->now_ms);
    shard_forget(cluster, shard, eager);
    if (eager) {
        for (uint16_t from = 0; from < shards; from++)
            shard_take_parcels(cluster, from, shard, UINT32_MAX);
        for (uint32_t slot = 0; slot < cluster->wire_count; slot++) {
            if (cluster->wires[slot]->shard == shard)
                wire_step(cluster, cluster->wires[slot], true);
        }
    } else {
        uint32_t events = random_between(cluster->random, 1, 12);
        for (uint32_t event = 0; event < events; event++) {
            if (random_once_in(cluster->random, 3)) {
                uint16_t from = (uint16_t)random_below(cluster->random, shards);
                shard_take_parcels(cluster, from, shard, random_between(cluster->random, 1, 8));
            } else if (cluster->wire_count > 0) {
                struct wire *wire =
                    cluster->wires[random_below(cluster->random, cluster->wire_count)];
                if (wire->shard == shard)
                    wire_step(cluster, wire, false);
            }
        }
    }
    cluster->more[shard] = broker_end_turn(broker);
    shard_effects(cluster, shard, eager);
}

/* True when the harness does mischief with this parcel and the caller must not carry it. */
static bool cluster_sabotage(struct cluster *cluster, struct parcel *parcel)
{
    enum sabotage sabotage = cluster->place.sabotage;

    if (sabotage == SABOTAGE_DROP && parcel->kind == PARCEL_PUBLISH &&
        random_once_in(cluster->random, 20)) {
        trace_event("sabotage: a PUBLISH parcel vanishes");
        parcel_drop(parcel);
        return true;
    }
    if (sabotage == SABOTAGE_LEAK && parcel->kind == PARCEL_RELEASE &&
        random_once_in(cluster->random, 20)) {
        trace_event("sabotage: a RELEASE parcel vanishes");
        return true;
    }
    return false;
}

void cluster_carry(struct cluster *cluster, uint16_t from, uint16_t to, bool eager)
{
    struct outbox  *outbox = &broker_outboxes(cluster->brokers[from])[to];
    struct mailbox *mailbox = cluster_mailbox(cluster, from, to);
    uint32_t        capacity = cluster->place.mailbox_capacity;
    uint32_t        count_max = eager ? UINT32_MAX : random_between(cluster->random, 1, 16);
    struct parcel  *parcel;

    while (count_max-- > 0 && mailbox->count < capacity && (parcel = outbox_peek(outbox)) != NULL) {
        struct parcel carried = *parcel;
        carried.from = from;
        outbox_pop(outbox);
        if (from == to)
            trace_fail("shard %u sends itself a parcel of kind %u", from, carried.kind);
        if (cluster_sabotage(cluster, &carried))
            continue;
        uint32_t last = (mailbox->first + mailbox->count - 1) % capacity;
        uint32_t next = (mailbox->first + mailbox->count) % capacity;
        bool     swap = cluster->place.sabotage == SABOTAGE_REORDER && mailbox->count > 0 &&
                    carried.kind == PARCEL_PUBLISH && mailbox->parcels[last].kind == PARCEL_PUBLISH;
        mailbox->parcels[next] = carried;
        mailbox->count++;
        if (swap) {
            trace_event("sabotage: two PUBLISH parcels change places");
            mailbox->parcels[next] = mailbox->parcels[last];
            mailbox->parcels[last] = carried;
        }
    }
}

bool cluster_wants_turn(const struct cluster *cluster, uint16_t shard)
{
    return cluster->more[shard] || broker_next_ms(cluster->brokers[shard]) <= *cluster->now_ms;
}

void cluster_turn_due(struct cluster *cluster)
{
    for (uint16_t shard = 0; shard < cluster->place.shard_count; shard++) {
        uint32_t turns = 0;
        while (broker_next_ms(cluster->brokers[shard]) <= *cluster->now_ms) {
            if (turns++ == 100000)
                trace_fail("shard %u always asks for one more turn", shard);
            cluster_turn(cluster, shard, false);
        }
    }
}

bool cluster_quiet(struct cluster *cluster, const char **why)
{
    static char text[128];
    uint16_t    shards = cluster->place.shard_count;

    *why = text;
    for (uint16_t from = 0; from < shards; from++) {
        (void)snprintf(text, sizeof(text), "shard %u has more to do", from);
        if (cluster->more[from])
            return false;
        for (uint16_t to = 0; to < shards; to++) {
            uint32_t waiting = outbox_count(&broker_outboxes(cluster->brokers[from])[to]) +
                               cluster_mailbox(cluster, from, to)->count;
            (void)snprintf(text, sizeof(text), "%u parcels from %u to %u", waiting, from, to);
            if (waiting > 0)
                return false;
        }
    }
    for (uint32_t slot = 0; slot < cluster->wire_count; slot++) {
        struct wire *wire = cluster->wires[slot];
        bool busy = wire->end != WIRE_LINKED || wire->sending != NULL || wire->wants_output ||
                    wire->paused || wire->client_gone || wire->to_broker.size > 0 ||
                    wire->to_client.size > 0;
        (void)snprintf(text, sizeof(text),
                       "wire %u: end %d, %u bytes in, %u out, sending %d, paused %d, ordered %d",
                       wire->number, wire->end, wire->to_broker.size, wire->to_client.size,
                       wire->sending != NULL, wire->paused, wire->ordered);
        if (busy)
            return false;
    }
    return cluster->stale_count == 0;
}

void cluster_sweep(struct cluster *cluster)
{
    uint32_t kept = 0;

    for (uint32_t slot = 0; slot < cluster->wire_count; slot++) {
        struct wire *wire = cluster->wires[slot];
        if (wire->end == WIRE_GONE && wire->client < 0) {
            wire_free(wire);
            continue;
        }
        if (wire->client < 0)
            stream_fini(&wire->to_client);
        cluster->wires[kept++] = wire;
    }
    cluster->wire_count = kept;
}

void cluster_sum(const struct cluster *cluster, struct statistics *sum)
{
    *sum = (struct statistics){0};
    for (uint16_t shard = 0; shard < cluster->place.shard_count; shard++)
        statistics_add(sum, broker_statistics(cluster->brokers[shard]));
}

uint64_t cluster_interest_filters(const struct cluster *cluster)
{
    return cluster->interest == NULL ? 0 : interest_filters(cluster->interest);
}

void cluster_stop_wills(struct cluster *cluster)
{
    for (uint16_t shard = 0; shard < cluster->place.shard_count; shard++) {
        broker_begin_turn(cluster->brokers[shard], *cluster->now_ms);
        broker_stop_wills(cluster->brokers[shard]);
        cluster->more[shard] = broker_end_turn(cluster->brokers[shard]);
        cluster->turns++;
        shard_effects(cluster, shard, false);
    }
}

void cluster_stop_links(struct cluster *cluster)
{
    for (uint16_t shard = 0; shard < cluster->place.shard_count; shard++) {
        broker_begin_turn(cluster->brokers[shard], *cluster->now_ms);
        broker_stop_links(cluster->brokers[shard]);
        cluster->more[shard] = broker_end_turn(cluster->brokers[shard]);
        cluster->turns++;
        shard_effects(cluster, shard, false);
    }
}

uint16_t cluster_shard_count(const struct cluster *cluster)
{
    return cluster->place.shard_count;
}

uint32_t cluster_wire_count(const struct cluster *cluster)
{
    return cluster->wire_count;
}

struct wire *cluster_wire(struct cluster *cluster, uint32_t slot)
{
    return cluster->wires[slot];
}
