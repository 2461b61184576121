# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive maximum, maximum packet size and topic aliases, both ways."""
import pytest

import mqtt


@pytest.mark.thread
@pytest.mark.parametrize("qos", [1, 2])
def test_the_clients_receive_maximum_is_obeyed(broker, qos):
    client = broker.connect("client", auto_ack=False, props={"receive_maximum": 2})
    client.subscribe("a", qos=qos)
    other = broker.connect("other")
    for number in range(6):
        other.publish("a", b"%d" % number, qos=qos)
    waiting = client.messages(2)
    for number in range(2, 6):
        client.quiet(0.2)  # [MQTT-3.3.4-9]
        packet_id = waiting.pop(0).packet_id
        if qos == 1:
            client.send(mqtt.ack(mqtt.PUBACK, packet_id))
        else:
            client.send(mqtt.ack(mqtt.PUBREC, packet_id))
            client.expect(mqtt.PUBREL)
            client.quiet(0.2)  # PUBREC does not free the place, PUBCOMP does
            client.send(mqtt.ack(mqtt.PUBCOMP, packet_id))
        waiting.append(client.message())
        assert waiting[-1].payload == b"%d" % number


def test_everything_but_messages_flows_when_the_receive_maximum_is_used_up(broker):
    client = broker.connect("client", auto_ack=False, props={"receive_maximum": 1})
    client.subscribe("a", qos=1)
    other = broker.connect("other")
    for payload, qos in ((b"1", 1), (b"2", 1), (b"0", 0)):
        other.publish("a", payload, qos)
    found = [client.message()]
    client.ping()  # [MQTT-4.9.0-3]; messages of QoS 0 may flow or wait
    client.subscribe("b")
    assert client.publish("c", b"x", 2) in (0, 0x10)
    while len(found) < 3:
        if found[-1].qos:
            client.send(mqtt.ack(mqtt.PUBACK, found[-1].packet_id))
        found.append(client.message())
    assert {one.payload for one in found} == {b"0", b"1", b"2"}


def test_311_clients_have_the_operators_limit_in_flight(start):
    broker = start(limits_inflight_max=3)
    client = broker.connect("client", 4, auto_ack=False)
    client.subscribe("a", qos=1)
    other = broker.connect("other")
    for number in range(5):
        other.publish("a", b"%d" % number, qos=1)
    found = client.messages(3)
    client.quiet()
    client.send(mqtt.ack(mqtt.PUBACK, found[0].packet_id))
    assert client.message().payload == b"3"


def test_the_brokers_receive_maximum_is_enforced(start):
    broker = start(protocol_receive_maximum=2)
    client = broker.connect("client")
    assert client.connack.props["receive_maximum"] == 2
    client.send(b"".join(mqtt.publish("a", b"x", 2, False, False, number)
                         for number in (1, 2, 3)))
    assert client.closed() == 0x93  # [MQTT-3.3.4-7]


def test_a_resent_message_does_not_count_twice(start):
    broker = start(protocol_receive_maximum=1)
    client = broker.connect("client")
    for dup in (False, True):
        client.send(mqtt.publish("a", b"x", 2, False, dup, 1))
        client.expect(mqtt.PUBREC)
    client.send(mqtt.ack(mqtt.PUBREL, 1))
    client.expect(mqtt.PUBCOMP)
    for number in range(1, 20):
        assert client.publish("a", b"x", qos=1 + number % 2) in (0, 0x10)


def test_a_message_too_large_for_its_receiver_is_not_sent(broker):
    client = broker.connect("client", props={"maximum_packet_size": 100})
    client.subscribe("a", qos=1)
    other = broker.connect("other")
    other.publish("a", b"x" * 200, qos=1)
    other.publish("a", b"x" * 200, qos=0)
    other.publish("a", b"small", qos=1)
    assert client.message().payload == b"small"  # [MQTT-3.1.2-25]
    client.quiet()
    client.ping()


def test_the_maximum_packet_size_is_exact(broker):
    client = broker.connect("client", props={"maximum_packet_size": 100})
    client.subscribe("a")
    other = broker.connect("other")
    overhead = len(mqtt.publish("a", b""))
    other.publish("a", b"x" * (101 - overhead))
    other.publish("a", b"y" * (100 - overhead))
    assert client.message().payload == b"y" * (100 - overhead)


def test_user_properties_make_a_message_too_large(broker):
    client = broker.connect("client", props={"maximum_packet_size": 100})
    client.subscribe("a")
    other = broker.connect("other")
    other.publish("a", b"x", props={"user_property": [("name", "value" * 30)]})
    other.publish("a", b"fits")
    assert client.message().payload == b"fits"


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_packet_too_large_for_the_broker_is_refused(start, version):
    broker = start(limits_packet_size_max="1KiB")
    overhead = len(mqtt.publish("a", b"x" * 200, version=version)) - 200
    client = broker.connect("client", version)
    client.subscribe("a")
    client.publish("a", b"x" * (1024 - overhead))
    assert len(client.message().payload) == 1024 - overhead
    client.send(mqtt.publish("a", b"x" * (1025 - overhead), version=version))
    assert client.closed() == (0x95 if version == 5 else None)


def test_a_packet_too_large_is_refused_by_its_length_alone(start):
    broker = start(limits_packet_size_max="1KiB")
    client = broker.connect("client")
    client.send(b"\x30" + mqtt.variable(100000000))
    assert client.closed() == 0x95


def test_an_alias_stands_for_its_topic(broker):
    client = broker.connect("client")
    client.subscribe("#")
    other = broker.connect("other")
    assert other.connack.props["topic_alias_maximum"] >= 2
    other.publish("first/topic", b"1", props={"topic_alias": 1})
    other.publish("second/topic", b"2", props={"topic_alias": 2})
    other.publish("", b"3", props={"topic_alias": 1})
    other.publish("", b"4", qos=1, props={"topic_alias": 2})
    other.publish("third/topic", b"5", props={"topic_alias": 1})
    other.publish("", b"6", qos=2, props={"topic_alias": 1})
    found = sorted((one.payload, one.topic) for one in client.messages(6))
    assert found == [(b"1", "first/topic"), (b"2", "second/topic"), (b"3", "first/topic"),
                     (b"4", "second/topic"), (b"5", "third/topic"), (b"6", "third/topic")]


@pytest.mark.parametrize("alias", [0, 0xFFFF])
def test_an_alias_out_of_range_is_refused(start, alias):
    client = start(protocol_topic_alias_max=5).connect("client")
    client.send(mqtt.publish("a", b"x", props={"topic_alias": alias}))
    assert client.closed() == 0x94  # [MQTT-3.3.2-8], [MQTT-3.3.2-9]


def test_an_alias_that_was_not_set_is_refused(broker):
    client = broker.connect("client")
    client.send(mqtt.publish("", b"x", props={"topic_alias": 1}))
    assert client.closed() in (0x82, 0x94)


def test_aliases_end_with_the_connection(broker):
    broker.connect("client", props={"session_expiry": 100}).publish(
        "a", b"x", props={"topic_alias": 1})
    broker.clients[-1].leave()
    client = broker.connect("client", clean=False)
    client.send(mqtt.publish("", b"x", props={"topic_alias": 1}))
    assert client.closed() in (0x82, 0x94)  # [MQTT-3.3.2-7]


def test_neither_topic_nor_alias_is_refused(broker):
    client = broker.connect("client")
    client.send(mqtt.publish("", b"x"))
    assert client.closed() in (0x82, 0x90)


def test_the_broker_uses_the_aliases_of_its_client(broker):
    client = broker.connect("client", props={"topic_alias_maximum": 2})
    client.subscribe("#")
    other = broker.connect("other")
    names = {}
    used = 0
    sent = []
    for number in range(60):
        sent.append(f"some/long/topic/{number % 4}")
        other.publish(sent[-1], b"%d" % number)
    found = {}
    for one in client.messages(60):
        alias = one.props.get("topic_alias")
        if alias is not None:
            assert 1 <= alias <= 2  # [MQTT-3.1.2-26]
            if one.topic:
                names[alias] = one.topic
            else:
                used += 1
                one.topic = names[alias]
        assert one.topic
        found[int(one.payload)] = one.topic
    assert [found[number] for number in range(60)] == sent
    assert used > 0


def test_without_an_alias_maximum_no_alias_is_sent(broker):
    client = broker.connect("client")
    client.subscribe("#")
    other = broker.connect("other")
    for _ in range(20):
        other.publish("some/topic", b"x", props={"topic_alias": 1})
    for found in client.messages(20):  # [MQTT-3.1.2-27]
        assert found.topic == "some/topic" and "topic_alias" not in found.props
