/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/bytes.h"

#define VARIABLE_BYTES_MAX 4U

uint32_t read_variable(struct reader *reader)
{
    uint32_t value = 0;

    for (uint32_t index = 0; index < VARIABLE_BYTES_MAX; index++) {
        uint8_t byte = read_u8(reader);
        value |= (uint32_t)(byte & 0x7f) << (7 * index);
        if ((byte & 0x80) != 0)
            continue;
        if (byte == 0 && index > 0)
            break; /* [MQTT-1.5.5-1] not the shortest form */
        return reader->failed ? 0 : value;
    }
    reader->failed = true;
    return 0;
}
