/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * SUBSCRIBE and UNSUBSCRIBE (MQTT-3.8, MQTT-3.10), and telling the filter's home that this shard is
 * interested. A SUBACK goes out when every filter's home has answered, so a message published after
 * it finds its way from any shard.
 *
 *   on_subscribe -> entries -> interest_announce --INTEREST--> home
 *                              subscribe_answered <--INTEREST_DONE-- home  -> SUBACK -> retained
 */

#include "core/broker/link.h"
#include "core/broker/session.h"
#include "proto/frame.h"

/* One SUBSCRIBE whose answers are not all in. Lives until the last one is. */
struct subscribe_wait;

enum mqtt_reason subscribing_on_subscribe(struct broker *broker, struct link *link,
                                          const struct frame *frame);
enum mqtt_reason subscribing_on_unsubscribe(struct broker *broker, struct link *link,
                                            const struct frame *frame);

/* Answer for entry `entry` of a SUBSCRIBE: MQTT_SUCCESS leaves the granted QoS as it is. */
void subscribing_answered(struct broker *broker, struct subscribe_wait *wait, uint32_t entry,
                          enum mqtt_reason reason);

/* The broker ends: what still waits for an answer goes. */
void subscribing_fini(struct broker *broker);

/* All plain subscriptions of a session that ends. */
void subscribing_remove_all(struct broker *broker, struct session *session);

/* The node lost a subscriber or a share group: when nobody is left it goes, with its interest. */
void subscribing_trim_node(struct broker *broker, struct filter_node *node);

/*
 * Says to the filter's home that this shard has the filter (its node was made), or has it no longer
 * (its node goes). With more than one shard only. announce: true when nothing needs to be asked;
 * else `then` is told what the home answered. A filter that is not new here is announced again all
 * the same: its first announcement may still be on its way.
 */
struct interest_request;
typedef void (*interest_then)(struct broker *broker, void *context, uint32_t entry, bool done);
bool interest_announce(struct broker *broker, const struct filter_node *node, bool is_new,
                       interest_then then, void *context, uint32_t entry);
void interest_withdraw(struct broker *broker, const struct filter_node *node);

void interest_on_request(struct broker *broker, const struct parcel *parcel); /* at the home */
void interest_on_done(struct broker *broker, const struct parcel *parcel);    /* back again */
void interest_request_drop(struct parcel *parcel);
