/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Waiting until every shard has passed a turn: then none of them is still reading what was taken
 * out of the interest table before. A parcel to each, a parcel back from each, then the garbage
 * goes.
 */

#include "core/broker/interest.h"
#include "core/broker/parcel.h"

struct broker;
struct fences;

/* Frees `garbage` once all shards have answered; takes ownership. */
void fences_wait(struct broker *broker, struct interest_garbage *garbage);

void fences_on_fence(struct broker *broker, const struct parcel *parcel);
void fences_on_done(struct broker *broker, const struct parcel *parcel);
void fences_fini(struct broker *broker); /* all shards have stopped */
