/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * Clients that do not keep the rules. Nothing is owed to them, and nothing they do may disturb the
 * others; what they certainly did wrong must close their connection.
 */

#include "proto/mqtt.h"
#include "tests/simulation/cluster.h"

#define MISFIT_WIRES_MAX 6U

enum misfit_kind {
    MISFIT_GARBAGE,   /* noise instead of a CONNECT */
    MISFIT_VIOLATOR,  /* connects, then breaks a rule */
    MISFIT_SILENT,    /* subscribes to everything and never reads */
    MISFIT_NEVER_ACK, /* reads, but acknowledges nothing */
    MISFIT_FLOOD,     /* publishes without end and without reading */
    MISFIT_STORM,     /* many connections of one client id */
    MISFIT_KIND_COUNT,
};

struct misfit {
    enum misfit_kind  kind;
    enum mqtt_version version;
    char              id[24];
    struct wire      *wires[MISFIT_WIRES_MAX];
    bool              doomed[MISFIT_WIRES_MAX]; /* the broker has to close it */
};

/* `jam`: a flood then is one. */
void misfit_step(struct misfit *misfit, struct cluster *cluster, struct random *random, bool jam);
bool misfit_got_away(const struct misfit *misfit); /* a doomed wire is still open */
void misfit_cut(struct misfit *misfit);            /* ends all its connections */
void misfit_on_restart(struct misfit *misfit);
