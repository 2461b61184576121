/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * `$SYS`, published: each shard sends a copy of its statistics to shard 0 once an interval; shard 0
 * puts them together and publishes what changed, retained, at QoS 0.
 */

#include "core/broker/parcel.h"

#include <stdbool.h>

struct broker;

bool sys_publisher_open(struct broker *broker); /* false: out of memory */
void sys_publisher_close(struct broker *broker);
void sys_publisher_on_statistics(struct broker *broker, const struct parcel *parcel);
