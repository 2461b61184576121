/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Reason strings (MQTT-3.1.2-29, MQTT-3.2.2-19 and their like): for people who read a trace. */

#include "proto/bytes.h"
#include "proto/mqtt.h"

/* A short English sentence for a failure; empty for successes. Static. */
struct slice reason_text(enum mqtt_reason reason);
