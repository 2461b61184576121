/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/simulation/simulation.h"

static uint32_t pick(struct random *random, const uint32_t *choices, uint32_t count)
{
    return choices[random_below(random, count)];
}

#define PICK(random, ...)                           \
    pick((random), (const uint32_t[]){__VA_ARGS__}, \
         sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void act_connect(struct simulation *simulation, struct client *client)
{
    struct random        *random = &simulation->random;
    bool                  is_5 = client->version == MQTT_VERSION_5;
    struct client_connect connect = {
        .clean = random_once_in(random, 4) || client->version == MQTT_VERSION_31,
        .keep_alive_s = (uint16_t)PICK(random, 0, 0, 10, 60, 300),
        .session_expiry_s = is_5 ? PICK(random, 0, 5, 60, 3600, MQTT_SESSION_NEVER_EXPIRES) : 0,
        .packet_size_max = is_5
                               ? PICK(random, MQTT_PACKET_SIZE_MAX, MQTT_PACKET_SIZE_MAX, 700, 3000)
                               : MQTT_PACKET_SIZE_MAX,
        .receive_maximum = (uint16_t)(is_5 ? PICK(random, 1, 2, 5, 20, UINT16_MAX) : UINT16_MAX),
        .topic_alias_max = (uint16_t)(is_5 ? PICK(random, 0, 0, 2, CLIENT_ALIASES_MAX) : 0),
        .has_will = random_once_in(random, 3),
        .will_qos = (uint8_t)random_below(random, 3),
        .will_retain = random_once_in(random, 5),
        .will_delay_s = is_5 ? PICK(random, 0, 0, 3, 100) : 0,
    };

    client_connect(client, (uint16_t)random_below(random, cluster_shard_count(simulation->cluster)),
                   &connect);
}

static void act_publish(struct simulation *simulation, struct client *client)
{
    struct random *random = &simulation->random;
    struct model  *model = &simulation->model;
    uint8_t        topic;

    do {
        topic = (uint8_t)random_below(random, model->topic_count);
    } while (model->topics[topic].kind == TOPIC_WILL);
    bool                  retained = model->topics[topic].kind == TOPIC_RETAINED;
    struct client_publish publish = {
        .topic = topic,
        .qos = (uint8_t)random_below(random, 3),
        .retain = retained && !random_once_in(random, 4),
        .has_expiry = random_once_in(random, 8),
        .expiry_s = PICK(random, 1, 10, 100, 10000),
        .payload_size = PAYLOAD_SIZE_MIN + random_below(random, 60),
    };

    publish.clears = publish.retain && random_once_in(random, 4);
    if (random_once_in(random, 60))
        publish.payload_size = random_between(random, 1000, 20000);
    for (uint32_t burst = random_once_in(random, 8) ? random_between(random, 2, 12) : 1; burst > 0;
         burst--) {
        if (client_may_publish(client, publish.qos))
            client_publish(client, &publish);
    }
}

static void act_subscribe(struct simulation *simulation, struct client *client)
{
    struct random           *random = &simulation->random;
    struct model            *model = &simulation->model;
    bool                     is_5 = client->version == MQTT_VERSION_5;
    uint8_t                  names[CLIENT_FILTERS_MAX];
    struct subscribe_options options[CLIENT_FILTERS_MAX];
    uint32_t                 count = 0;
    uint32_t                 wanted = client->shares ? 1 : random_between(random, 1, 3);
    uint32_t id = is_5 && random_once_in(random, 2) ? random_between(random, 1, 400) : 0;

    while (count < wanted) {
        uint8_t name = client->share_filter;
        bool    again = false;
        while (!client->shares && (name = (uint8_t)random_below(random, model->filter_count),
                                   model->filters[name].shared))
            continue;
        for (uint32_t index = 0; index < count; index++)
            again |= names[index] == name;
        if (again)
            continue;
        options[count] = (struct subscribe_options){
            .qos = (uint8_t)random_below(random, 3),
            .retain_handling = (uint8_t)(is_5 ? random_below(random, 3) : 0),
            .no_local = is_5 && !client->shares && random_once_in(random, 5),
            .retain_as_published = is_5 && random_once_in(random, 3),
        };
        if (client->shares)
            options[count].qos =
                model->filters[name].takes_qos0 ? 0 : (uint8_t)random_between(random, 1, 2);
        names[count++] = name;
    }
    client_subscribe(client, names, options, count, id);
}

static void act_unsubscribe(struct simulation *simulation, struct client *client)
{
    struct random *random = &simulation->random;
    uint8_t        names[CLIENT_FILTERS_MAX];
    uint32_t       count = 0;

    for (uint32_t filter = 0; filter < simulation->model.filter_count; filter++) {
        bool has = simulation->model.subscribers[client->index].latest[filter] >= 0;
        if (count < 2 && (has ? random_once_in(random, 3) : random_once_in(random, 200)))
            names[count++] = (uint8_t)filter;
    }
    if (count > 0)
        client_unsubscribe(client, names, count);
}

static void act_leave(struct simulation *simulation, struct client *client)
{
    struct random *random = &simulation->random;

    switch (random_below(random, 5)) {
    case 0:
        client_lose(client, LOSS_CUT);
        return;
    case 1:
        client_lose(client, LOSS_CLOSED);
        return;
    case 2:
        client_lose(client, LOSS_ABANDONED);
        act_connect(simulation, client);
        return;
    default:
        break;
    }
    bool changes = client->version == MQTT_VERSION_5 && client->known_expiry_s > 0 &&
                   random_once_in(random, 3);
    client_disconnect(client, random_once_in(random, 4), changes, PICK(random, 0, 20, 4000));
}

void script_act(struct simulation *simulation, struct client *client)
{
    struct random *random = &simulation->random;

    if (client->wire == NULL) {
        if (client_may_connect(client) && random_once_in(random, 4))
            act_connect(simulation, client);
        return;
    }
    if (!client->connected) {
        if (client_may_lose(client) && random_once_in(random, 60))
            client_lose(client, (enum client_loss)random_below(random, 3));
        return;
    }
    if (client->connect.keep_alive_s > 0 &&
        *client->now_ms - client->heard_ms > client->connect.keep_alive_s * UINT64_C(500))
        client_ping(client);

    uint32_t dice = random_below(random, 100);
    if (dice < 40)
        act_publish(simulation, client);
    else if (dice < 47 && client_may_subscribe(client))
        act_subscribe(simulation, client);
    else if (dice < 50 && client_may_subscribe(client))
        act_unsubscribe(simulation, client);
    else if (dice < 94)
        client_answer(client, random_between(random, 1, 8));
    else if (dice < 97)
        client_ping(client);
    else if (random_once_in(random, 2))
        act_leave(simulation, client);
}
