/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Interest, announced. Requests of one shard to one home arrive in order, so an ADD, a REMOVE and
 * an ADD of the same key end as added, and each ADD is answered.
 */

#include "core/broker/fences.h"
#include "core/broker/state.h"
#include "core/broker/subscribing.h"

#include <stdlib.h>

enum interest_change {
    INTEREST_ADD,
    INTEREST_REMOVE,  /* not answered */
    INTEREST_CONFIRM, /* an answer behind those of before is all that is wanted */
};

struct interest_request {
    struct interest_key key;
    uint8_t             change; /* enum interest_change */
    bool                done;   /* the home's answer */
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
                  enum interest_change change)
{
    bool done = true;
    if (change == INTEREST_ADD)
        done = interest_add(broker->interest, key, shard);
    else if (change == INTEREST_REMOVE)
        interest_remove(broker->interest, key, shard);
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

/*
 * Keys are 48 bits of a hash: where two filters of a shard share one, the index keeps the second in
 * its trie, and it is announced as what the trie's filters are. So a key stands for one filter of a
 * shard, and a filter comes and goes with its node.
 */
static struct interest_key key_of_node(const struct broker *broker, const struct filter_node *node)
{
    struct interest_key key;
    interest_key_of(broker->interest, slice_of(node->filter, node->filter_size), &key);
    key.overflow |= filter_node_overflow(node);
    return key;
}

bool interest_announce(struct broker *broker, const struct filter_node *node, bool is_new,
                       interest_then then, void *context, uint32_t entry)
{
    if (broker->shard_count == 1)
        return true;

    struct interest_key key = key_of_node(broker, node);
    if (key.home == broker->shard) {
        if (!is_new || apply(broker, &key, broker->shard, INTEREST_ADD))
            return true;
        then(broker, context, entry, false);
        return false;
    }

    struct interest_request *request = request_create(&key, broker->shard);
    if (request == NULL) {
        then(broker, context, entry, false);
        return false;
    }
    /* Filters of the trie are counted at home, so only the first announcement may count. */
    request->change = is_new || !key.overflow ? INTEREST_ADD : INTEREST_CONFIRM;
    request->entry = entry;
    request->then = then;
    request->context = context;
    broker_post(broker, key.home, (struct parcel){.kind = PARCEL_INTEREST, .pointer = request});
    return false;
}

void interest_withdraw(struct broker *broker, const struct filter_node *node)
{
    if (broker->shard_count == 1)
        return;

    struct interest_key key = key_of_node(broker, node);
    if (key.home == broker->shard) {
        apply(broker, &key, broker->shard, INTEREST_REMOVE);
        return;
    }
    struct interest_request *request = request_create(&key, broker->shard);
    if (request == NULL)
        return; /* too much interest is allowed: parcels that find nobody */
    request->change = INTEREST_REMOVE;
    broker_post(broker, key.home, (struct parcel){.kind = PARCEL_INTEREST, .pointer = request});
}

void interest_on_request(struct broker *broker, const struct parcel *parcel)
{
    struct interest_request *request = parcel->pointer;
    request->done = apply(broker, &request->key, request->shard, request->change);
    if (request->change == INTEREST_REMOVE) {
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
