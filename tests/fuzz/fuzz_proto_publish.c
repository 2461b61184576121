/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The first byte holds the flags and the direction, the others are the body, in each version. */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice body = slice_of(data + 1, size - 1);
    bool         from_server = (data[0] & 0x10) != 0;

    for (int version = MQTT_VERSION_31; version <= MQTT_VERSION_5; version++)
        (void)oracle_publish((enum mqtt_version)version, data[0] & 0xf, body, from_server);
    return 0;
}
