# SPDX-License-Identifier: GPL-3.0-or-later
"""QoS 0, 1 and 2, both ways: handshakes, resending, order, exactly once."""
import pytest

import mqtt
from test_session import kept


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_comes_at_the_lower_of_both_qos(broker, version, granted):
    client = broker.connect("client", version)
    assert client.subscribe("a", qos=granted).reasons == [granted]
    other = broker.connect("other", version)
    for qos in (0, 1, 2):
        assert other.publish("a", b"%d" % qos, qos) == 0
        found = client.message()
        assert (found.payload, found.qos, found.dup) == (b"%d" % qos, min(qos, granted), 0)
    client.ping()


@pytest.mark.parametrize("version", [4, 5])
def test_qos_2_sent_twice_is_delivered_once(broker, version):
    client = broker.connect("client", version)
    client.subscribe("a", qos=2)
    other = broker.connect("other", version)
    for dup in (False, True, True):
        other.send(mqtt.publish("a", b"x", 2, False, dup, 7, version=version))
        assert other.expect(mqtt.PUBREC).packet_id == 7
    for _ in range(2):  # a second PUBREL is answered too
        other.send(mqtt.ack(mqtt.PUBREL, 7))
        assert other.expect(mqtt.PUBCOMP).packet_id == 7
    assert client.message().payload == b"x"
    client.quiet()
    other.send(mqtt.publish("a", b"y", 2, False, False, 7, version=version))
    other.expect(mqtt.PUBREC)
    other.send(mqtt.ack(mqtt.PUBREL, 7))
    assert client.message().payload == b"y"  # the identifier is free again


@pytest.mark.thread
@pytest.mark.parametrize("version", [4, 5])
def test_qos_2_is_delivered_once_across_a_reconnect(broker, version):
    client = broker.connect("client", version)
    client.subscribe("a", qos=2)
    other = kept(broker, "other", version)
    other.send(mqtt.publish("a", b"x", 2, False, False, 7, version=version))
    other.expect(mqtt.PUBREC)
    other.reset()
    other = kept(broker, "other", version)
    other.send(mqtt.publish("a", b"x", 2, False, True, 7, version=version))
    other.expect(mqtt.PUBREC)
    other.close()
    other = kept(broker, "other", version)
    other.send(mqtt.ack(mqtt.PUBREL, 7))
    assert other.expect(mqtt.PUBCOMP).reason == 0
    assert client.message().payload == b"x"
    client.quiet()


def test_pubrel_of_an_unknown_message_is_answered(broker):
    client = broker.connect("client")
    client.send(mqtt.ack(mqtt.PUBREL, 99))
    assert client.expect(mqtt.PUBCOMP).reason == 0x92


def test_pubrec_of_an_unknown_message_is_answered(broker):
    client = broker.connect("client")
    client.send(mqtt.ack(mqtt.PUBREC, 99))
    assert client.expect(mqtt.PUBREL).reason == 0x92


@pytest.mark.parametrize("version", [4, 5])
def test_an_unknown_puback_or_pubcomp_hurts_nobody(broker, version):
    client = broker.connect("client", version)
    client.send(mqtt.ack(mqtt.PUBACK, 99) + mqtt.ack(mqtt.PUBCOMP, 98))
    client.ping()


@pytest.mark.thread
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_unacknowledged_messages_are_resent_in_order(broker, version, qos):
    client = kept(broker, "client", version, auto_ack=False)
    client.subscribe("a", qos=qos)
    other = broker.connect("other")
    for number in range(20):
        other.publish("a", b"%d" % number, qos=qos)
    first = client.messages(20)
    assert [one.payload for one in first] == [b"%d" % number for number in range(20)]
    assert len({one.packet_id for one in first}) == 20
    client.reset()

    client = kept(broker, "client", version)
    again = client.messages(20)
    assert [one.payload for one in again] == [one.payload for one in first]
    assert [one.packet_id for one in again] == [one.packet_id for one in first]
    assert all(one.dup for one in again)  # [MQTT-4.4.0-1], [MQTT-4.6.0-1]
    client.ping()
    client.quiet()
    client.close()
    kept(broker, "client", version).quiet()


def test_only_what_is_unacknowledged_is_resent(broker):
    client = kept(broker, "client", auto_ack=False)
    client.subscribe("a", qos=1)
    other = broker.connect("other")
    for number in range(6):
        other.publish("a", b"%d" % number, qos=1)
    for found in client.messages(6)[::2]:
        client.send(mqtt.ack(mqtt.PUBACK, found.packet_id))
    client.ping()
    client.close()
    client = kept(broker, "client")
    assert client.payloads(3) == [b"1", b"3", b"5"]
    client.quiet()


def test_pubrel_is_resent_instead_of_publish(broker):
    client = kept(broker, "client", auto_ack=False)
    client.subscribe("a", qos=2)
    other = broker.connect("other")
    for number in range(3):
        other.publish("a", b"%d" % number, qos=2)
    first = client.messages(3)
    for found in first[:2]:
        client.send(mqtt.ack(mqtt.PUBREC, found.packet_id))
        assert client.expect(mqtt.PUBREL).packet_id == found.packet_id
    client.reset()

    client = kept(broker, "client", auto_ack=False)
    assert {client.expect(mqtt.PUBREL).packet_id for _ in range(2)} == \
        {found.packet_id for found in first[:2]}
    found = client.message()
    assert (found.payload, found.dup, found.packet_id) == (b"2", 1, first[2].packet_id)
    client.quiet()


def test_a_second_pubrec_gets_a_second_pubrel(broker):
    client = broker.connect("client", auto_ack=False)
    client.subscribe("a", qos=2)
    broker.connect("other").publish("a", b"x", qos=2)
    found = client.message()
    for _ in range(2):
        client.send(mqtt.ack(mqtt.PUBREC, found.packet_id))
        assert client.expect(mqtt.PUBREL).packet_id == found.packet_id
    client.send(mqtt.ack(mqtt.PUBCOMP, found.packet_id))
    client.ping()


def test_a_refusing_pubrec_ends_the_message(broker):
    client = broker.connect("client", auto_ack=False, props={"receive_maximum": 1})
    client.subscribe("a", qos=2)
    other = broker.connect("other")
    other.publish("a", b"1", qos=2)
    other.publish("a", b"2", qos=2)
    client.send(mqtt.ack(mqtt.PUBREC, client.message().packet_id, 0x97))
    assert client.message().payload == b"2"  # no PUBREL came, the quota is free [MQTT-4.9.0-2]
    assert not client.inbox


def test_a_refusing_puback_ends_the_message(broker):
    client = kept(broker, "client", auto_ack=False)
    client.subscribe("a", qos=1)
    broker.connect("other").publish("a", b"1", qos=1)
    client.send(mqtt.ack(mqtt.PUBACK, client.message().packet_id, 0x97))
    client.ping()
    client.close()
    kept(broker, "client").quiet()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_packet_id_zero_is_refused(broker, version, qos):
    client = broker.connect("client", version)
    client.send(mqtt.publish("a", b"x", qos, False, False, 0, version=version))
    assert client.closed() in ((0x81, 0x82) if version == 5 else (None,))  # [MQTT-2.2.1-3]


@pytest.mark.parametrize("version", [4, 5])
def test_qos_3_is_refused(broker, version):
    client = broker.connect("client", version)
    client.send(mqtt.publish("a", b"x", 3, False, False, 1, version=version))
    assert client.closed() == (0x81 if version == 5 else None)  # [MQTT-3.3.1-4]


@pytest.mark.parametrize("version", [4, 5])
def test_a_duplicate_of_qos_0_is_refused(broker, version):
    client = broker.connect("client", version)
    client.send(mqtt.publish("a", b"x", 0, False, True, version=version))
    assert client.closed() in ((0x81, 0x82) if version == 5 else (None,))  # [MQTT-3.3.1-2]


@pytest.mark.thread
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order_is_kept(broker, qos):
    client = broker.connect("client")
    client.subscribe("a", qos=qos)
    other = broker.connect("other", props={"receive_maximum": 65535})
    for start in range(0, 1000, 100):
        other.send(b"".join(
            mqtt.publish("a", b"%d" % number, qos, False, False, number + 1 if qos else None)
            for number in range(start, start + 100)))
        for _ in range(100 if qos else 0):
            answer = other.expect(mqtt.PUBACK if qos == 1 else mqtt.PUBREC)
            if qos == 2:
                other.send(mqtt.ack(mqtt.PUBREL, answer.packet_id))
    assert client.payloads(1000) == [b"%d" % number for number in range(1000)]


def test_acknowledgements_come_in_the_order_of_the_messages(broker):
    client = broker.connect("client")
    client.send(b"".join(mqtt.publish("a", b"x", 1, False, False, number)
                         for number in range(1, 101)))
    assert [client.expect(mqtt.PUBACK).packet_id for _ in range(100)] == list(range(1, 101))
    client.send(b"".join(mqtt.publish("a", b"x", 2, False, False, number)
                         for number in range(1, 101)))
    assert [client.expect(mqtt.PUBREC).packet_id for _ in range(100)] == list(range(1, 101))


def test_both_sides_may_use_the_same_packet_id(broker):
    client = broker.connect("client", auto_ack=False)
    client.subscribe("a", qos=2)
    client.send(mqtt.publish("a", b"1", 2, False, False, 1))
    client.expect(mqtt.PUBREC)
    client.send(mqtt.ack(mqtt.PUBREL, 1))
    client.expect(mqtt.PUBCOMP)
    theirs = client.message().packet_id
    client.send(mqtt.publish("b", b"2", 2, False, False, theirs))  # in flight both ways
    assert client.expect(mqtt.PUBREC).packet_id == theirs
    client.send(mqtt.ack(mqtt.PUBREC, theirs) + mqtt.ack(mqtt.PUBREL, theirs))
    assert {client.receive().kind for _ in range(2)} == {mqtt.PUBREL, mqtt.PUBCOMP}
    client.send(mqtt.ack(mqtt.PUBCOMP, theirs))
    client.ping()


def test_a_maximum_qos_of_the_broker_is_kept(start):
    broker = start(protocol_maximum_qos=1)
    client = broker.connect("client")
    assert client.connack.props["maximum_qos"] == 1
    assert client.subscribe("a", qos=2).reasons == [1]  # [MQTT-3.2.2-10]
    assert client.publish("a", b"x", qos=1) == 0
    assert client.message().qos == 1
    client.send(mqtt.publish("a", b"x", 2, False, False, 1))
    assert client.closed() == 0x9B  # [MQTT-3.2.2-11]


def test_the_four_acknowledgements_take_reason_and_properties(broker):
    client = broker.connect("client", auto_ack=False)
    client.subscribe("a", qos=2)
    other = broker.connect("other")
    explained = {"reason_string": "fine", "user_property": [("a", "b"), ("a", "b")]}
    other.publish("a", b"1", qos=1)
    client.send(mqtt.ack(mqtt.PUBACK, client.message().packet_id, 0, explained))
    other.send(mqtt.publish("a", b"2", 2, False, False, 5))
    other.expect(mqtt.PUBREC)
    other.send(mqtt.ack(mqtt.PUBREL, 5, 0, explained))
    other.expect(mqtt.PUBCOMP)
    found = client.message()
    client.send(mqtt.ack(mqtt.PUBREC, found.packet_id, 0, explained))
    client.expect(mqtt.PUBREL)
    client.send(mqtt.ack(mqtt.PUBCOMP, found.packet_id, 0, explained))
    client.ping()


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP])
@pytest.mark.parametrize("name", ["flags", "short", "packet id 0", "property"])
def test_wrong_acknowledgements_are_refused(broker, kind, name):
    client = broker.connect("client")
    good = 2 if kind == mqtt.PUBREL else 0
    client.send({"flags": mqtt.packet(kind, good ^ 1, mqtt.u16(1)),
                 "short": mqtt.packet(kind, good, b"\x00"),
                 "packet id 0": mqtt.packet(kind, good, mqtt.u16(0)),
                 "property": mqtt.ack(kind, 1, 0, {"topic_alias": 1})}[name])
    assert client.closed() in (0x81, 0x82)
