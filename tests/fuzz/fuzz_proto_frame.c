/* SPDX-License-Identifier: GPL-3.0-or-later */

/* A stream is cut into frames, each decoded as every version, from both directions. */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice stream = slice_of(data, size);
    struct frame frame;

    while (wire_next(&stream, &frame)) {
        assert(frame.size == frame_size(frame.body.size)); /* a length has one form */
        for (int version = MQTT_VERSION_31; version <= MQTT_VERSION_5; version++) {
            (void)oracle_packet((enum mqtt_version)version, &frame, false);
            (void)oracle_packet((enum mqtt_version)version, &frame, true);
        }
    }
    return 0;
}
