/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * A round trip by the Paho C client: subscribes, publishes one message at each QoS, receives each
 * of them back. Usage: paho_c URI MQTT-VERSION TOPIC. Exit status 0 when every message came back.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <MQTTClient.h>

#define TIMEOUT_MS 10000

static MQTTClient client_open(const char *uri, int version)
{
    MQTTClient               client = NULL;
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    create.MQTTVersion = version;
    if (MQTTClient_createWithOptions(&client, uri, "paho-c", MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                     &create) != MQTTCLIENT_SUCCESS)
        return NULL;

    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions options_5 = MQTTClient_connectOptions_initializer5;
    if (version == MQTTVERSION_5) {
        options_5.keepAliveInterval = 20;
        options_5.cleanstart = 1;
        MQTTResponse response = MQTTClient_connect5(client, &options_5, NULL, NULL);
        int          code = (int)response.reasonCode;
        MQTTResponse_free(response);
        if (code == 0)
            return client;
    } else {
        options.keepAliveInterval = 20;
        options.cleansession = 1;
        options.MQTTVersion = version;
        if (MQTTClient_connect(client, &options) == MQTTCLIENT_SUCCESS)
            return client;
    }
    MQTTClient_destroy(&client);
    return NULL;
}

static int subscribe(MQTTClient client, int version, const char *topic)
{
    if (version != MQTTVERSION_5)
        return MQTTClient_subscribe(client, topic, 2) == MQTTCLIENT_SUCCESS ? 0 : -1;

    MQTTResponse response = MQTTClient_subscribe5(client, topic, 2, NULL, NULL);
    int          granted = (int)response.reasonCode;
    MQTTResponse_free(response);
    return granted == 2 ? 0 : -1;
}

static int publish(MQTTClient client, int version, const char *topic, int qos)
{
    char text[32];
    int  length = snprintf(text, sizeof text, "message %d", qos);

    MQTTClient_message       message = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token = 0;
    message.payload = text;
    message.payloadlen = length;
    message.qos = qos;
    if (version == MQTTVERSION_5) {
        MQTTResponse response = MQTTClient_publishMessage5(client, topic, &message, &token);
        int          code = (int)response.reasonCode;
        MQTTResponse_free(response);
        if (code != MQTTCLIENT_SUCCESS)
            return -1;
    } else if (MQTTClient_publishMessage(client, topic, &message, &token) != MQTTCLIENT_SUCCESS) {
        return -1;
    }
    if (MQTTClient_waitForCompletion(client, token, TIMEOUT_MS) != MQTTCLIENT_SUCCESS)
        return -1;
    return 0;
}

static int expect(MQTTClient client, int qos)
{
    char                topic_wanted[32];
    char               *topic = NULL;
    int                 topic_length = 0;
    MQTTClient_message *message = NULL;

    (void)snprintf(topic_wanted, sizeof topic_wanted, "message %d", qos);
    if (MQTTClient_receive(client, &topic, &topic_length, &message, TIMEOUT_MS) !=
            MQTTCLIENT_SUCCESS ||
        message == NULL)
        return -1;

    int matches = message->qos == qos && (size_t)message->payloadlen == strlen(topic_wanted) &&
                  memcmp(message->payload, topic_wanted, strlen(topic_wanted)) == 0;
    MQTTClient_freeMessage(&message);
    MQTTClient_free(topic);
    return matches ? 0 : -1;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 4) {
        fprintf(stderr, "usage: paho_c URI VERSION TOPIC\n");
        return EXIT_FAILURE;
    }
    int         version = atoi(arguments[2]);
    const char *topic = arguments[3];

    MQTTClient client = client_open(arguments[1], version);
    if (client == NULL) {
        fprintf(stderr, "cannot connect\n");
        return EXIT_FAILURE;
    }
    if (subscribe(client, version, topic) < 0) {
        fprintf(stderr, "cannot subscribe\n");
        return EXIT_FAILURE;
    }
    for (int qos = 0; qos <= 2; qos++) {
        if (publish(client, version, topic, qos) < 0 || expect(client, qos) < 0) {
            fprintf(stderr, "the message at QoS %d did not come back\n", qos);
            return EXIT_FAILURE;
        }
    }

    if (version == MQTTVERSION_5)
        (void)MQTTClient_disconnect5(client, TIMEOUT_MS, MQTTREASONCODE_SUCCESS, NULL);
    else
        (void)MQTTClient_disconnect(client, TIMEOUT_MS);
    MQTTClient_destroy(&client);
    return EXIT_SUCCESS;
}
