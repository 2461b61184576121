/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Topic aliases of one connection and direction (MQTT-3.3.2.3.4): alias -> topic for what comes in,
 * topic -> alias for what goes out. A table of as many topics as were agreed on; a few, so the way
 * out is a walk over hashes.
 */

#include "proto/bytes.h"

struct topic_aliases;

struct topic_aliases *topic_aliases_create(uint16_t alias_max); /* NULL: out of memory */
void                  topic_aliases_destroy(struct topic_aliases *aliases); /* NULL allowed */

/* Gives `alias` (1 to alias_max) a topic, in place of the one it had. False: out of memory. */
bool topic_aliases_set(struct topic_aliases *aliases, uint16_t alias, struct slice topic);

/* The topic of an alias; empty where it has none. A view until the alias is set again. */
struct slice topic_aliases_topic(const struct topic_aliases *aliases, uint16_t alias);

/*
 * The alias to send `topic` with, or 0 when all are taken. `*known`: the receiver has it already,
 * so that the topic itself may be left out.
 */
uint16_t topic_aliases_assign(struct topic_aliases *aliases, struct slice topic, bool *known);
