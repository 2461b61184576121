/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/fake_broker.h"

#include "core/broker/broker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct fake_chunk {
    struct fake_chunk *next;
    uint32_t           size;
    uint32_t           sent;
    uint8_t            bytes[];
};

struct fake_link {
    uint32_t           generation;
    bool               used;
    bool               handed_over;
    bool               refused;
    bool               ended;
    bool               flushing;
    uint32_t           pause_turns;
    struct fake_chunk *first;
    struct fake_chunk *last;
    uint64_t           output_size;
};

struct broker {
    struct broker_place place;
    struct fake_link   *links;
    uint32_t            links_used;
    struct effects      effects;
    struct outbox      *outboxes;
    struct statistics   statistics;
    uint64_t            now_ms;
    bool                pauses;
};

struct broker *broker_create(const struct broker_place *place, uint64_t now_ms)
{
    struct broker *broker = calloc(1, sizeof(*broker));
    if (broker == NULL)
        return NULL;
    broker->place = *place;
    broker->now_ms = now_ms;
    broker->links = calloc(place->links_max, sizeof(*broker->links));
    broker->outboxes = calloc(place->shard_count, sizeof(*broker->outboxes));
    effects_init(&broker->effects, LOG_INFO);
    return broker;
}

static void fake_drop_output(struct fake_link *link)
{
    while (link->first != NULL) {
        struct fake_chunk *chunk = link->first;
        link->first = chunk->next;
        free(chunk);
    }
    link->last = NULL;
    link->output_size = 0;
}

void broker_destroy(struct broker *broker)
{
    for (uint32_t slot = 0; slot < broker->links_used; slot++)
        fake_drop_output(&broker->links[slot]);
    for (uint16_t shard = 0; shard < broker->place.shard_count; shard++)
        outbox_fini(&broker->outboxes[shard]);
    effects_fini(&broker->effects);
    free(broker->outboxes);
    free(broker->links);
    free(broker);
}

static struct fake_link *fake_link_of(const struct broker *broker, struct handle handle)
{
    if (handle.slot >= broker->links_used)
        return NULL;
    struct fake_link *link = &broker->links[handle.slot];
    return link->used && link->generation == handle.generation ? link : NULL;
}

static struct handle fake_handle(const struct broker *broker, const struct fake_link *link)
{
    return (struct handle){(uint32_t)(link - broker->links), link->generation};
}

void broker_begin_turn(struct broker *broker, uint64_t now_ms)
{
    assert(now_ms >= broker->now_ms);
    broker->now_ms = now_ms;
}

static void fake_order(struct broker *broker, struct fake_link *link, enum order_kind kind,
                       uint16_t target)
{
    if (link->ended)
        return;
    link->ended = kind == ORDER_CLOSE || kind == ORDER_ABORT || kind == ORDER_HANDOVER;
    effects_order(&broker->effects, kind, fake_handle(broker, link), target);
}

bool broker_end_turn(struct broker *broker)
{
    broker->pauses = false;
    for (uint32_t slot = 0; slot < broker->links_used; slot++) {
        struct fake_link *link = &broker->links[slot];
        link->flushing = false;
        if (!link->used || link->pause_turns == 0)
            continue;
        if (--link->pause_turns == 0)
            fake_order(broker, link, ORDER_RESUME, 0);
        else
            broker->pauses = true;
    }
    return broker->pauses;
}

uint64_t broker_next_ms(const struct broker *broker)
{
    (void)broker;
    return UINT64_MAX;
}

bool broker_accept(struct broker *broker, const struct link_origin *origin, struct handle *handle)
{
    uint32_t slot = 0;
    while (slot < broker->links_used && broker->links[slot].used)
        slot++;
    if (slot == broker->place.links_max)
        return false;
    if (slot == broker->links_used)
        broker->links_used++;

    struct fake_link *link = &broker->links[slot];
    *link = (struct fake_link){
        .generation = link->generation + 1,
        .used = true,
        .handed_over = origin->handed_over,
        .refused = origin->refuse != MQTT_SUCCESS,
    };
    broker->statistics.connections++;
    *handle = fake_handle(broker, link);
    return true;
}

static void fake_write(struct broker *broker, struct fake_link *link, const void *bytes,
                       uint32_t size)
{
    struct fake_chunk *chunk = malloc(sizeof(*chunk) + size);
    assert(chunk != NULL);
    *chunk = (struct fake_chunk){.size = size};
    if (bytes != NULL)
        memcpy(chunk->bytes, bytes, size);
    else
        memset(chunk->bytes, 'n', size);

    if (link->last != NULL)
        link->last->next = chunk;
    else
        link->first = chunk;
    link->last = chunk;
    link->output_size += size;
    if (!link->flushing)
        effects_flush(&broker->effects, fake_handle(broker, link));
    link->flushing = true;
}

static uint32_t fake_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void fake_send_parcel(struct broker *broker, struct fake_link *link, uint16_t target)
{
    outbox_push(&broker->outboxes[target],
                (struct parcel){.kind = PARCEL_FENCE,
                                .number = (uint32_t)(link - broker->links),
                                .words = {link->generation}});
}

/* False: the frame is not consumed. */
static bool fake_frame(struct broker *broker, struct fake_link *link, const uint8_t *frame,
                       uint32_t size)
{
    uint8_t first = size > FAKE_HEADER_SIZE ? frame[FAKE_HEADER_SIZE] : 0;

    switch (frame[0]) {
    case 'E':
        fake_write(broker, link, frame, size);
        return true;
    case 'D':
        return true;
    case 'N':
        fake_write(broker, link, NULL, fake_u32(frame + FAKE_HEADER_SIZE));
        return true;
    case 'C':
        fake_order(broker, link, ORDER_CLOSE, 0);
        return true;
    case 'P':
        fake_write(broker, link, frame, size);
        link->pause_turns = first;
        fake_order(broker, link, ORDER_PAUSE, 0);
        return true;
    case 'H':
        if (first == broker->place.shard || link->handed_over) {
            fake_write(broker, link, frame, size);
            return true;
        }
        fake_order(broker, link, ORDER_HANDOVER, first);
        return false;
    case 'X':
        fake_send_parcel(broker, link, first);
        return true;
    default:
        fake_order(broker, link, ORDER_ABORT, 0);
        return true;
    }
}

struct input_result broker_input(struct broker *broker, struct handle handle, struct slice bytes)
{
    struct fake_link   *link = fake_link_of(broker, handle);
    struct input_result result = {0};

    if (link != NULL && link->refused && !link->ended) {
        fake_write(broker, link, "refused", 7);
        fake_order(broker, link, ORDER_CLOSE, 0);
    }
    while (link != NULL && !link->ended && link->pause_turns == 0) {
        const uint8_t *frame = bytes.data + result.consumed;
        uint32_t       left = bytes.size - result.consumed;
        if (left < FAKE_HEADER_SIZE)
            break;
        uint32_t size = FAKE_HEADER_SIZE + fake_u32(frame + 1);
        if (size > FAKE_FRAME_SIZE_MAX) {
            fake_order(broker, link, ORDER_ABORT, 0);
            break;
        }
        if (left < size) {
            result.frame_size = size;
            break;
        }
        if (fake_frame(broker, link, frame, size))
            result.consumed += size;
        broker->statistics.packets_in++;
    }
    return result;
}

void broker_hang_up(struct broker *broker, struct handle handle, int status)
{
    struct fake_link *link = fake_link_of(broker, handle);
    assert(link != NULL && status <= 0);
    fake_order(broker, link, ORDER_CLOSE, 0);
}

uint32_t broker_output(struct broker *broker, struct handle handle, struct slice *parts,
                       uint32_t parts_max)
{
    struct fake_link *link = fake_link_of(broker, handle);
    uint32_t          count = 0;

    if (link == NULL)
        return 0;
    for (struct fake_chunk *chunk = link->first; chunk != NULL && count < parts_max;
         chunk = chunk->next)
        parts[count++] = slice_of(chunk->bytes + chunk->sent, chunk->size - chunk->sent);
    return count;
}

void broker_sent(struct broker *broker, struct handle handle, uint32_t size)
{
    struct fake_link *link = fake_link_of(broker, handle);
    assert(link != NULL && size <= link->output_size);

    link->output_size -= size;
    while (size > 0) {
        struct fake_chunk *chunk = link->first;
        uint32_t           left = chunk->size - chunk->sent;
        if (size < left) {
            chunk->sent += size;
            return;
        }
        size -= left;
        link->first = chunk->next;
        if (link->first == NULL)
            link->last = NULL;
        free(chunk);
    }
}

uint64_t broker_output_size(const struct broker *broker, struct handle handle)
{
    const struct fake_link *link = fake_link_of(broker, handle);
    return link != NULL ? link->output_size : 0;
}

void broker_forget(struct broker *broker, struct handle handle)
{
    struct fake_link *link = fake_link_of(broker, handle);
    assert(link != NULL && link->used);
    fake_drop_output(link);
    link->used = false;
    broker->statistics.connections--;
}

void broker_parcel(struct broker *broker, const struct parcel *parcel)
{
    if (parcel->kind == PARCEL_FENCE) {
        struct parcel answer = *parcel;
        answer.kind = PARCEL_FENCE_DONE;
        outbox_push(&broker->outboxes[parcel->from], answer);
        return;
    }
    assert(parcel->kind == PARCEL_FENCE_DONE);
    struct fake_link *link =
        fake_link_of(broker, (struct handle){parcel->number, (uint32_t)parcel->words[0]});
    if (link != NULL && !link->ended)
        fake_write(broker, link, "X", 1);
}

/* Of core/broker/parcel.c, which knows what the real broker's parcels own. */
void parcel_drop(struct parcel *parcel)
{
    (void)parcel;
}

void outbox_push(struct outbox *outbox, struct parcel parcel)
{
    if (outbox_count(outbox) == outbox->capacity) {
        uint32_t       capacity = outbox->capacity > 0 ? outbox->capacity * 2 : 8;
        struct parcel *parcels = malloc(capacity * sizeof(*parcels));
        assert(parcels != NULL);
        uint32_t count = 0;
        for (struct parcel *old = outbox_peek(outbox); old != NULL; old = outbox_peek(outbox)) {
            parcels[count++] = *old;
            outbox_pop(outbox);
        }
        free(outbox->parcels);
        *outbox = (struct outbox){.parcels = parcels, .capacity = capacity, .next = count};
    }
    outbox->parcels[outbox->next++ & (outbox->capacity - 1)] = parcel;
}

void outbox_fini(struct outbox *outbox)
{
    free(outbox->parcels);
}

struct effects *broker_effects(struct broker *broker)
{
    return &broker->effects;
}

void broker_effects_done(struct broker *broker)
{
    effects_clear(&broker->effects);
}

struct outbox *broker_outboxes(struct broker *broker)
{
    return broker->outboxes;
}

void broker_stop_wills(struct broker *broker)
{
    (void)broker;
}

void broker_stop_links(struct broker *broker)
{
    for (uint32_t slot = 0; slot < broker->links_used; slot++) {
        struct fake_link *link = &broker->links[slot];
        if (!link->used || link->ended)
            continue;
        fake_write(broker, link, "bye", 3);
        fake_order(broker, link, ORDER_CLOSE, 0);
    }
}

const struct statistics *broker_statistics(const struct broker *broker)
{
    return &broker->statistics;
}
