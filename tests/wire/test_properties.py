# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PUBLISH carries besides its payload, and what is wrong in one."""
import time

import pytest

import mqtt
from test_session import kept

ALL = {"payload_format": 1, "content_type": "text/plain", "response_topic": "answers/here",
       "correlation_data": b"\0\xff",
       "user_property": [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("ä", "ö")]}


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_all_properties_are_passed_on_in_order(broker, qos):
    client = broker.connect("client")
    client.subscribe("a", qos=2)
    broker.connect("other").publish("a", b"x", qos, props=ALL)
    assert client.message().props == ALL  # [MQTT-3.3.2-17], [MQTT-3.3.2-18]


def test_properties_survive_waiting(broker):
    kept(broker, "client").subscribe("a", qos=1)
    broker.clients[-1].leave()
    broker.connect("other").publish("a", b"x", 1, props=ALL)
    assert kept(broker, "client").message().props == ALL


def test_versions_talk_to_each_other(broker):
    old, new = broker.connect("old", 4), broker.connect("new", 5)
    for client in (old, new):
        client.subscribe("a", qos=1)
    new.publish("a", b"from new", 1, props=ALL)
    assert old.message().payload == b"from new"
    assert new.message().props == ALL
    old.publish("a", b"from old", 1)
    assert old.message().payload == b"from old"
    assert new.message().props == {}


def test_request_and_response(broker):
    server = broker.connect("server")
    server.subscribe("service")
    client = broker.connect("client")
    client.subscribe("answers/client")
    client.publish("service", b"question", 1, props={"response_topic": "answers/client",
                                                     "correlation_data": b"42"})
    asked = server.message().props
    server.publish(asked["response_topic"], b"answer", 1,
                   props={"correlation_data": asked["correlation_data"]})
    found = client.message()
    assert (found.payload, found.props["correlation_data"]) == (b"answer", b"42")


def test_the_expiry_of_a_live_message_is_passed_on(broker):
    client = broker.connect("client")
    client.subscribe("a")
    broker.connect("other").publish("a", b"x", props={"message_expiry": 50})
    assert client.message().props["message_expiry"] in (49, 50)


def test_the_expiry_counts_down_while_the_message_waits(broker):
    kept(broker, "client").subscribe("a", qos=1)
    broker.clients[-1].leave()
    broker.connect("other").publish("a", b"x", 1, props={"message_expiry": 50})
    time.sleep(2.1)
    assert 44 <= kept(broker, "client").message().props["message_expiry"] <= 48


def test_the_operator_bounds_the_expiry(start):
    broker = start(limits_message_expiry_max="1s")
    kept(broker, "client").subscribe("a", qos=1)
    broker.clients[-1].leave()
    other = broker.connect("other")
    other.publish("a", b"forever", 1)
    other.publish("a", b"long", 1, props={"message_expiry": 50})
    time.sleep(2.5)
    kept(broker, "client").quiet()


def test_topic_alias_and_subscription_id_are_not_passed_on(broker):
    client = broker.connect("client")
    client.subscribe("a")
    broker.connect("other").publish("a", b"x", props={"topic_alias": 1, "content_type": "t"})
    assert client.message().props == {"content_type": "t"}


WRONG = {
    "subscription id": {"subscription_id": 1}, "payload format 2": {"payload_format": 2},
    "twice": {"content_type": ["a", "b"]}, "expiry twice": {"message_expiry": [1, 1]},
    "foreign": {"session_expiry": 1}, "unknown": b"\x7e\x00", "cut": b"\x26\x00\x01a\x00",
    "wildcard in response topic": {"response_topic": "a/#"},
    "nul in user property": {"user_property": [("a", "\0")]},
    "bad utf-8": {"content_type": b"\xc3\x28"},
    "five byte identifier": b"\x8b\x80\x80\x80\x80\x01\x00",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_properties_are_refused(broker, name):
    watcher = broker.connect("watcher")
    watcher.subscribe("a")
    client = broker.connect("client")
    client.send(mqtt.publish("a", b"x", props=WRONG[name]))
    assert client.closed() in (0x81, 0x82, 0x90)
    watcher.quiet(0.2)


@pytest.mark.parametrize("topic", ["a/#", "a/+", "#", "+", b"a\0", b"\xff", b"\xed\xbf\xbf",
                                   b"\xc0\xaf"])
@pytest.mark.parametrize("version", [3, 4, 5])
def test_wrong_topic_names_are_refused(broker, version, topic):
    watcher = broker.connect("watcher")
    watcher.subscribe("#")
    client = broker.connect("client", version)
    client.send(mqtt.publish(topic, b"x", version=version))
    assert client.closed() in ((0x81, 0x82, 0x90) if version == 5 else (None,))
    watcher.quiet(0.2)


@pytest.mark.parametrize("topic", ["/", "//", " ", "a b", "/a/", "\u00e4", "\U0001F600", "$",
                                   "$a", "a" * 1000, "\ufeffa"])
def test_unusual_topic_names_are_right(broker, topic):
    client = broker.connect("client")
    client.subscribe(topic)
    client.publish(topic, b"x")
    assert client.message().topic == topic


def test_the_payload_is_not_looked_at(broker):
    client = broker.connect("client")
    client.subscribe("a")
    for payload in (b"", b"\0", bytes(range(256)), b"\xff" * 100000):
        client.publish("a", payload)
        assert client.message().payload == payload


def test_the_payload_format_is_checked_when_asked(start):
    broker = start(protocol_check_payload_format=True)
    client = broker.connect("client")
    client.subscribe("a")
    assert client.publish("a", "ä", 1, props={"payload_format": 1}) == 0
    client.message()
    assert client.publish("a", b"\xff", 1) == 0
    client.message()
    client.send(mqtt.publish("a", b"\xff", 1, False, False, 5, {"payload_format": 1}))
    answer = client.expect(mqtt.PUBACK, mqtt.DISCONNECT)
    assert answer.reason == 0x99
    if answer.kind == mqtt.PUBACK:
        client.quiet(0.2)


@pytest.mark.thread
@pytest.mark.parametrize("size", [4095, 4096, 16383, 16384, 65536, 1 << 20, 3 << 20])
def test_large_messages_arrive_whole(broker, size):
    clients = [broker.connect(f"client-{number}") for number in range(3)]
    for client in clients:
        client.subscribe("a", qos=1)
    payload = bytes(number * 7 % 251 for number in range(1000)) * (size // 1000 + 1)
    broker.connect("other").publish("a", payload[:size], 1)
    for client in clients:
        assert client.message().payload == payload[:size]
