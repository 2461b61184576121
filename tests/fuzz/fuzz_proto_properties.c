/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * The first byte names the packet, the others are a property block. A block that is accepted must
 * read the same without the checks, be cut at any property and still be accepted, and forward
 * what it says it does.
 */
#include "tests/support/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_forward(struct slice block, uint32_t size_expected)
{
    struct wire   wire = {0};
    struct writer writer = wire_room(&wire, properties_forward_size(block));

    properties_write_forward(block, &writer);
    assert(writer.at == writer.end && wire.size == size_expected);
    /* What is forwarded is forwarded whole a second time. */
    assert(properties_forward_size(wire_view(&wire)) == wire.size);
    wire_fini(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned     packet = data[0] % (PROPERTIES_OF_WILL + 1);
    struct slice block = slice_of(data + 1, size - 1);
    uint32_t     user_count;
    if (properties_check(block, packet, &user_count) != MQTT_SUCCESS)
        return 0;

    struct reader   reader = reader_of(block);
    struct property property;
    uint32_t        users = 0;
    uint32_t        taken = 0;
    uint32_t        forwarded = 0;
    while (properties_next(&reader, &property)) {
        uint32_t prefix_users;

        taken += property.whole.size;
        users += property.id == PROPERTY_USER_PROPERTY;
        forwarded += property_is_forwarded(property.id) ? property.whole.size : 0;
        if (taken < 256)
            assert(properties_check(slice_of(block.data, taken), packet, &prefix_users) ==
                       MQTT_SUCCESS &&
                   prefix_users == users);
    }
    assert(taken == block.size && users == user_count);
    check_forward(block, forwarded);
    return 0;
}
