/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "core/broker/reason_text.h"

#include "proto/utf8.h"

#include <criterion/criterion.h>

Test(reason_text, successes_need_no_words)
{
    for (unsigned reason = 0; reason < 0x80; reason++)
        cr_assert_eq(reason_text((enum mqtt_reason)reason).size, 0, "0x%02x", reason);
}

Test(reason_text, every_failure_that_the_broker_gives_has_words)
{
    static const enum mqtt_reason given[] = {
        MQTT_MALFORMED_PACKET,
        MQTT_PROTOCOL_ERROR,
        MQTT_UNSUPPORTED_VERSION,
        MQTT_CLIENT_ID_INVALID,
        MQTT_NOT_AUTHORIZED,
        MQTT_SERVER_UNAVAILABLE,
        MQTT_SERVER_BUSY,
        MQTT_SERVER_SHUTTING_DOWN,
        MQTT_BAD_AUTHENTICATION_METHOD,
        MQTT_KEEP_ALIVE_TIMEOUT,
        MQTT_SESSION_TAKEN_OVER,
        MQTT_TOPIC_FILTER_INVALID,
        MQTT_TOPIC_NAME_INVALID,
        MQTT_PACKET_ID_NOT_FOUND,
        MQTT_RECEIVE_MAXIMUM_EXCEEDED,
        MQTT_TOPIC_ALIAS_INVALID,
        MQTT_PACKET_TOO_LARGE,
        MQTT_QUOTA_EXCEEDED,
        MQTT_RETAIN_NOT_SUPPORTED,
        MQTT_PAYLOAD_FORMAT_INVALID,
        MQTT_QOS_NOT_SUPPORTED,
        MQTT_SHARED_NOT_SUPPORTED,
        MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED,
        MQTT_WILDCARDS_NOT_SUPPORTED,
        MQTT_CONNECTION_RATE_EXCEEDED,
    };

    for (size_t at = 0; at < sizeof(given) / sizeof(given[0]); at++)
        cr_assert_gt(reason_text(given[at]).size, 0, "0x%02x", (unsigned)given[at]);
}

/* link.c counts on it: a packet with a reason string stays below 256 bytes. */
Test(reason_text, words_are_short_and_valid_strings)
{
    for (unsigned reason = 0; reason < 256; reason++) {
        struct slice text = reason_text((enum mqtt_reason)reason);
        cr_assert_lt(text.size, 200);
        cr_assert(utf8_printable(text), "0x%02x", reason);
    }
}
