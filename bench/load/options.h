/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* What the command line asks for, after the defaults of the scenario. */

#include "proto/mqtt.h"

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char       *host;
    enum mqtt_version version;
    uint64_t          messages; /* stop after that many published; 0: run for duration_ns */
    uint64_t          duration_ns;
    uint64_t          warmup_ns;
    uint64_t          stall_ns; /* nothing moved for so long: the run has failed */
    uint32_t          publishers;
    uint32_t          subscribers;
    uint32_t          size;   /* bytes of payload */
    uint32_t          window; /* messages open per publisher; handshakes at once for `connect` */
    uint32_t          rate;   /* messages a second, all publishers together (open loop) */
    uint32_t          count;  /* messages stored or queued */
    uint32_t          gather_us;
    int32_t           pid; /* the broker, 0 when not given */
    uint16_t          port;
    uint8_t           qos;
    bool              json;
};

/*
 * Reads `arguments` (without the program and the scenario) over the defaults in `options`. On a
 * mistake says on stderr what is wrong and returns false.
 */
bool options_parse(struct options *options, int count, char *const *arguments);

/* One line an option, for --help. */
void options_print(void);
