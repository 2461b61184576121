/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What a shard's broker counts. Written by its shard only; others get copies by parcel. All are
 * totals since the start, but the gauges named so.
 */

#include <stdint.h>

enum drop_cause {
    DROP_QUEUE_FULL,     /* per-client limit of messages or bytes, by policy */
    DROP_QOS0_OFFLINE,   /* QoS 0 for a session without connection */
    DROP_QOS0_CONGESTED, /* QoS 0 for a subscriber that reads too slowly */
    DROP_EXPIRED,        /* message expiry passed while it waited */
    DROP_TOO_LARGE,      /* above the receiver's maximum packet size */
    DROP_SESSION_ENDED,  /* was queued when its session ended */
    DROP_SHARE_NOBODY,   /* the last member of a share group is gone */
    DROP_OUT_OF_MEMORY,
    DROP_CAUSE_COUNT,
};

struct statistics {
    /* gauges */
    uint64_t connections; /* links, greeting ones included */
    uint64_t greeting;    /* of them, CONNECT not yet accepted */
    uint64_t sessions;
    uint64_t sessions_offline;
    uint64_t subscriptions; /* shared ones included */
    uint64_t shared_subscriptions;
    uint64_t retained_messages;
    uint64_t retained_bytes;
    uint64_t queued_messages;
    uint64_t queued_bytes;
    uint64_t inflight_messages;
    uint64_t output_bytes; /* encoded, not yet taken by the kernel */

    /* totals */
    uint64_t connections_accepted;
    uint64_t connections_refused;
    uint64_t connects;
    uint64_t connects_refused;
    uint64_t handovers_out;
    uint64_t handovers_in;
    uint64_t takeovers;
    uint64_t sessions_expired;
    uint64_t keep_alive_timeouts;
    uint64_t protocol_errors;
    uint64_t packets_in;
    uint64_t packets_out;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t publish_in;
    uint64_t publish_out;
    uint64_t publish_bytes_in; /* payloads */
    uint64_t publish_bytes_out;
    uint64_t publish_in_qos[3];
    uint64_t publish_out_qos[3];
    uint64_t publish_refused;
    uint64_t drops[DROP_CAUSE_COUNT];
    uint64_t wills_sent;
    uint64_t share_redelivered;
    uint64_t retained_refused; /* limits of number or bytes; live subscribers got the message */
    uint64_t parcels_in;
    uint64_t parcels_out;
    uint64_t parcels_false_positive; /* publish parcels that found no subscriber here */
    uint64_t outbox_high_water;
    uint64_t reads_paused;
};

/* The name of a cause as `$SYS` and the USR1 print spell it. */
const char *drop_cause_name(enum drop_cause cause);

/* Adds `other` to `sum`, field by field (high-water marks: the larger). */
void statistics_add(struct statistics *sum, const struct statistics *other);
