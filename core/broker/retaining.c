/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/retaining.h"

#include "core/broker/state.h"
#include "proto/topic.h"

#include <assert.h>
#include <stdlib.h>

#define RETAIN_BATCH 64U

/* Steps of a walk for each message that a turn may find: filters that match little are paced too.
 */
#define RETAIN_STEPS_A_MESSAGE 16U

#define SWEEP_INTERVAL_MS 1000U
#define SWEEP_STEPS       1000U

/* Sets of so many shards fit into a parcel; with more, nothing is sent after. */
#define SENT_TO_SHARDS_MAX 128U
enum retain_parcel_flag { RETAIN_SENT_TO = 1 };

struct retain_job {
    struct retain_job   *next;
    struct handle        session; /* on `asker` */
    uint16_t             asker;
    uint16_t             home;
    uint8_t              qos;
    bool                 walking; /* `walk` has begun; the home's affair */
    bool                 over;    /* asker: nothing more is wanted */
    uint32_t             subscription_id;
    struct retained_walk walk;
    uint32_t             count;
    struct message      *messages[RETAIN_BATCH]; /* the home's headers, one reference each */
    uint16_t             filter_size;
    uint8_t              filter[];
};

/* ---- storing ---- */

static void store_here(struct broker *broker, struct message *message)
{
    enum retained_outcome outcome = retained_put(broker->retained, message);
    if (outcome != RETAINED_FULL && outcome != RETAINED_OUT_OF_MEMORY)
        return;
    broker->statistics.retained_refused++;
    struct slice topic = message_topic(message);
    effects_log(&broker->effects, LOG_WARNING, "topic %.*s: not retained, %s",
                topic.size < 120 ? (int)topic.size : 120, (const char *)topic.data,
                outcome == RETAINED_FULL ? "limits.retained_messages_max or retained_bytes_max"
                                         : "out of memory");
}

void retaining_store(struct broker *broker, struct fanout *fanout, const struct shard_set *sent_to)
{
    uint16_t        home = broker_home(broker, name_hash(broker->secret, fanout->topic));
    struct message *message = fanout_message(broker, fanout);
    if (message == NULL) {
        broker->statistics.retained_refused++;
        return;
    }
    if (home == broker->shard) {
        store_here(broker, message);
        return;
    }
    broker_post(broker, home,
                (struct parcel){
                    .kind = PARCEL_RETAIN,
                    .flags = broker->shard_count <= SENT_TO_SHARDS_MAX ? RETAIN_SENT_TO : 0,
                    .pointer = message_retain(message),
                    .words = {sent_to->words[0], sent_to->words[1]},
                });
}

/*
 * Who became interested between the publisher's look at the interest table and now: it did not get
 * the message live, and may have asked for retained ones before this one was here.
 */
static void send_after(struct broker *broker, struct fanout *fanout, const struct parcel *parcel)
{
    struct topic_hashes hashes;
    struct shard_set    interested = {0};
    topic_hashes_compute(broker->secret, fanout->topic, &hashes);
    interest_match(broker->interest, &hashes, &interested);
    interested.words[0] &= ~parcel->words[0];
    interested.words[1] &= ~parcel->words[1];
    shard_set_remove(&interested, parcel->from);
    if (shard_set_empty(&interested))
        return;

    for (uint16_t shard = 0; shard < broker->shard_count; shard++) {
        if (!shard_set_has(&interested, shard))
            continue;
        if (shard == broker->shard)
            fanout_local(broker, fanout);
        else if (fanout_message(broker, fanout) != NULL)
            broker_post(broker, shard,
                        (struct parcel){.kind = PARCEL_PUBLISH,
                                        .pointer = message_retain(fanout->message)});
    }
}

static void on_retain(struct broker *broker, const struct parcel *parcel)
{
    struct fanout   fanout = fanout_of_parcel(parcel);
    struct message *message = fanout_message(broker, &fanout);
    if (message != NULL)
        store_here(broker, message);
    else
        broker->statistics.retained_refused++;
    if ((parcel->flags & RETAIN_SENT_TO) != 0)
        send_after(broker, &fanout, parcel);
    fanout_end(broker, &fanout);
}

void retaining_on_sweep(struct alarm *alarm, void *context, uint64_t now_ms)
{
    struct broker *broker = context;
    retained_sweep(broker->retained, now_ms, SWEEP_STEPS);
    timer_wheel_arm(broker->wheel, alarm, now_ms + SWEEP_INTERVAL_MS);
}

/* ---- asking: at the home ---- */

static void job_free(struct retain_job *job)
{
    if (job->walking)
        retained_walk_end(&job->walk);
    free(job);
}

static void job_append(struct broker *broker, struct retain_job *job)
{
    job->next = NULL;
    if (broker->retain_jobs == NULL)
        broker->retain_jobs = job;
    else
        broker->retain_jobs_last->next = job;
    broker->retain_jobs_last = job;
}

static struct retain_job *job_take(struct broker *broker)
{
    struct retain_job *job = broker->retain_jobs;
    if (job != NULL)
        broker->retain_jobs = job->next;
    return job;
}

static void on_found(struct broker *broker, struct retain_job *job);

/* One batch; the job then goes to its asker, to the end of the list, or away. */
static uint32_t job_run(struct broker *broker, struct retain_job *job, uint32_t *steps)
{
    if (!job->walking)
        job->walking = retained_walk_begin(&job->walk, broker->retained,
                                           slice_of(job->filter, job->filter_size));
    while (job->walking && job->count < RETAIN_BATCH) {
        struct message *message = retained_walk_next(&job->walk, broker->now_ms, steps);
        if (message == NULL)
            break;
        job->messages[job->count++] = message_retain(message);
    }
    uint32_t found = job->count;
    if (job->walking && job->walk.done) {
        retained_walk_end(&job->walk);
        job->walking = false;
    }
    job->over = !job->walking;

    if (found == 0 && job->over)
        job_free(job);
    else if (found == 0)
        job_append(broker, job);
    else if (job->asker == broker->shard)
        on_found(broker, job);
    else
        broker_post(broker, job->asker,
                    (struct parcel){.kind = PARCEL_RETAIN_FOUND, .pointer = job});
    return found;
}

bool retaining_turn(struct broker *broker)
{
    uint32_t pace = broker->options->retained.pace;
    uint32_t steps = pace * RETAIN_STEPS_A_MESSAGE;
    while (broker->retain_jobs != NULL && pace > 0 && steps > 0) {
        uint32_t found = job_run(broker, job_take(broker), &steps);
        pace = found < pace ? pace - found : 0;
        steps = steps > 0 ? steps - 1 : 0;
    }
    return broker->retain_jobs != NULL;
}

/* ---- asking: at the asker ---- */

/* The job goes back to its home, for more or to be ended. */
static void job_return(struct broker *broker, struct retain_job *job)
{
    if (job->home != broker->shard)
        broker_post(broker, job->home, (struct parcel){.kind = PARCEL_RETAIN_MORE, .pointer = job});
    else if (job->over)
        job_free(job);
    else
        job_append(broker, job);
}

static void on_found(struct broker *broker, struct retain_job *job)
{
    struct session *session = session_get(broker, job->session);
    for (uint32_t at = 0; at < job->count; at++) {
        struct fanout fanout = job->home == broker->shard
                                   ? fanout_of_message(job->messages[at])
                                   : fanout_of_parcel(&(struct parcel){
                                         .from = job->home, .pointer = job->messages[at]});
        uint8_t       qos = job->qos < fanout.qos ? job->qos : fanout.qos;
        if (session != NULL)
            fanout_to_session(broker, &fanout, session, qos, true, &job->subscription_id,
                              job->subscription_id != 0, 0);
        fanout_end(broker, &fanout);
        if (job->home == broker->shard)
            message_release(job->messages[at], broker->outboxes);
    }
    job->count = 0;

    if (job->over) {
        free(job); /* the home has ended the walk */
        return;
    }
    if (session == NULL) {
        job->over = true;
        job_return(broker, job);
    } else if (session->backlog != NULL && session_extra_need(session) != NULL) {
        job->next = session->extra->retain_waiting; /* until it has drained, or ends */
        session->extra->retain_waiting = job;
    } else {
        job_return(broker, job);
    }
}

void retaining_go_on(struct broker *broker, struct session *session)
{
    struct retain_job *job = session_retain_waiting(session);
    if (job == NULL)
        return;
    session->extra->retain_waiting = NULL;
    session_extra_trim(session);
    while (job != NULL) {
        struct retain_job *next = job->next;
        job_return(broker, job);
        job = next;
    }
}

void retaining_forget_session(struct broker *broker, struct session *session)
{
    for (struct retain_job *job = session_retain_waiting(session); job != NULL; job = job->next)
        job->over = true;
    retaining_go_on(broker, session);
}

static void ask_home(struct broker *broker, const struct retain_ask *ask, uint16_t home)
{
    struct retain_job *job = malloc(sizeof(*job) + ask->filter.size);
    if (job == NULL)
        return; /* the subscription itself stands */
    *job = (struct retain_job){
        .session = ask->session,
        .asker = broker->shard,
        .home = home,
        .qos = ask->qos,
        .subscription_id = ask->subscription_id,
        .filter_size = (uint16_t)ask->filter.size,
    };
    memcpy(job->filter, ask->filter.data, ask->filter.size);
    if (home == broker->shard)
        job_append(broker, job);
    else
        broker_post(broker, home, (struct parcel){.kind = PARCEL_RETAIN_QUERY, .pointer = job});
}

void retaining_ask(struct broker *broker, const struct retain_ask *ask)
{
    if (!topic_filter_has_wildcard(ask->filter)) {
        uint16_t home = broker_home(broker, name_hash(broker->secret, ask->filter));
        if (home != broker->shard || retained_count(broker->retained) > 0)
            ask_home(broker, ask, home);
        return;
    }
    for (uint16_t shard = 0; shard < broker->shard_count; shard++)
        if (shard != broker->shard || retained_count(broker->retained) > 0)
            ask_home(broker, ask, shard);
}

void retaining_on_parcel(struct broker *broker, const struct parcel *parcel)
{
    struct retain_job *job = parcel->pointer;
    switch (parcel->kind) {
    case PARCEL_RETAIN:
        on_retain(broker, parcel);
        break;
    case PARCEL_RETAIN_QUERY:
        job_append(broker, job);
        break;
    case PARCEL_RETAIN_FOUND:
        on_found(broker, job);
        break;
    default:
        assert(parcel->kind == PARCEL_RETAIN_MORE);
        if (job->over)
            job_free(job);
        else
            job_append(broker, job);
        break;
    }
}

/* All shards have stopped: the walk's store may be gone already, its memory is not. */
static void job_drop(struct retain_job *job)
{
    for (uint32_t at = 0; at < job->count; at++)
        message_release_stopped(job->messages[at]);
    if (job->walking)
        retained_walk_forget(&job->walk);
    free(job);
}

void retaining_parcel_drop(struct parcel *parcel)
{
    job_drop(parcel->pointer);
}

void retaining_fini(struct broker *broker)
{
    struct retain_job *job;
    while ((job = job_take(broker)) != NULL)
        job_drop(job);
}
