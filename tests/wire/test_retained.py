# SPDX-License-Identifier: GPL-3.0-or-later
"""Retained messages: set, replaced, cleared, expired, found by wildcards."""
import time

import pytest

import mqtt


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_set_replaced_and_cleared(broker, version, qos):
    other = broker.connect("other", version)
    watcher = broker.connect("watcher", version)
    watcher.subscribe("a/b", qos=2)
    watcher.quiet(0.1)  # its own look-up of retained messages is over
    for payload in (b"old", b"new"):
        other.publish("a/b", payload, qos, retain=True)
        found = watcher.message()
        assert (found.payload, found.retain, found.qos) == (payload, 0, qos)
    other.ping()
    client = broker.connect("client", version)
    client.subscribe("a/b", qos=1)
    found = client.message()
    assert (found.payload, found.retain, found.qos) == (b"new", 1, min(1, qos))
    client.quiet(0.2)
    other.publish("a/b", b"", qos, retain=True)
    assert watcher.message().payload == b""  # delivered, not kept [MQTT-3.3.1-6], [MQTT-3.3.1-7]
    late = broker.connect("late", version)
    late.subscribe("a/b", qos=1)
    late.quiet()


@pytest.mark.thread
def test_wildcards_find_all_topic_homes(broker):
    other = broker.connect("other")
    for number in range(100):
        other.publish(f"r/{number}/x", b"%d" % number, qos=1, retain=True)
    other.publish("$r/0/x", b"hidden", qos=1, retain=True)
    client = broker.connect("client")
    for name in ("r/+/x", "#", "r/#", "+/+/x"):
        client.subscribe(name, qos=1)
        assert {one.topic for one in client.messages(100)} == \
            {f"r/{number}/x" for number in range(100)}
        client.quiet(0.2)
    client.subscribe("r/7/#")
    assert client.message().payload == b"7"


def test_not_retained_messages_leave_the_retained_one(broker):
    other = broker.connect("other")
    other.publish("a", b"kept", qos=1, retain=True)
    other.publish("a", b"passing", qos=1)
    other.publish("a", b"", qos=1)
    client = broker.connect("client")
    client.subscribe("a")
    assert client.message().payload == b"kept"  # [MQTT-3.3.1-8]


def test_a_retained_message_expires(broker):
    other = broker.connect("other")
    other.publish("a/1", b"short", qos=1, retain=True, props={"message_expiry": 1})
    other.publish("a/2", b"long", qos=1, retain=True, props={"message_expiry": 100})
    time.sleep(2.5)
    client = broker.connect("client")
    client.subscribe("a/#")
    found = client.message()
    assert found.payload == b"long"
    assert 90 <= found.props["message_expiry"] <= 98
    client.quiet(0.2)


def test_a_retained_message_keeps_its_properties(broker):
    props = {"payload_format": 1, "content_type": "text/plain", "response_topic": "r",
             "correlation_data": b"\0\1", "user_property": [("b", "1"), ("a", "2"), ("b", "1")]}
    broker.connect("other").publish("a", b"x", qos=1, retain=True, props=props)
    client = broker.connect("client")
    client.subscribe("a", props={"subscription_id": 5})
    found = client.message()
    assert found.props.pop("subscription_id") == [5]
    assert found.props == props


def test_the_same_retained_message_twice(broker):
    other = broker.connect("other")
    for _ in range(10):
        for qos in (1, 2):
            other.publish("a", b"same", qos, retain=True)
    other.publish("a", b"", 1, retain=True)
    other.publish("a", b"", 1, retain=True)
    client = broker.connect("client")
    client.subscribe("a")
    client.quiet(0.2)


def test_too_many_retained_messages_are_refused(start):
    """The limit is for all shards together; each topic home keeps its part of it."""
    broker = start(limits_retained_messages_max=30)
    other = broker.connect("other")
    for number in range(100):
        other.publish(f"a/{number}", b"x", qos=1, retain=True)
    client = broker.connect("client")
    client.subscribe("a/#")
    found = 0
    while client.receive(0.5):
        found += 1
    assert 20 <= found <= 30
    # A place is free again after clearing.
    for number in range(100):
        other.publish(f"a/{number}", b"", qos=1, retain=True)
    other.publish("b", b"x", qos=1, retain=True)
    late = broker.connect("late")
    late.subscribe("#")
    assert late.message().topic == "b"


def test_too_many_retained_bytes_are_refused(start):
    broker = start(limits_retained_bytes_max="16KiB")
    other = broker.connect("other")
    for number in range(40):
        other.publish(f"a/{number}", b"x" * 1024, qos=1, retain=True)
    client = broker.connect("client")
    client.subscribe("a/#")
    found = 0
    while client.receive(0.5):
        found += 1
    assert 1 <= found <= 16


def test_retaining_can_be_switched_off(start):
    broker = start(protocol_retain_available=False)
    client = broker.connect("client")
    assert client.connack.props["retain_available"] == 0
    client.send(mqtt.publish("a", b"x", retain=True))
    assert client.closed() == 0x9A  # [MQTT-3.2.2-14]


@pytest.mark.thread
def test_many_retained_messages_do_not_stall_others(broker):
    other = broker.connect("other")
    for start in range(0, 5000, 100):
        other.send(b"".join(mqtt.publish(f"many/{number}", b"x" * 50, 1, True, False,
                                         number % 100 + 1)
                            for number in range(start, start + 100)))
        for _ in range(100):
            other.expect(mqtt.PUBACK)
    client = broker.connect("client")
    client.send(mqtt.subscribe(1, [("many/#", 1)]))
    for _ in range(20):
        assert other.ping() < 5
    assert len({one.topic for one in client.messages(5000)}) == 5000


def test_retained_and_live_messages_are_told_apart(broker):
    other = broker.connect("other")
    other.publish("a", b"1", qos=1, retain=True)
    client = broker.connect("client")
    client.subscribe("a")
    assert client.message().retain == 1
    other.publish("a", b"2", qos=1, retain=True)
    assert client.message().retain == 0
