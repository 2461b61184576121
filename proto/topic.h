/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Topic names, topic filters, shared subscriptions (MQTT-4.7, MQTT-4.8). No recursion anywhere. */

#include "proto/bytes.h"

#define TOPIC_SIZE_MAX 65535U

/* A non-empty topic name without wildcards and NUL. UTF-8 is the decoder's affair. */
bool topic_name_valid(struct slice topic);

/* A non-empty topic filter: `#` only as the last level, `+` only as a whole level. */
bool topic_filter_valid(struct slice filter);

bool topic_filter_has_wildcard(struct slice filter);

/* Levels of a name or filter: the number of '/' and one. */
uint32_t topic_levels(struct slice topic);

/*
 * True for `$share/…`. Then `valid` says whether it is well formed (MQTT-4.8.2-1, -2: a group of at
 * least one character, without '+', '#', '/', then a valid filter), and group and filter are views.
 */
bool topic_share_split(struct slice whole, bool *valid, struct slice *group, struct slice *filter);

/*
 * The plain matcher, level by level, with the rule for `$` (MQTT-4.7.2-1) and `a/#` matching `a`.
 * The truth that the index is tested against, and good for a handful of filters.
 */
bool topic_matches(struct slice filter, struct slice topic);
