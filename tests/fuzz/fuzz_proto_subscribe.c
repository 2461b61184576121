/* SPDX-License-Identifier: GPL-3.0-or-later */

/* SUBSCRIBE and UNSUBSCRIBE, and their answers: flags in the first byte, then the body. */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice body = slice_of(data + 1, size - 1);
    uint8_t      flags = data[0] & 0xf;

    for (int number = MQTT_VERSION_31; number <= MQTT_VERSION_5; number++) {
        enum mqtt_version version = (enum mqtt_version)number;
        (void)oracle_subscribe(version, flags, body);
        (void)oracle_unsubscribe(version, flags, body);
        (void)oracle_suback(version, PACKET_SUBACK, flags, body);
        (void)oracle_suback(version, PACKET_UNSUBACK, flags, body);
    }
    return 0;
}
