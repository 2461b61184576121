# SPDX-License-Identifier: GPL-3.0-or-later
"""CONNECT and CONNACK, keep-alive, and what must not happen around them."""
import time

import pytest

import mqtt

VERSIONS = [3, 4, 5]


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("version", VERSIONS)
def test_connects_pings_and_leaves(broker, version):
    client = broker.connect("client", version)
    assert client.connack.session_present == 0
    client.ping()
    assert client.leave() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_takes_packets_byte_by_byte(broker, version):
    client = broker.open(version)
    data = mqtt.connect("slow", version) + \
        mqtt.subscribe(1, [("a/b", 1)], None, version) + \
        mqtt.publish("a/b", b"x" * 300, 1, False, False, 9, None, version) + mqtt.PING
    for byte in data:
        client.send(bytes([byte]))
    client.expect(mqtt.CONNACK)
    assert client.message().payload == b"x" * 300
    assert client.expect(mqtt.PUBACK).packet_id == 9
    client.expect(mqtt.PINGRESP)


@pytest.mark.thread
@pytest.mark.parametrize("version", VERSIONS)
def test_takes_everything_in_one_segment(broker, version):
    client = broker.open(version)
    data = mqtt.connect("hasty", version) + mqtt.subscribe(1, [("a/b", 0)], None, version)
    for number in range(100):
        data += mqtt.publish("a/b", b"%d" % number, version=version)
    client.send(data + mqtt.PING)
    client.expect(mqtt.PINGRESP)
    assert client.payloads(100) == [b"%d" % number for number in range(100)]


def test_assigns_distinct_client_ids(broker):
    names = [broker.connect("").connack.props["assigned_client_id"] for _ in range(20)]
    assert all(names) and len(set(names)) == 20


def test_an_assigned_client_id_can_be_resumed(broker):
    first = broker.connect("", props={"session_expiry": 100})
    name = first.connack.props["assigned_client_id"]
    first.leave()
    assert broker.connect(name, clean=False, props={"session_expiry": 100}).connack.session_present


def test_a_given_client_id_is_not_assigned(broker):
    assert "assigned_client_id" not in broker.connect("mine").connack.props


def test_311_accepts_an_empty_client_id_of_a_clean_session(broker):
    assert broker.connect("", 4).connack.session_present == 0


def test_311_refuses_an_empty_client_id_of_a_kept_session(broker):
    client = broker.open(4)
    assert client.connect("", clean=False).reason == 2  # [MQTT-3.1.3-8]
    client.closed()


def test_31_refuses_an_empty_client_id(broker):
    client = broker.open(3)
    assert client.connect("").reason == 2
    client.closed()


def test_an_empty_client_id_can_be_forbidden(start):
    client = start(protocol_allow_empty_client_id=False).open()
    assert client.connect("").reason == 0x85
    client.closed()


@pytest.mark.parametrize("level", [0, 1, 2, 6, 100, 255])
def test_refuses_an_unknown_protocol_level(broker, level):
    client = broker.open(4)
    client.send(mqtt.packet(mqtt.CONNECT, 0, mqtt.binary("MQTT") + bytes([level, 2, 0, 60]) +
                            mqtt.binary("client")))
    client.socket.settimeout(mqtt.PATIENCE_S)
    answer = b""
    while data := client.socket.recv(100):
        answer += data
    # MQTT 5 allows 0x84, 3.1.1 asks for 1 [MQTT-3.1.2-2]; either way the connection is closed.
    assert answer[:4] in (b"", b"\x20\x02\x00\x01") or answer[3] == 0x84, answer.hex()


@pytest.mark.parametrize("name", ["", "mqtt", "MQTTX", "HTTP", "MQIsdp" * 3])
def test_refuses_an_unknown_protocol_name(broker, name):
    client = broker.open(4)
    client.send(mqtt.packet(mqtt.CONNECT, 0, mqtt.binary(name) + bytes([4, 2, 0, 60]) +
                            mqtt.binary("client")))
    assert client.closed() in (None, 1, 0x84)


def test_a_version_can_be_switched_off(start):
    broker = start(protocol_versions="5")
    broker.connect("new", 5)
    client = broker.open(4)
    assert client.connect("old").reason == 1
    client.closed()


@pytest.mark.parametrize("version", [4, 5])
def test_refuses_the_reserved_connect_flag(broker, version):
    client = broker.open(version)
    client.send(mqtt.connect("client", version, flags=0x03))
    assert client.closed() in (None, 0x81)  # [MQTT-3.1.2-3]


@pytest.mark.parametrize("flags", [0x1E, 0x0A, 0x22], ids=["qos 3", "qos without will",
                                                            "retain without will"])
@pytest.mark.parametrize("version", [4, 5])
def test_refuses_wrong_will_flags(broker, version, flags):
    client = broker.open(version)
    will = mqtt.Will("w", b"x") if flags & 4 else None
    client.send(mqtt.connect("client", version, flags=flags, will=will))
    assert client.closed() in (None, 0x81, 0x82)


def test_311_refuses_a_password_without_user_name(broker):
    client = broker.open(4)
    client.send(mqtt.connect("client", 4, password="secret"))
    client.closed()  # [MQTT-3.1.2-22]


def test_5_takes_a_password_without_user_name(broker):
    broker.connect("client", password="secret").ping()


@pytest.mark.parametrize("version", VERSIONS)
def test_takes_credentials_where_none_are_asked_for(broker, version):
    broker.connect("client", version, username="me", password=b"\x00secret").ping()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_connect_is_a_protocol_error(broker, version):
    client = broker.connect("client", version)
    client.send(mqtt.connect("client", version))
    assert client.closed() == (0x82 if version == 5 else None)  # [MQTT-3.1.0-2]


BEFORE_CONNECT = {
    "publish": mqtt.publish("a", b"x"), "puback": mqtt.ack(mqtt.PUBACK, 1),
    "pubrec": mqtt.ack(mqtt.PUBREC, 1), "pubrel": mqtt.ack(mqtt.PUBREL, 1),
    "pubcomp": mqtt.ack(mqtt.PUBCOMP, 1), "subscribe": mqtt.subscribe(1, [("#", 0)]),
    "unsubscribe": mqtt.unsubscribe(1, ["#"]), "pingreq": mqtt.PING,
    "disconnect": mqtt.disconnect(), "auth": mqtt.auth(0x19), "reserved": b"\x00\x00",
}


@pytest.mark.parametrize("name", BEFORE_CONNECT)
def test_a_packet_before_connect_closes_without_an_answer(broker, name):
    watcher = broker.connect("watcher")
    watcher.subscribe("#")
    client = broker.open()
    client.send(BEFORE_CONNECT[name] + mqtt.connect("late"))
    assert client.closed() in (None, 0x81, 0x82)  # [MQTT-3.1.0-1]
    watcher.quiet()


def test_nothing_sent_is_closed_after_the_connect_timeout(start):
    broker = start(protocol_connect_timeout="500ms")
    started = time.monotonic()
    broker.open().closed()
    assert time.monotonic() - started > 0.4


def test_half_a_connect_is_closed_after_the_connect_timeout(start):
    broker = start(protocol_connect_timeout="500ms")
    client = broker.open()
    whole = mqtt.connect("client")
    for byte in whole[:-1]:
        try:
            client.send(bytes([byte]))
        except mqtt.Closed:
            break
        time.sleep(0.06)
    client.closed()


def test_the_connect_timeout_ends_with_connect(start):
    client = start(protocol_connect_timeout="500ms").connect("client")
    time.sleep(1.5)
    client.ping()


@pytest.mark.parametrize("version", VERSIONS)
def test_keep_alive_ends_a_silent_connection(broker, version):
    started = time.monotonic()
    client = broker.connect("client", version, keep_alive=1)
    assert client.closed(8) == (0x8D if version == 5 else None)
    assert time.monotonic() - started >= 1.45  # one and a half times [MQTT-3.1.2-22]


def test_keep_alive_spares_a_connection_that_pings(broker):
    client = broker.connect("client", keep_alive=1)
    for _ in range(6):
        time.sleep(0.6)
        client.ping()


def test_keep_alive_counts_any_packet(broker):
    client = broker.connect("client", keep_alive=1)
    for _ in range(6):
        time.sleep(0.6)
        client.send(mqtt.publish("a", b"x"))
    client.ping()


def test_keep_alive_zero_never_ends(broker):
    client = broker.connect("client", keep_alive=0)
    time.sleep(3)
    client.ping()


def test_receiving_does_not_keep_alive(broker):
    client = broker.connect("client", keep_alive=1, auto_ack=False)
    client.subscribe("a")
    other = broker.connect("other")
    ended = time.monotonic() + 6
    with pytest.raises(mqtt.Closed):
        while time.monotonic() < ended:
            other.publish("a", b"x")
            if found := client.receive(0.2):
                if found.kind == mqtt.DISCONNECT:
                    assert found.reason == 0x8D
                    raise mqtt.Closed
    other.ping()


@pytest.mark.parametrize("asked", [0, 60])
def test_keep_alive_has_a_maximum(start, asked):
    broker = start(protocol_keep_alive_max="1s")
    client = broker.connect("five", keep_alive=asked)
    assert client.connack.props["server_keep_alive"] == 1
    old = broker.connect("old", 4, keep_alive=asked)
    assert client.closed(8) == 0x8D
    old.closed(8)


def test_connack_says_what_the_broker_can_do(start):
    broker = start(protocol_receive_maximum=7, protocol_topic_alias_max=3,
                   protocol_maximum_qos=1, protocol_retain_available=False,
                   protocol_wildcard_subscriptions=False, protocol_shared_subscriptions=False,
                   protocol_subscription_identifiers=False, limits_packet_size_max="2KiB",
                   protocol_session_expiry_max="10s")
    props = broker.connect("client", props={"session_expiry": 1000}).connack.props
    assert props["receive_maximum"] == 7
    assert props["topic_alias_maximum"] == 3
    assert props["maximum_qos"] == 1
    assert props["retain_available"] == 0
    assert props["wildcard_available"] == 0
    assert props["shared_available"] == 0
    assert props["subscription_ids_available"] == 0
    assert props["maximum_packet_size"] == 2048
    assert props["session_expiry"] == 10


def test_connack_leaves_out_what_is_the_default(broker):
    props = broker.connect("client").connack.props
    for name in ("maximum_qos", "retain_available", "response_information", "server_keep_alive"):
        assert name not in props


def test_response_information_is_given_to_who_asks(start):
    broker = start(protocol_response_information="replies/")
    assert "response_information" not in broker.connect("a").connack.props
    asked = broker.connect("b", props={"request_response_information": 1})
    assert asked.connack.props["response_information"].startswith("replies/")


def test_no_problem_information_to_who_wants_none(broker):
    client = broker.connect("client", props={"request_problem_information": 0})
    answer = client.subscribe("a/#/b")  # [MQTT-3.1.2-29]
    assert "reason_string" not in answer.props and "user_property" not in answer.props


WRONG_CONNECT_PROPERTIES = {
    "receive maximum 0": {"receive_maximum": 0}, "packet size 0": {"maximum_packet_size": 0},
    "twice": {"session_expiry": [1, 2]}, "of a PUBLISH": {"topic_alias": 1},
    "request problem information 2": {"request_problem_information": 2},
    "request response information 2": {"request_response_information": 2},
    "data without method": {"authentication_data": b"x"},
    "unknown": b"\x7f\x00", "cut": b"\x11\x00\x00", "too long": b"\x11\x00\x00\x00\x01\x11",
}


@pytest.mark.parametrize("name", WRONG_CONNECT_PROPERTIES)
def test_refuses_wrong_connect_properties(broker, name):
    client = broker.open()
    client.send(mqtt.connect("client", props=WRONG_CONNECT_PROPERTIES[name]))
    assert client.closed() in (0x81, 0x82)


def test_refuses_an_unknown_authentication_method(broker):
    client = broker.open()
    answer = client.connect("client", props={"authentication_method": "SCRAM-SHA-1",
                                             "authentication_data": b"x"})
    assert answer.reason == 0x8C
    client.closed()


def test_auth_without_a_method_is_a_protocol_error(broker):
    client = broker.connect("client")
    client.send(mqtt.auth(0x19, {"authentication_method": "SCRAM-SHA-1"}))
    assert client.closed() == 0x82  # [MQTT-4.12.0-7]


def test_311_has_no_auth_packet(broker):
    client = broker.connect("client", 4)
    client.send(mqtt.auth(0x19))
    client.closed()


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_taken_after_disconnect(broker, version):
    watcher = broker.connect("watcher")
    watcher.subscribe("a")
    client = broker.connect("client", version)
    client.send(mqtt.disconnect() + mqtt.publish("a", b"late", version=version))
    client.closed()  # [MQTT-3.14.4-1]
    watcher.quiet()


def test_disconnect_with_a_wrong_property_is_refused(broker):
    client = broker.connect("client")
    client.send(mqtt.disconnect(0, {"topic_alias": 1}))
    assert client.closed() in (0x81, 0x82)


@pytest.mark.parametrize("bad", [b"\x00", b"a\x00b", b"\xc0\x80", b"\xed\xa0\x80", b"\xff",
                                 b"\xf4\x90\x80\x80", b"\xe2\x82"])
@pytest.mark.parametrize("version", [4, 5])
def test_refuses_a_client_id_that_is_not_utf_8(broker, version, bad):
    client = broker.open(version)
    client.send(mqtt.connect(bad, version))
    assert client.closed() in (None, 2, 0x81, 0x85)  # [MQTT-1.5.4-1]
