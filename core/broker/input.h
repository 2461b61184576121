/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * From bytes to handlers: which packet may come when is a table, what it does is a handler's
 * affair, and a handler's answer is the reason to disconnect with.
 */

#include "core/broker/broker.h"
#include "core/broker/link.h"

struct input_result input_take(struct broker *broker, struct link *link, struct slice bytes);
