/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/sharing.h"

#include "core/broker/share.h"
#include "core/broker/state.h"
#include "proto/topic.h"

#include <assert.h>
#include <stdlib.h>

/* Join and leave, on their way to the group's home and (join) back. */
struct share_request {
    struct list            link_of_joins; /* at the home, while its filter is announced */
    struct share_member    member;        /* leave: shard and session alone */
    struct handle          group;         /* the answer: its tag */
    struct subscribe_wait *wait;
    uint32_t               entry;
    bool                   done;
    uint16_t               name_size;
    char                   name[];
};

enum share_deliver_flag {
    SHARE_DELIVER_ANYWAY = 1, /* nobody of the group is connected: queue it */
    SHARE_RETURN_GONE = 2,    /* there is no such member: whatever became of its leave */
};

static uint64_t pack_handle(struct handle handle)
{
    return (uint64_t)handle.generation << 32 | handle.slot;
}

static struct handle unpack_handle(uint64_t word)
{
    return (struct handle){.slot = (uint32_t)word, .generation = (uint32_t)(word >> 32)};
}

static struct share_subscription **find_share(struct share_subscription **list, struct slice name)
{
    while (*list != NULL && !slice_equal(slice_of((*list)->name, (*list)->name_size), name))
        list = &(*list)->next;
    return list;
}

bool sharing_has(const struct session *session, struct slice name)
{
    for (const struct share_subscription *at = session_shares(session); at != NULL; at = at->next)
        if (slice_equal(slice_of(at->name, at->name_size), name))
            return true;
    return false;
}

/* ---- at the group's home ---- */

static struct sharing_group *group_at_home(const struct broker *broker, struct handle tag)
{
    return pool_get(broker->share_groups, tag);
}

static void trim_group(struct broker *broker, struct sharing_group *home)
{
    struct filter_node *node = home->node;
    if (share_group_size(home->group) > 0)
        return;
    struct handle tag = share_group_tag(home->group);
    share_group_remove(&node->shares, home->group);
    pool_give(broker->share_groups, tag);
    subscribing_trim_node(broker, node);
}

/* The group of a whole name, made when missing; NULL: no room. `*created`: the node is new. */
static struct sharing_group *need_group(struct broker *broker, struct slice name, bool *created)
{
    bool         valid = false;
    struct slice group_name;
    struct slice filter;
    bool         shared = topic_share_split(name, &valid, &group_name, &filter);
    assert(shared && valid);
    (void)shared;

    struct filter_node *node = topic_index_insert(broker->index, filter, created);
    if (node == NULL)
        return NULL;
    struct share_group *group = share_group_find(node->shares, group_name);
    if (group != NULL)
        return group_at_home(broker, share_group_tag(group));

    struct handle         tag;
    struct sharing_group *home = pool_take(broker->share_groups, &tag);
    if (home == NULL)
        goto trim_node;
    home->node = node;
    home->group = share_group_insert(&node->shares, group_name);
    if (home->group == NULL)
        goto give_back;
    share_group_set_tag(home->group, tag);
    return home;

give_back:
    pool_give(broker->share_groups, tag);
trim_node:
    if (*created)
        topic_index_remove(broker->index, node);
    *created = false;
    return NULL;
}

static void on_join_answered(struct broker *broker, struct share_request *request);

/* Takes the answer to the member's shard, which may be this one. */
static void answer_join(struct broker *broker, struct share_request *request)
{
    if (request->member.shard == broker->shard)
        on_join_answered(broker, request);
    else
        broker_post(broker, request->member.shard,
                    (struct parcel){.kind = PARCEL_SHARE_DONE, .pointer = request});
}

static void leave_at_home(struct broker *broker, const struct share_request *request);

static void on_filter_announced(struct broker *broker, void *context, uint32_t entry, bool done)
{
    (void)entry;
    struct share_request *request = context;
    list_remove(&request->link_of_joins);
    request->done = done;
    if (!done)
        leave_at_home(broker, request);
    answer_join(broker, request);
}

static void join_at_home(struct broker *broker, struct share_request *request)
{
    bool                  created = false;
    bool                  is_new = false;
    struct slice          name = slice_of(request->name, request->name_size);
    struct sharing_group *home = need_group(broker, name, &created);
    if (home == NULL) {
        answer_join(broker, request);
        return;
    }
    request->group = share_group_tag(home->group);
    list_append(&broker->share_joins, &request->link_of_joins);
    /* Counted before the join, so that trimming the group again takes it back. */
    bool joined = share_group_join(home->group, &request->member, &is_new);
    if (!joined) {
        if (!created ||
            interest_announce(broker, home->node, true, on_filter_announced, request, 0)) {
            list_remove(&request->link_of_joins);
            answer_join(broker, request);
        }
        trim_group(broker, home);
        return;
    }
    if (interest_announce(broker, home->node, created, on_filter_announced, request, 0)) {
        list_remove(&request->link_of_joins);
        request->done = true;
        answer_join(broker, request);
    }
}

static void leave_at_home(struct broker *broker, const struct share_request *request)
{
    bool         valid = false;
    struct slice group_name;
    struct slice filter;
    topic_share_split(slice_of(request->name, request->name_size), &valid, &group_name, &filter);
    struct filter_node *node = topic_index_find(broker->index, filter);
    struct share_group *group = node != NULL ? share_group_find(node->shares, group_name) : NULL;
    if (group == NULL)
        return;
    share_group_leave(group, request->member.shard, request->member.session);
    trim_group(broker, group_at_home(broker, share_group_tag(group)));
}

/* Messages come before the answer to a join does, and may have to go back. */
static void learn_group(struct share_subscription *share, struct handle tag)
{
    if (share->group.generation == 0)
        share->group = tag;
}

static void give_to_member(struct broker *broker, struct fanout *fanout,
                           const struct share_group *group, struct share_member *member)
{
    uint8_t qos = member->qos < fanout->qos ? member->qos : fanout->qos;
    if (qos > 0 && broker->options->shared.strategy == OPTIONS_SHARED_LEAST_INFLIGHT)
        member->inflight++;

    if (member->shard == broker->shard) {
        struct session *session = session_get(broker, member->session);
        assert(session != NULL); /* a session leaves its groups before it goes */
        struct share_subscription *share = session_share(session, member->number);
        if (share != NULL)
            learn_group(share, share_group_tag(group));
        bool retain = fanout->retain && (member->flags & SUBSCRIBER_RETAIN_AS_PUBLISHED) != 0;
        fanout_to_session(broker, fanout, session, qos, retain, &member->subscription_id,
                          member->subscription_id != 0, member->number);
        return;
    }

    struct message *message = fanout_message(broker, fanout);
    if (message == NULL) {
        broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
        return;
    }
    broker_post(broker, member->shard,
                (struct parcel){
                    .kind = PARCEL_SHARE_DELIVER,
                    .flags = member->online ? 0 : SHARE_DELIVER_ANYWAY,
                    .number = member->number,
                    .pointer = message_retain(message),
                    .words = {pack_handle(member->session), pack_handle(share_group_tag(group))},
                });
    fanout->accepted++;
}

static struct share_choice choice_for(const struct broker *broker, const struct fanout *fanout)
{
    return (struct share_choice){
        .strategy = (enum share_strategy)broker->options->shared.strategy,
        .publisher_shard = fanout->publisher_shard,
        .publisher = fanout->publisher,
        .topic_hash = broker->options->shared.strategy == OPTIONS_SHARED_HASH_TOPIC
                          ? name_hash(broker->secret, fanout->topic)
                          : 0,
    };
}

void sharing_deliver(struct broker *broker, struct fanout *fanout, struct filter_node *node)
{
    struct share_choice choice = choice_for(broker, fanout);
    for (struct share_group *group = node->shares->first; group != NULL;
         group = share_group_next(group)) {
        struct share_member *member = share_group_pick(group, &choice);
        if (member != NULL)
            give_to_member(broker, fanout, group, member);
    }
}

/* A member could not take it: somebody else of the group does. */
static void give_to_another(struct broker *broker, struct fanout *fanout, struct handle tag,
                            uint16_t shard, struct handle session)
{
    const struct sharing_group *home = group_at_home(broker, tag);
    struct share_choice         choice = choice_for(broker, fanout);
    choice.exclude = true;
    choice.exclude_shard = shard;
    choice.exclude_session = session;
    struct share_member *member = home != NULL ? share_group_pick(home->group, &choice) : NULL;
    if (member == NULL) {
        broker->statistics.drops[DROP_SHARE_NOBODY]++;
        return;
    }
    broker->statistics.share_redelivered++;
    give_to_member(broker, fanout, home->group, member);
}

static struct share_member *member_at_home(const struct broker *broker, uint16_t shard,
                                           struct handle tag, struct handle session)
{
    const struct sharing_group *home = group_at_home(broker, tag);
    return home != NULL ? share_group_member(home->group, shard, session) : NULL;
}

/* A member whose leave never came (its shard had no memory for it) must not be picked again. */
static void forget_member(struct broker *broker, const struct parcel *parcel, struct handle tag,
                          struct handle session)
{
    const struct share_member *member = member_at_home(broker, parcel->from, tag, session);
    if (member == NULL || member->number != parcel->number)
        return;
    struct sharing_group *home = group_at_home(broker, tag);
    share_group_leave(home->group, parcel->from, session);
    trim_group(broker, home);
}

static void set_presence(const struct broker *broker, uint16_t shard, struct handle tag,
                         struct handle session, bool online)
{
    struct share_member *member = member_at_home(broker, shard, tag, session);
    if (member != NULL)
        member->online = online;
}

static void set_settled(const struct broker *broker, uint16_t shard, struct handle tag,
                        struct handle session)
{
    struct share_member *member = member_at_home(broker, shard, tag, session);
    if (member != NULL && member->inflight > 0)
        member->inflight--;
}

/* ---- at the member's shard ---- */

static struct share_request *request_create(const struct broker  *broker,
                                            const struct session *session, struct slice name)
{
    struct share_request *request = calloc(1, sizeof(*request) + name.size);
    if (request == NULL)
        return NULL;
    list_init(&request->link_of_joins);
    request->member.shard = broker->shard;
    request->member.session = pool_handle_of(session);
    request->name_size = (uint16_t)name.size;
    memcpy(request->name, name.data, name.size);
    return request;
}

/* The session's own record of the subscription, made when missing. */
static struct share_subscription *need_share(struct broker *broker, struct session *session,
                                             const struct sharing_member *member)
{
    struct session_extra *extra = session_extra_need(session);
    if (extra == NULL)
        return NULL;
    struct share_subscription **at = find_share(&extra->shares, member->name);
    if (*at == NULL) {
        struct share_subscription *share = calloc(1, sizeof(*share) + member->name.size);
        if (share == NULL)
            return NULL;
        share->number = ++extra->share_number_last;
        share->home = broker_home(broker, name_hash(broker->secret, member->name));
        share->name_size = (uint16_t)member->name.size;
        memcpy(share->name, member->name.data, member->name.size);
        *at = share;
        extra->share_count++;
        broker->statistics.subscriptions++;
        broker->statistics.shared_subscriptions++;
    }
    struct share_subscription *share = *at;
    share->subscription_id = member->subscription_id;
    share->qos = member->qos;
    share->flags = member->flags;
    return share;
}

bool sharing_join(struct broker *broker, struct session *session,
                  const struct sharing_member *member, struct subscribe_wait *wait, uint32_t entry)
{
    struct share_request *request = request_create(broker, session, member->name);
    if (request == NULL)
        return false;
    struct share_subscription *share = need_share(broker, session, member);
    if (share == NULL) {
        free(request);
        return false;
    }
    share->asked++;
    request->member.client = session->hash;
    request->member.subscription_id = member->subscription_id;
    request->member.qos = member->qos;
    request->member.flags = member->flags;
    request->member.number = share->number;
    request->member.online = session->link != NULL;
    request->wait = wait;
    request->entry = entry;
    if (share->home == broker->shard)
        join_at_home(broker, request);
    else
        broker_post(broker, share->home,
                    (struct parcel){.kind = PARCEL_SHARE_JOIN, .pointer = request});
    return true;
}

static void forget_share(struct broker *broker, struct session *session,
                         struct share_subscription **at)
{
    struct share_subscription *share = *at;
    *at = share->next;
    free(share);
    session->extra->share_count--;
    broker->statistics.subscriptions--;
    broker->statistics.shared_subscriptions--;
}

static void send_presence(struct broker *broker, const struct session *session,
                          const struct share_subscription *share, bool online)
{
    if (!share->joined)
        return; /* not joined yet: the answer will find out */
    if (share->home == broker->shard) {
        set_presence(broker, broker->shard, share->group, pool_handle_of(session), online);
        return;
    }
    broker_post(broker, share->home,
                (struct parcel){
                    .kind = PARCEL_SHARE_PRESENCE,
                    .flags = online,
                    .words = {pack_handle(pool_handle_of(session)), pack_handle(share->group)},
                });
}

static void on_join_answered(struct broker *broker, struct share_request *request)
{
    struct session *session = session_get(broker, request->member.session);
    if (session != NULL && session->extra != NULL) {
        struct share_subscription **at =
            find_share(&session->extra->shares, slice_of(request->name, request->name_size));
        if (*at != NULL && (*at)->number == request->member.number) {
            (*at)->asked--;
            if (request->done) {
                (*at)->group = request->group;
                (*at)->joined = true;
                send_presence(broker, session, *at, session->link != NULL);
            } else if (!(*at)->joined && (*at)->asked == 0) {
                forget_share(broker, session, at);
            }
        }
    }
    subscribing_answered(broker, request->wait, request->entry,
                         request->done ? MQTT_SUCCESS : MQTT_QUOTA_EXCEEDED);
    free(request);
}

static void leave(struct broker *broker, const struct session *session,
                  const struct share_subscription *share)
{
    struct share_request *request =
        request_create(broker, session, slice_of(share->name, share->name_size));
    if (request == NULL)
        return; /* the home keeps a member that returns everything: nothing is lost */
    if (share->home == broker->shard) {
        leave_at_home(broker, request);
        free(request);
        return;
    }
    broker_post(broker, share->home,
                (struct parcel){.kind = PARCEL_SHARE_LEAVE, .pointer = request});
}

void sharing_presence(struct broker *broker, struct session *session, bool online)
{
    for (const struct share_subscription *at = session_shares(session); at != NULL; at = at->next)
        send_presence(broker, session, at, online);
}

void sharing_settled(struct broker *broker, const struct session *session,
                     const struct share_subscription *share)
{
    if (broker->options->shared.strategy != OPTIONS_SHARED_LEAST_INFLIGHT)
        return;
    if (share->home == broker->shard) {
        set_settled(broker, broker->shard, share->group, pool_handle_of(session));
        return;
    }
    broker_post(broker, share->home,
                (struct parcel){
                    .kind = PARCEL_SHARE_SETTLED,
                    .words = {pack_handle(pool_handle_of(session)), pack_handle(share->group)},
                });
}

/* Hands one delivery back to the group; the delivery is let go of. */
static void give_back(struct broker *broker, struct session *session,
                      const struct share_subscription *share, struct delivery *delivery)
{
    struct message *message = message_retain(delivery->message);
    struct handle   group = share->group;
    uint16_t        home = share->home;
    session_let_go(broker, session, delivery);
    if (home == broker->shard) {
        struct fanout fanout = fanout_of_message(message);
        give_to_another(broker, &fanout, group, broker->shard, pool_handle_of(session));
        fanout_end(broker, &fanout);
        message_release(message, broker->outboxes);
        return;
    }
    broker_post(broker, home,
                (struct parcel){
                    .kind = PARCEL_SHARE_RETURN,
                    .pointer = message,
                    .words = {pack_handle(pool_handle_of(session)), pack_handle(group)},
                });
}

/*
 * Takes the shared QoS 1 and 2 deliveries out of the backlog, the others stay in order. `number` is
 * of the one share that is meant; 0: all.
 */
static void give_back_backlog(struct broker *broker, struct session *session, uint32_t number)
{
    struct backlog *old = session->backlog;
    if (old == NULL)
        return;
    struct backlog *kept = backlog_create();
    if (kept == NULL)
        return; /* they wait for the member itself */

    session->backlog = NULL; /* what is given back may come to this very session again */
    while (old->count > 0) {
        struct delivery delivery = backlog_pop(old);
        bool            meant = delivery.share != 0 && (number == 0 || delivery.share == number);
        const struct share_subscription *share =
            meant && delivery.qos > 0 ? session_share(session, delivery.share) : NULL;
        uint64_t size = delivery_size(&delivery);
        if (share == NULL && backlog_push(kept, delivery))
            continue;
        broker->statistics.queued_messages--;
        broker->statistics.queued_bytes -= size;
        if (share != NULL)
            give_back(broker, session, share, &delivery);
        else {
            broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
            session_let_go(broker, session, &delivery);
        }
    }
    backlog_destroy(old, broker->outboxes);

    /* Behind what stayed: what came back because nobody else is there. */
    struct backlog *again = session->backlog;
    session->backlog = kept;
    while (again != NULL && again->count > 0) {
        struct delivery delivery = backlog_pop(again);
        if (!backlog_push(kept, delivery)) {
            broker->statistics.queued_messages--;
            broker->statistics.queued_bytes -= delivery_size(&delivery);
            broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
            session_let_go(broker, session, &delivery);
        }
    }
    if (again != NULL)
        backlog_destroy(again, broker->outboxes);
    if (kept->count == 0) {
        backlog_destroy(kept, broker->outboxes);
        session->backlog = NULL;
    }
}

void sharing_give_back_unsent(struct broker *broker, struct session *session)
{
    if (session_shares(session) != NULL)
        give_back_backlog(broker, session, 0);
}

bool sharing_leave(struct broker *broker, struct session *session, struct slice name)
{
    if (session_shares(session) == NULL)
        return false;
    struct share_subscription **at = find_share(&session->extra->shares, name);
    if (*at == NULL)
        return false;
    leave(broker, session, *at);
    give_back_backlog(broker, session, (*at)->number); /* others stay, this session may end */
    forget_share(broker, session, at);
    return true;
}

/*
 * What was sent at QoS 1 goes to another member; what was sent at QoS 2 may have arrived, so it
 * goes to nobody else [MQTT-4.8.2-5].
 */
static void give_back_flight(struct broker *broker, struct session *session)
{
    struct flight *flight = session->flight;
    for (uint32_t at = 0; flight != NULL && at < flight->capacity; at++) {
        struct flight_entry *entry = &flight->entries[at];
        if (entry->state != FLIGHT_AWAITS_PUBACK || entry->delivery.share == 0)
            continue;
        const struct share_subscription *share = session_share(session, entry->delivery.share);
        if (share == NULL)
            continue;
        struct delivery delivery = entry->delivery;
        flight_leave(flight, entry);
        broker->statistics.inflight_messages--;
        give_back(broker, session, share, &delivery);
    }
}

void sharing_leave_all(struct broker *broker, struct session *session)
{
    if (session_shares(session) == NULL)
        return;
    for (const struct share_subscription *at = session_shares(session); at != NULL; at = at->next)
        leave(broker, session, at);
    give_back_backlog(broker, session, 0);
    give_back_flight(broker, session);
    while (session->extra->shares != NULL)
        forget_share(broker, session, &session->extra->shares);
}

static void on_deliver(struct broker *broker, const struct parcel *parcel)
{
    struct fanout              fanout = fanout_of_parcel(parcel);
    struct session            *session = session_get(broker, unpack_handle(parcel->words[0]));
    struct share_subscription *share =
        session != NULL ? session_share(session, parcel->number) : NULL;
    bool absent =
        share == NULL || (session->link == NULL && (parcel->flags & SHARE_DELIVER_ANYWAY) == 0);

    if (share != NULL)
        learn_group(share, unpack_handle(parcel->words[1]));
    if (absent) {
        struct message *message = fanout_message(broker, &fanout);
        if (message != NULL)
            broker_post(broker, parcel->from,
                        (struct parcel){
                            .kind = PARCEL_SHARE_RETURN,
                            .flags = share == NULL ? SHARE_RETURN_GONE : 0,
                            .number = parcel->number,
                            .pointer = message_retain(message),
                            .words = {parcel->words[0], parcel->words[1]},
                        });
        else
            broker->statistics.drops[DROP_OUT_OF_MEMORY]++;
    } else {
        uint8_t qos = share->qos < fanout.qos ? share->qos : fanout.qos;
        bool    retain = fanout.retain && (share->flags & SUBSCRIBER_RETAIN_AS_PUBLISHED) != 0;
        fanout_to_session(broker, &fanout, session, qos, retain, &share->subscription_id,
                          share->subscription_id != 0, share->number);
    }
    fanout_end(broker, &fanout);
}

void sharing_on_parcel(struct broker *broker, const struct parcel *parcel)
{
    struct handle session = unpack_handle(parcel->words[0]);
    struct handle group = unpack_handle(parcel->words[1]);

    switch (parcel->kind) {
    case PARCEL_SHARE_JOIN:
        join_at_home(broker, parcel->pointer);
        break;
    case PARCEL_SHARE_LEAVE:
        leave_at_home(broker, parcel->pointer);
        free(parcel->pointer);
        break;
    case PARCEL_SHARE_DONE:
        on_join_answered(broker, parcel->pointer);
        break;
    case PARCEL_SHARE_DELIVER:
        on_deliver(broker, parcel);
        break;
    case PARCEL_SHARE_RETURN: {
        struct fanout fanout = fanout_of_parcel(parcel);
        if ((parcel->flags & SHARE_RETURN_GONE) != 0)
            forget_member(broker, parcel, group, session);
        give_to_another(broker, &fanout, group, parcel->from, session);
        fanout_end(broker, &fanout);
        break;
    }
    case PARCEL_SHARE_SETTLED:
        set_settled(broker, parcel->from, group, session);
        break;
    default:
        assert(parcel->kind == PARCEL_SHARE_PRESENCE);
        set_presence(broker, parcel->from, group, session, parcel->flags != 0);
        break;
    }
}

void sharing_fini(struct broker *broker)
{
    if (broker->share_groups == NULL)
        return; /* a broker that could not be made */
    while (!list_empty(&broker->share_joins)) {
        struct share_request *request =
            container_of(list_first(&broker->share_joins), struct share_request, link_of_joins);
        list_remove(&request->link_of_joins);
        free(request);
    }
    /* Members on other shards cannot say any more that they leave. */
    for (uint32_t slot = 0; slot < pool_slots_used(broker->share_groups); slot++) {
        struct sharing_group *home = pool_at(broker->share_groups, slot);
        if (home != NULL)
            share_groups_destroy(&home->node->shares);
    }
}

void sharing_parcel_drop(struct parcel *parcel)
{
    free(parcel->pointer);
}
