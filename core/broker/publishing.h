/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * PUBLISH from a client and the acknowledgements in both directions (MQTT-3.3 to 3.7, MQTT-4.3).
 * Each returns MQTT_SUCCESS, or the reason to disconnect the client with.
 */

#include "core/broker/link.h"
#include "proto/frame.h"

enum mqtt_reason publishing_on_publish(struct broker *broker, struct link *link,
                                       const struct frame *frame);
enum mqtt_reason publishing_on_puback(struct broker *broker, struct link *link,
                                      const struct frame *frame);
enum mqtt_reason publishing_on_pubrec(struct broker *broker, struct link *link,
                                      const struct frame *frame);
enum mqtt_reason publishing_on_pubrel(struct broker *broker, struct link *link,
                                      const struct frame *frame);
enum mqtt_reason publishing_on_pubcomp(struct broker *broker, struct link *link,
                                       const struct frame *frame);
