/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK (MQTT-3.8 to 3.11). */

#include "proto/bytes.h"
#include "proto/mqtt.h"

struct subscribe_options {
    uint8_t qos;
    uint8_t retain_handling; /* 0 send, 1 send if new, 2 do not send; 0 before MQTT 5 */
    bool    no_local;
    bool    retain_as_published;
};

struct subscribe_entry {
    struct slice             filter; /* UTF-8 checked; whether it is a valid filter is topic.h's */
    struct subscribe_options options;
};

/* SUBSCRIBE or UNSUBSCRIBE; the entries are read one by one from `entries`. */
struct subscribe {
    uint16_t      packet_id;
    uint32_t      subscription_id; /* 0 none */
    uint32_t      user_property_count;
    uint32_t      entry_count; /* at least one (MQTT-3.8.3-2, MQTT-3.10.3-2) */
    struct slice  properties;
    struct reader entries;
};

/* The whole body is checked, every entry included; so subscribe_next never fails. */
enum mqtt_reason subscribe_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                  struct subscribe *subscribe);
enum mqtt_reason unsubscribe_decode(enum mqtt_version version, uint8_t flags, struct slice body,
                                    struct subscribe *unsubscribe);

/* Takes the next entry; false after the last. */
bool subscribe_next(enum mqtt_version version, struct subscribe *subscribe,
                    struct subscribe_entry *entry);
bool unsubscribe_next(struct subscribe *unsubscribe, struct slice *filter);

uint32_t subscribe_size(enum mqtt_version version, uint32_t subscription_id,
                        const struct subscribe_entry *entries, uint32_t count);
void     subscribe_write(enum mqtt_version version, uint16_t packet_id, uint32_t subscription_id,
                         const struct subscribe_entry *entries, uint32_t count, struct writer *writer);
uint32_t unsubscribe_size(enum mqtt_version version, const struct slice *filters, uint32_t count);
void unsubscribe_write(enum mqtt_version version, uint16_t packet_id, const struct slice *filters,
                       uint32_t count, struct writer *writer);

/* SUBACK and UNSUBACK carry one byte a filter; an UNSUBACK before MQTT 5 carries none. */
struct suback {
    uint16_t       packet_id;
    uint32_t       count;
    const uint8_t *codes;         /* enum mqtt_reason; 0x80 for every failure before MQTT 5 */
    struct slice   reason_string; /* empty: left out */
};

uint32_t suback_size(enum mqtt_version version, enum packet_type type, const struct suback *suback);
void     suback_write(enum mqtt_version version, enum packet_type type, const struct suback *suback,
                      struct writer *writer);
enum mqtt_reason suback_decode(enum mqtt_version version, enum packet_type type, uint8_t flags,
                               struct slice body, struct suback *suback);
