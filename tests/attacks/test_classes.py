# SPDX-License-Identifier: GPL-3.0-or-later
"""The classes behind the rows of test_rows.py, more widely than the single public faults."""
import pytest

import mqtt
from mqtt import Will, packet, u16
from test_rows import forget, kept, together

SAMPLES = {
    "connect": mqtt.connect("sample", props={"user_property": [("a", "b")]},
                            will=Will("w", b"x", props={"will_delay": 1})),
    "publish": mqtt.publish("a/b", b"x" * 30, 2, False, False, 7, {"content_type": "t"}),
    "puback": mqtt.ack(mqtt.PUBACK, 7, 0, {"reason_string": "r"}),
    "pubrel": mqtt.ack(mqtt.PUBREL, 7, 0, {}),
    "subscribe": mqtt.subscribe(7, [("a/+", 1), ("b/#", 2)], {"subscription_id": 300}),
    "unsubscribe": mqtt.unsubscribe(7, ["a/+", "b/#"], {"user_property": [("a", "b")]}),
    "disconnect": mqtt.disconnect(0, {"reason_string": "r"}),
    "auth": mqtt.auth(0x19, {"authentication_method": "m"}),
    "pingreq": mqtt.PING,
}


def throw(site, data, connected=True):
    """Sends and goes away; whatever the broker answers must still be MQTT of that version."""
    client = site.open()
    try:
        if connected:
            client.connect("thrower")
        client.send(data)
        client.socket.shutdown(1)
        client.closed()
    except (mqtt.Closed, OSError):
        pass
    except mqtt.Malformed:
        if connected:  # else the version itself may be what was mangled
            raise
    site.drop(client)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation(site, name):
    data = SAMPLES[name]
    for size in range(1, len(data)):
        throw(site, data[:size], name != "connect")
        if size > 2:  # the same with a length that fits
            throw(site, packet(data[0] >> 4, data[0] & 15, data[2:size]), name != "connect")
    forget(site, "sample", "thrower")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_bit_flipped(site, name):
    data = SAMPLES[name]
    for index in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[index] ^= 1 << bit
            throw(site, bytes(wrong), name != "connect")
    forget(site, "sample", "thrower")
    site.accept_what_is_left()  # a flipped client id may have left a session


@pytest.mark.parametrize("version", [3, 4, 5])
def test_split_at_every_byte(site, version):
    data = mqtt.connect("client", version, will=Will("w", b"x")) + \
        mqtt.subscribe(1, [("split/#", 1)], None, version) + \
        mqtt.publish("split/a", b"x" * 40, 1, False, False, 2, None, version) + mqtt.PING
    for at in range(1, len(data)):
        client = site.open(version=version)
        client.send(data[:at])
        client.send(data[at:])
        client.expect(mqtt.CONNACK)
        assert client.message().payload == b"x" * 40
        client.expect(mqtt.PINGRESP)
        client.send(mqtt.disconnect())
        site.drop(client)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("kind", [0, mqtt.CONNACK, mqtt.SUBACK, mqtt.UNSUBACK, mqtt.PINGRESP])
def test_packets_of_the_wrong_direction(site, version, kind):
    for body in (b"", b"\0\0", b"\0\1\0\0", b"\0" * 100):
        reason = site.send(packet(kind, 0, body), version, True)
        assert reason in ((0x81, 0x82) if version == 5 else (None,))


def test_random_bytes(site):
    for number in range(150):
        size = site.random.randint(1, 400)
        throw(site, site.random.randbytes(size), number % 2 == 0)
    site.accept_what_is_left()


def test_property_floods(site):
    for number in range(0x2B):
        for value in (b"\0", b"\0\0", b"\0\0\0\0", b"\0\0\0\0\0"):
            flood = (bytes([number]) + value) * 2000
            throw(site, mqtt.publish("a", b"x", props=flood))
            throw(site, mqtt.connect("sample", props=flood), False)


def test_takeover_storm_of_kept_sessions(site):
    def storm(part):
        for number in range(40):
            client = site.open()
            try:
                client.send(mqtt.connect("wanted", clean=False, props={"session_expiry": 60},
                                         will=Will("w", b"x", 1, props={"will_delay": number % 2})))
                client.send(mqtt.subscribe(1, [(f"a/{part}/{number % 5}", 2)]))
                client.receive(0.005)
            except mqtt.Closed:
                pass
            if number % 2:
                client.reset()
            site.drop(client)

    together(*[lambda n=n: storm(n) for n in range(5)])
    last = kept(site, "wanted")
    assert last.connack.session_present == 1
    last.leave()
    forget(site, "wanted")


def test_connections_that_never_speak(site):
    clients = [site.open() for _ in range(300)]
    for client in clients:
        client.closed()


def test_slow_readers_do_not_hold_memory(sites):
    site = sites(limits_queue_bytes_max="256KiB", limits_output_buffer_max="128KiB",
                 limits_packet_size_max="256KiB")
    slow = [site.open(receive_buffer=2048) for _ in range(10)]
    for number, client in enumerate(slow):
        client.connect(f"slow-{number}")
        client.subscribe("flood", qos=number % 2)
    sender = site.broker.connect("sender")
    for _ in range(300):
        sender.send(b"".join(mqtt.publish("flood", b"x" * 1000) for _ in range(20)))
        sender.ping()
    assert site.grown_kib() < 96 * 1024


def test_identifier_games(site):
    """Packet identifiers used twice, out of order, for other handshakes."""
    for number in range(30):
        client = site.broker.connect("client", auto_ack=False)
        client.subscribe("game", qos=2)
        try:
            for _ in range(40):
                identifier = site.random.randint(1, 4)
                client.send(site.random.choice([
                    mqtt.publish("game", b"x", 1, False, False, identifier),
                    mqtt.publish("game", b"x", 2, False, False, identifier),
                    mqtt.publish("game", b"x", 2, False, True, identifier),
                    mqtt.ack(mqtt.PUBACK, identifier), mqtt.ack(mqtt.PUBREC, identifier),
                    mqtt.ack(mqtt.PUBREL, identifier), mqtt.ack(mqtt.PUBCOMP, identifier),
                    mqtt.ack(mqtt.PUBREC, identifier, 0x97),
                    mqtt.subscribe(identifier, [("game", number % 3)]),
                    mqtt.unsubscribe(identifier, ["game"]),
                ]))
            client.receive(0.02)
        except mqtt.Closed:
            pass
        site.drop(client)


def test_wills_of_connections_cut_all_at_once(site):
    watcher = site.broker.connect("heir")
    watcher.subscribe("will/#", qos=1)
    clients = [site.broker.connect(f"client-{number}", 3 + number % 3,
                                   will=Will(f"will/{number}", b"x" * 100, number % 3))
               for number in range(150)]
    for client in clients:
        client.reset()
        site.broker.clients.remove(client)
    assert {watcher.message().topic for _ in range(150)} == {f"will/{n}" for n in range(150)}


def test_subscribe_packets_of_many_filters(site):
    client = site.broker.connect("client")
    for count in (1000, 5000):
        data = b"".join(mqtt.binary(f"many/{number}") + b"\0" for number in range(count))
        client.send(packet(mqtt.SUBSCRIBE, 2, u16(1) + b"\0" + data))
        try:
            client.expect(mqtt.SUBACK)
        except (mqtt.Closed, AssertionError):
            client = site.broker.connect("client")


def test_shapes_cannot_slow_down_matching(sites):
    """Filters with every place of wildcards: the index looks once for each shape."""
    site = sites()
    clients = [site.broker.connect(f"client-{number}") for number in range(40)]
    for number, client in enumerate(clients):
        names = ["/".join("+" if (number * 31 + mask) >> bit & 1 else "a" for bit in range(12))
                 for mask in range(50)]
        client.subscribe(*names)
    sender = site.broker.connect("sender")
    for _ in range(20):
        sender.send(b"".join(mqtt.publish("/".join("a" * 12), b"x") for _ in range(20)))
        sender.ping()
