/* SPDX-License-Identifier: GPL-3.0-or-later */

/* DISCONNECT from both sides, AUTH and the pings: flags in the first byte, then the body. */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice body = slice_of(data + 1, size - 1);
    uint8_t      flags = data[0] & 0xf;

    for (int number = MQTT_VERSION_31; number <= MQTT_VERSION_5; number++) {
        (void)oracle_disconnect((enum mqtt_version)number, flags, body, false);
        (void)oracle_disconnect((enum mqtt_version)number, flags, body, true);
    }
    (void)oracle_auth(flags, body);
    (void)ping_decode(flags, body);
    return 0;
}
