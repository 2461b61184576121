# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions: kept, expired, resumed, taken over."""
import threading
import time

import pytest

import mqtt

KEPT = {"session_expiry": 100}


def kept(broker, name, version=5, expiry=100, **more):
    """A connection whose session outlives it, resumed if there was one."""
    props = {"session_expiry": expiry} if version == 5 else None
    return broker.connect(name, version, clean=False, props=props, **more)


@pytest.mark.thread
@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_kept_session_is_present_at_the_next_connect(broker, version):
    first = kept(broker, "client", version)
    assert first.connack.session_present == 0
    first.leave()
    # MQTT 3.1 has no session present bit.
    assert kept(broker, "client", version).connack.session_present == (version > 3)


@pytest.mark.parametrize("version", [4, 5])
def test_a_clean_start_discards_the_session(broker, version):
    first = kept(broker, "client", version)
    first.subscribe("a", qos=1)
    first.leave()
    assert broker.connect("client", version, clean=True).connack.session_present == 0
    broker.connect("other").publish("a", b"x", qos=1)
    assert kept(broker, "client", version).connack.session_present == 0  # [MQTT-3.1.2-4]


def test_without_an_expiry_the_session_ends_with_the_connection(broker):
    broker.connect("client", clean=False).leave()
    assert broker.connect("client", clean=False).connack.session_present == 0


def test_a_clean_start_can_begin_a_kept_session(broker):
    broker.connect("client", clean=True, props=KEPT).leave()
    assert kept(broker, "client").connack.session_present == 1


def test_a_session_expires(broker):
    kept(broker, "client", expiry=1).leave()
    assert kept(broker, "client", expiry=1).connack.session_present == 1
    broker.clients[-1].leave()
    time.sleep(2.5)
    assert kept(broker, "client").connack.session_present == 0


def test_a_session_does_not_expire_while_connected(broker):
    first = kept(broker, "client", expiry=1)
    time.sleep(2.5)
    first.leave()
    assert kept(broker, "client").connack.session_present == 1


def test_a_311_session_expires_when_the_operator_says(start):
    broker = start(protocol_session_expiry_311="1s")
    kept(broker, "client", 4).leave()
    time.sleep(2.5)
    assert kept(broker, "client", 4).connack.session_present == 0


def test_disconnect_changes_the_expiry(broker):
    kept(broker, "shorter").leave(0, {"session_expiry": 0})
    assert kept(broker, "shorter").connack.session_present == 0
    kept(broker, "longer", expiry=1).leave(0, {"session_expiry": 100})
    time.sleep(2.5)
    assert kept(broker, "longer").connack.session_present == 1


def test_disconnect_cannot_keep_a_session_that_was_to_end(broker):
    client = broker.connect("client")
    client.send(mqtt.disconnect(0, {"session_expiry": 10}))
    assert client.closed() == 0x82  # [MQTT-3.14.2-2]


def test_an_expiry_above_the_maximum_is_cut(start):
    broker = start(protocol_session_expiry_max="1s")
    client = kept(broker, "client", expiry=0xFFFFFFFF)
    assert client.connack.props["session_expiry"] == 1
    client.leave()
    time.sleep(2.5)
    assert kept(broker, "client").connack.session_present == 0


@pytest.mark.thread
@pytest.mark.parametrize("version", [3, 4, 5])
def test_messages_wait_for_a_client_that_is_away(broker, version):
    client = kept(broker, "client", version)
    client.subscribe("a/#", qos=2)
    client.leave()
    other = broker.connect("other")
    for number in range(60):
        other.publish(f"a/{number % 7}", b"%d" % number, qos=1 + number % 2)
    client = kept(broker, "client", version)
    found = client.messages(60)
    assert {one.payload for one in found} == {b"%d" % number for number in range(60)}
    for topic in range(7):  # in order, topic by topic
        numbers = [int(one.payload) for one in found if one.topic == f"a/{topic}"]
        assert numbers == sorted(numbers)
    client.quiet()


def test_qos_0_messages_do_not_wait(broker):
    client = kept(broker, "client")
    client.subscribe("a", qos=1)
    client.leave()
    other = broker.connect("other")
    other.publish("a", b"zero")
    other.publish("a", b"one", qos=1)
    assert kept(broker, "client").message().payload == b"one"
    broker.clients[-1].quiet()


def test_qos_0_messages_wait_when_the_operator_says(start):
    broker = start(limits_queue_qos0_offline=True)
    client = kept(broker, "client")
    client.subscribe("a", qos=1)
    client.leave()
    broker.connect("other").publish("a", b"zero")
    assert kept(broker, "client").message().payload == b"zero"


def test_a_message_that_waits_expires(broker):
    client = kept(broker, "client")
    client.subscribe("a", qos=1)
    client.leave()
    other = broker.connect("other")
    other.publish("a", b"short", qos=1, props={"message_expiry": 1})
    other.publish("a", b"long", qos=1, props={"message_expiry": 100})
    time.sleep(2.5)
    found = kept(broker, "client").message()
    assert found.payload == b"long"  # [MQTT-3.3.2-5]
    assert 90 <= found.props["message_expiry"] <= 98  # [MQTT-3.3.2-6]
    broker.clients[-1].quiet()


def test_a_resumed_client_need_not_subscribe_again(broker):
    kept(broker, "client").subscribe("a", "b/+", qos=1)
    broker.clients[-1].close()
    client = kept(broker, "client")
    other = broker.connect("other")
    other.publish("a", b"1")
    other.publish("b/c", b"2")
    assert sorted(client.payloads(2)) == [b"1", b"2"]


@pytest.mark.thread
@pytest.mark.parametrize("old", [3, 4, 5])
@pytest.mark.parametrize("new", [3, 4, 5])
def test_a_second_connection_takes_over(broker, old, new):
    first = kept(broker, "client", old)
    first.subscribe("a", qos=1)
    second = kept(broker, "client", new)
    assert second.connack.session_present == (new > 3)
    assert first.closed() == (0x8E if old == 5 else None)  # [MQTT-3.1.4-3]
    broker.connect("other").publish("a", b"x", qos=1)
    assert second.message().payload == b"x"
    second.ping()


def test_a_clean_connection_takes_over_and_discards(broker):
    first = kept(broker, "client")
    first.subscribe("a", qos=1)
    second = broker.connect("client", clean=True)
    assert second.connack.session_present == 0
    assert first.closed() == 0x8E
    broker.connect("other").publish("a", b"x", qos=1)
    second.quiet()


@pytest.mark.thread
def test_a_session_resumes_from_any_shard(broker):
    """The kernel spreads connections over the listeners: many tries reach every shard."""
    other = broker.connect("other")
    client = kept(broker, "wanderer")
    client.subscribe("a", qos=1)
    for number in range(20):
        client.close()
        other.publish("a", b"%d" % number, qos=1)
        client = kept(broker, "wanderer")
        assert client.connack.session_present == 1
        assert client.message().payload == b"%d" % number
        # The acknowledgement must have arrived before the connection goes.
        client.ping()


@pytest.mark.thread
@pytest.mark.parametrize("version", [4, 5])
def test_a_takeover_storm_leaves_one_connection(broker, version):
    clients = [broker.open(version) for _ in range(40)]
    props = KEPT if version == 5 else None
    barrier = threading.Barrier(8)

    def storm(mine):
        barrier.wait()
        for client in mine:
            client.send(mqtt.connect("wanted", version, False, props=props))

    threads = [threading.Thread(target=storm, args=(clients[part::8],)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    deadline = time.monotonic() + mqtt.PATIENCE_S
    living = list(clients)
    while len(living) > 1:
        assert time.monotonic() < deadline, f"{len(living)} connections of one client live"
        still = []
        for client in living:
            try:
                client.receive(0.02)
                still.append(client)
            except mqtt.Closed:
                pass
        living = still
    living[0].ping()
    assert kept(broker, "wanted", version).connack.session_present == 1


def test_a_takeover_moves_what_is_in_flight(broker):
    first = kept(broker, "client", auto_ack=False)
    first.subscribe("a", qos=1)
    other = broker.connect("other")
    for number in range(10):
        other.publish("a", b"%d" % number, qos=1)
    before = [first.message() for _ in range(10)]
    second = kept(broker, "client")
    after = second.messages(10)
    assert [one.payload for one in after] == [b"%d" % number for number in range(10)]
    assert [one.packet_id for one in after] == [one.packet_id for one in before]
    assert all(one.dup for one in after)  # [MQTT-3.3.1-1]
    second.quiet()


def test_the_longest_client_id_is_taken_or_refused_properly(broker):
    client = broker.open()
    answer = client.connect("x" * 65535)
    assert answer.reason in (0, 0x85)
    broker.connect("y" * 200, 4).ping()
