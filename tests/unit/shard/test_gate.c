/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shard/gate.h"

#include <criterion/criterion.h>

Test(gate, refuses_above_the_most_connections_until_one_leaves)
{
    struct gate gate;
    gate_init(&gate, &(struct options_limits){.connections_max = 2,
                                              .unauthenticated_connections_max = 100});

    cr_assert_eq(gate_enter(&gate, 0), MQTT_SUCCESS);
    cr_assert_eq(gate_enter(&gate, 0), MQTT_SUCCESS);
    cr_assert_eq(gate_enter(&gate, 0), MQTT_QUOTA_EXCEEDED);
    gate_leave(&gate);
    gate_leave(&gate);

    cr_assert_eq(gate_enter(&gate, 0), MQTT_SUCCESS);
}

Test(gate, refuses_when_too_many_have_not_authenticated)
{
    struct gate gate;
    gate_init(&gate, &(struct options_limits){.unauthenticated_connections_max = 2});

    gate_greeting(&gate, 0, 2);
    cr_assert_eq(gate_enter(&gate, 0), MQTT_SERVER_BUSY);
    gate_greeting(&gate, 2, 1);

    cr_assert_eq(gate_enter(&gate, 0), MQTT_SUCCESS);
}

Test(gate, counts_new_connections_by_the_second)
{
    struct gate gate;
    gate_init(&gate, &(struct options_limits){.connection_rate_max = 3,
                                              .unauthenticated_connections_max = 100});

    for (int i = 0; i < 3; i++)
        cr_assert_eq(gate_enter(&gate, 5000), MQTT_SUCCESS);
    cr_assert_eq(gate_enter(&gate, 5999), MQTT_CONNECTION_RATE_EXCEEDED);
    cr_assert_eq(gate_enter(&gate, 6000), MQTT_SUCCESS);

    cr_assert_eq(gate_enter(&gate, 5999), MQTT_SUCCESS, "a sibling's clock may be a turn behind");
}
