/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/flight.h"

#include <assert.h>
#include <stdlib.h>

#define FLIGHT_CAPACITY_MIN 16U
#define FLIGHT_CAPACITY_MAX 65536U
#define FLIGHT_COUNT_MAX    65535U

/* Seven legal moves, one of them to itself; every other pair is a violation. */
struct move {
    bool    legal;
    uint8_t to;
};

static const struct move moves[FLIGHT_STATE_COUNT][FLIGHT_EVENT_COUNT] = {
    [FLIGHT_FREE][FLIGHT_SENT_QOS1] = {true, FLIGHT_AWAITS_PUBACK},
    [FLIGHT_FREE][FLIGHT_SENT_QOS2] = {true, FLIGHT_AWAITS_PUBREC},
    [FLIGHT_AWAITS_PUBACK][FLIGHT_GOT_PUBACK] = {true, FLIGHT_FREE},
    [FLIGHT_AWAITS_PUBREC][FLIGHT_GOT_PUBREC] = {true, FLIGHT_AWAITS_PUBCOMP},
    [FLIGHT_AWAITS_PUBREC][FLIGHT_GOT_PUBREC_REFUSAL] = {true, FLIGHT_FREE},
    /* The client may have answered the PUBLISH just before the connection broke. */
    [FLIGHT_AWAITS_PUBCOMP][FLIGHT_GOT_PUBREC] = {true, FLIGHT_AWAITS_PUBCOMP},
    [FLIGHT_AWAITS_PUBCOMP][FLIGHT_GOT_PUBCOMP] = {true, FLIGHT_FREE},
};

uint8_t flight_next_state(uint8_t state, enum flight_event event)
{
    assert(state < FLIGHT_STATE_COUNT);
    const struct move *move = &moves[state][event];
    return move->legal ? move->to : FLIGHT_VIOLATION;
}

static struct flight *flight_of_capacity(uint32_t capacity)
{
    struct flight *flight =
        calloc(1, sizeof(*flight) + (size_t)capacity * sizeof(flight->entries[0]));
    if (flight == NULL)
        return NULL;
    flight->capacity = capacity;
    flight->next_id = 1;
    return flight;
}

struct flight *flight_create(void)
{
    return flight_of_capacity(FLIGHT_CAPACITY_MIN);
}

void flight_destroy(struct flight *flight, struct outbox *outboxes)
{
    for (uint32_t at = 0; at < flight->capacity; at++)
        if (flight->entries[at].delivery.message != NULL)
            delivery_drop(&flight->entries[at].delivery, outboxes);
    free(flight->resend);
    free(flight);
}

static struct flight_entry *entry_of(struct flight *flight, uint16_t packet_id)
{
    return &flight->entries[packet_id & (flight->capacity - 1)];
}

/* Twice the room: identifiers that differed in the low bits still do, so nothing collides. */
static bool flight_grow(struct flight **flight)
{
    struct flight *old = *flight;
    struct flight *larger = flight_of_capacity(old->capacity * 2);
    if (larger == NULL)
        return false;
    larger->count = old->count;
    larger->charged = old->charged;
    larger->next_order = old->next_order;
    larger->next_id = old->next_id;
    larger->resend = old->resend;
    larger->resend_at = old->resend_at;
    larger->resend_count = old->resend_count;
    for (uint32_t at = 0; at < old->capacity; at++)
        if (old->entries[at].state != FLIGHT_FREE)
            *entry_of(larger, old->entries[at].delivery.packet_id) = old->entries[at];
    free(old);
    *flight = larger;
    return true;
}

struct flight_entry *flight_enter(struct flight **flight, struct delivery delivery)
{
    assert(delivery.qos > 0);
    struct flight *own = *flight;
    if (own->count >= FLIGHT_COUNT_MAX)
        return NULL;
    if (own->count * 2 >= own->capacity && own->capacity < FLIGHT_CAPACITY_MAX) {
        if (!flight_grow(flight))
            return NULL;
        own = *flight;
    }

    while (own->next_id == 0 || entry_of(own, own->next_id)->state != FLIGHT_FREE)
        own->next_id++;

    struct flight_entry *entry = entry_of(own, own->next_id);
    delivery.packet_id = own->next_id++;
    *entry = (struct flight_entry){
        .delivery = delivery,
        .order = own->next_order++,
        .state =
            flight_next_state(FLIGHT_FREE, delivery.qos == 1 ? FLIGHT_SENT_QOS1 : FLIGHT_SENT_QOS2),
        .charged = true,
    };
    own->count++;
    own->charged++;
    return entry;
}

struct flight_entry *flight_find(struct flight *flight, uint16_t packet_id)
{
    if (flight == NULL)
        return NULL;
    struct flight_entry *entry = entry_of(flight, packet_id);
    bool found = entry->state != FLIGHT_FREE && entry->delivery.packet_id == packet_id;
    return found ? entry : NULL;
}

void flight_leave(struct flight *flight, struct flight_entry *entry)
{
    assert(entry->state != FLIGHT_FREE);
    assert(flight->count > 0);
    flight->count--;
    flight->charged -= entry->charged;
    *entry = (struct flight_entry){0};
}

/* Orders are running numbers: compared by difference, they may wrap. */
struct resend_key {
    uint32_t age;
    uint16_t packet_id;
};

static int compare_age(const void *left, const void *right)
{
    const struct resend_key *a = left;
    const struct resend_key *b = right;
    return a->age > b->age ? -1 : a->age < b->age ? 1 : 0;
}

bool flight_resume(struct flight *flight)
{
    free(flight->resend);
    flight->resend = NULL;
    flight->resend_at = 0;
    flight->resend_count = 0;
    flight->charged = 0;
    if (flight->count == 0)
        return true;

    struct resend_key *keys = malloc(flight->count * sizeof(*keys));
    uint16_t          *resend = malloc(flight->count * sizeof(*resend));
    if (keys == NULL || resend == NULL) {
        free(keys);
        free(resend);
        return false;
    }
    uint32_t count = 0;
    for (uint32_t at = 0; at < flight->capacity; at++) {
        struct flight_entry *entry = &flight->entries[at];
        if (entry->state == FLIGHT_FREE)
            continue;
        entry->charged = false;
        keys[count++] = (struct resend_key){
            .age = flight->next_order - entry->order,
            .packet_id = entry->delivery.packet_id,
        };
    }
    assert(count == flight->count);
    qsort(keys, count, sizeof(*keys), compare_age);
    for (uint32_t at = 0; at < count; at++)
        resend[at] = keys[at].packet_id;
    free(keys);
    flight->resend = resend;
    flight->resend_count = count;
    return true;
}

struct flight_entry *flight_to_resend(struct flight *flight)
{
    while (flight->resend_at < flight->resend_count) {
        struct flight_entry *entry = flight_find(flight, flight->resend[flight->resend_at]);
        if (entry != NULL && !entry->charged)
            return entry;
        flight->resend_at++; /* the client finished it before its turn came */
    }
    free(flight->resend);
    flight->resend = NULL;
    flight->resend_at = 0;
    flight->resend_count = 0;
    return NULL;
}

void flight_resent(struct flight *flight)
{
    flight->resend_at++;
}
