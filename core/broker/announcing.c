/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Interest, announced. Requests of one shard to one home arrive in order, so an ADD, a REMOVE and
 * an ADD of the same key end as added, and each ADD is answered.
 */

#include "core/broker/fences.h"
#include "core/broker/state.h"
#include "core/broker/subscribing.h"

#include <stdlib.h>

struct interest_request {
    struct interest_key key;
    bool                remove;
    bool                done; /* the home's answer */
    uint16_t            shard;
    uint32_t            entry;
    interest_then       then; /* NULL for a removal */
    void               *context;
};

/* What changed in this home's segment may have left arrays behind that others still read. */
static void collect_garbage(struct broker *broker)
{
    struct interest_garbage *garbage = interest_take_garbage(broker->interest, broker->shard);
    if (garbage != NULL)
        fences_wait(broker, garbage);
}

static bool apply(struct broker *broker, const struct interest_key *key, uint16_t shard,
                  bool remove)
{
    bool done = true;
    if (remove)
        interest_remove(broker->interest, key, shard);
    else
        done = interest_add(broker->interest, key, shard);
    collect_garbage(broker);
    return done;
}

static struct interest_request *request_create(const struct interest_key *key, uint16_t shard)
{
    struct interest_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return NULL;
    request->key = *key;
    request->shard = shard;
    return request;
}

bool interest_announce(struct broker *broker, struct slice filter, bool is_new, interest_then then,
                       void *context, uint32_t entry)
{
    if (broker->shard_count == 1)
        return true;

    struct interest_key key;
    interest_key_of(broker->interest, filter, &key);
    if (is_new)
        interest_counts_add(&broker->interest_counts, key.key, key.home);
    if (key.home == broker->shard) {
        if (!is_new || apply(broker, &key, broker->shard, false))
            return true;
        then(broker, context, entry, false);
        return false;
    }

    struct interest_request *request = request_create(&key, broker->shard);
    if (request == NULL) {
        then(broker, context, entry, false);
        return false;
    }
    request->entry = entry;
    request->then = then;
    request->context = context;
    broker_post(broker, key.home, (struct parcel){.kind = PARCEL_INTEREST, .pointer = request});
    return false;
}

void interest_withdraw(struct broker *broker, struct slice filter)
{
    if (broker->shard_count == 1)
        return;

    struct interest_key key;
    interest_key_of(broker->interest, filter, &key);
    if (interest_counts_remove(&broker->interest_counts, key.key, key.home) > 0)
        return;
    if (key.home == broker->shard) {
        apply(broker, &key, broker->shard, true);
        return;
    }
    struct interest_request *request = request_create(&key, broker->shard);
    if (request == NULL)
        return; /* too much interest is allowed: parcels that find nobody */
    request->remove = true;
    broker_post(broker, key.home, (struct parcel){.kind = PARCEL_INTEREST, .pointer = request});
}

void interest_on_request(struct broker *broker, const struct parcel *parcel)
{
    struct interest_request *request = parcel->pointer;
    request->done = apply(broker, &request->key, request->shard, request->remove);
    if (request->remove) {
        free(request);
        return;
    }
    broker_post(broker, parcel->from,
                (struct parcel){.kind = PARCEL_INTEREST_DONE, .pointer = request});
}

void interest_on_done(struct broker *broker, const struct parcel *parcel)
{
    struct interest_request *request = parcel->pointer;
    request->then(broker, request->context, request->entry, request->done);
    free(request);
}

void interest_request_drop(struct parcel *parcel)
{
    free(parcel->pointer);
}
