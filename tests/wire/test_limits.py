# SPDX-License-Identifier: GPL-3.0-or-later
"""Every limit answers with its reason code, and disturbs nobody else."""
import time

import pytest

import mqtt
from test_session import kept


def test_a_topic_too_long_is_refused(start):
    broker = start(limits_topic_size_max="20B")
    client = broker.connect("client")
    assert client.publish("a" * 20, b"x", qos=1) in (0, 0x10)
    assert client.subscribe("a" * 21).reasons[0] in (0x8F, 0x97)
    client.send(mqtt.publish("a" * 21, b"x", 1, False, False, 9))
    answer = client.expect(mqtt.PUBACK, mqtt.DISCONNECT)
    assert answer.reason in (0x90, 0x97)


@pytest.mark.parametrize("levels", [200, 201, 30000])
def test_topics_have_two_hundred_levels(broker, levels):
    name = "/" * (levels - 1)
    client = broker.connect("client")
    answer = client.subscribe(name)
    publisher = broker.connect("publisher")
    if levels == 200:
        assert answer.reasons == [0]
        publisher.publish(name, b"x")
        assert client.message().payload == b"x"
        client.subscribe("+/" * 199 + "+")
        client.subscribe("a/" * 199 + "#")
        publisher.publish(name, b"y")
        assert client.message().payload == b"y"
    else:
        assert answer.reasons[0] in (0x8F, 0x97)
        publisher.send(mqtt.publish(name, b"x", 1, False, False, 9))
        assert publisher.expect(mqtt.PUBACK, mqtt.DISCONNECT).reason in (0x90, 0x97)


def test_subscriptions_of_a_client_are_counted(start):
    broker = start(limits_subscriptions_per_client_max=3)
    client = broker.connect("client")
    assert client.subscribe("a", "b", "c", "d").reasons == [0, 0, 0, 0x97]
    assert client.subscribe("a", qos=1).reasons == [1]  # replacing is not adding
    client.unsubscribe("b")
    assert client.subscribe("d").reasons == [0]
    assert broker.connect("other").subscribe("a").reasons == [0]


def test_filters_of_a_packet_are_counted(start):
    broker = start(limits_filters_per_packet_max=3)
    client = broker.connect("client")
    assert client.subscribe("a", "b", "c").reasons == [0, 0, 0]
    client.send(mqtt.subscribe(9, [(name, 0) for name in "abcd"]))
    answer = client.expect(mqtt.SUBACK, mqtt.DISCONNECT)
    assert 0x97 in (getattr(answer, "reasons", None) or [answer.reason])


def test_user_properties_are_counted(start):
    broker = start(limits_user_properties_max=3)
    client = broker.connect("client")
    client.subscribe("a")
    client.publish("a", b"x", props={"user_property": [("a", "b")] * 3})
    assert len(client.message().props["user_property"]) == 3
    client.send(mqtt.publish("a", b"x", 1, False, False, 9,
                             {"user_property": [("a", "b")] * 4}))
    answer = client.expect(mqtt.PUBACK, mqtt.DISCONNECT)
    assert answer.reason in (0x97, 0x95, 0x82, 0x93)


def test_filter_shapes_of_a_client_are_counted(start):
    broker = start(limits_filter_shapes_per_client_max=4)
    client = broker.connect("client")
    codes = client.subscribe("+", "+/a", "a/+", "+/+", "+/a/+", "a/+/+").reasons
    assert codes[:3] == [0, 0, 0] and codes[-1] == 0x97, codes
    assert client.subscribe("b/+").reasons == [0]


def test_connections_are_counted(start):
    broker = start(limits_connections_max=5)
    time.sleep(0.3)
    clients = [broker.connect(f"client-{number}") for number in range(5)]
    with broker.open() as late:
        assert late.connect("late").reason == 0x97
        late.closed()
    for client in clients:
        client.ping()
    with clients[0] as leaving:
        leaving.leave()
    deadline = time.monotonic() + mqtt.PATIENCE_S
    while True:
        with broker.open() as again:
            if again.connect("again").reason == 0:
                break
        assert time.monotonic() < deadline, "the place was not freed"
        time.sleep(0.1)


def test_connections_without_connect_are_counted(start):
    broker = start(limits_unauthenticated_connections_max=5)
    time.sleep(0.3)
    known = broker.connect("known")
    silent = [broker.open() for _ in range(30)]
    time.sleep(0.3)
    refused = 0
    for number in range(10):
        client = broker.open()
        try:
            refused += client.connect(f"client-{number}").reason == 0x89
        except mqtt.Closed:
            refused += 1
    assert refused >= 5
    known.ping()
    for client in silent:
        client.close()
    time.sleep(0.5)
    broker.connect("later").ping()


def test_the_rate_of_connections_is_limited(start):
    broker = start(limits_connection_rate_max=10)
    time.sleep(2)
    refused = 0
    for number in range(60):
        client = broker.open()
        try:
            refused += client.connect(f"client-{number}").reason in (0x9F, 0x97, 0x89)
        except mqtt.Closed:
            refused += 1
    assert refused >= 10
    time.sleep(2)
    broker.connect("later").ping()


def queued(broker, count=12, qos=lambda number: 1, size=1):
    """Publishes to a client that is away; what it gets when it comes back."""
    client = kept(broker, "client")
    client.subscribe("a", qos=2)
    client.leave()
    other = broker.connect("other")
    codes = [other.publish("a", b"%d" % number + b" " * (size - 1), qos(number))
             for number in range(count)]
    other.ping()
    client = kept(broker, "client")
    found = []
    while one := client.receive(0.5):
        found.append(int(one.payload))
    return found, codes


def test_a_full_queue_refuses_the_new(start):
    broker = start(limits_queue_messages_max=5)
    found, codes = queued(broker)
    assert found == [0, 1, 2, 3, 4]
    if broker.shards == 1:
        assert [code for code in codes if code >= 0x80] == [0x97] * 7


def test_a_full_queue_drops_the_oldest(start):
    found, codes = queued(start(limits_queue_messages_max=5,
                                limits_queue_policy="drop_oldest"))
    assert found == [7, 8, 9, 10, 11] and max(codes) < 0x80


def test_a_full_queue_drops_qos_0_first(start):
    broker = start(limits_queue_messages_max=5, limits_queue_policy="drop_qos0_first",
                   limits_queue_qos0_offline=True)
    found, _ = queued(broker, 8, lambda number: number % 2)
    assert found == [1, 3, 5, 6, 7] or found == [1, 3, 4, 5, 7], found


def test_a_full_queue_is_measured_in_bytes(start):
    found, _ = queued(start(limits_queue_bytes_max="20KiB", limits_packet_size_max="2KiB"), 40, size=1024)
    assert 5 <= len(found) <= 20 and found == list(range(len(found)))


def test_drops_are_counted(start):
    broker = start(limits_queue_messages_max=5, sys_interval="200ms")
    queued(broker)
    watcher = broker.connect("watcher")
    watcher.subscribe("$SYS/broker/publish/messages/dropped")
    deadline = time.monotonic() + mqtt.PATIENCE_S
    while int(watcher.message().payload) < 7:
        assert time.monotonic() < deadline
