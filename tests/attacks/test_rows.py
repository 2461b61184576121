# SPDX-License-Identifier: GPL-3.0-or-later
"""What has broken other brokers, row by row; the rows that wait are in tests/attacks/waiting.md.

The number in a test's name is that of the public fault it repeats, named in its comment.
"""
import struct
import threading
import time

import pytest

import mqtt
from mqtt import Will, binary, packet, u16, variable


def kept(site, name, **more):
    return site.broker.connect(name, clean=False, props={"session_expiry": 60}, **more)


def forget(site, *names):
    """Ends sessions that would otherwise stay."""
    for name in names:
        site.broker.connect(name, clean=True).leave()


def together(*parts):
    """Runs the parts at the same time; the first failure is raised."""
    problems = []

    def guarded(part):
        try:
            part()
        except Exception as problem:  # raised again below
            problems.append(problem)

    threads = [threading.Thread(target=guarded, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def test_row_02_huge_length_then_stall(site):
    # CVE-2017-7651: memory for a length that was only announced.
    clients = [site.open() for _ in range(200)]
    for index, client in enumerate(clients):
        client.send(b"\x10" + variable(268435455 - index) + b"\x00\x04MQTT")
    time.sleep(0.5)
    assert site.grown_kib() < 32 * 1024
    for client in clients:
        client.closed()


def test_row_02_a_connected_client_may_not_do_it_either(site):
    clients = [site.broker.connect(f"client-{number}") for number in range(50)]
    for client in clients:
        client.send(b"\x30" + variable(15 << 20) + b"\x00\x01a")
    time.sleep(0.5)
    assert site.grown_kib() < 64 * 1024
    for client in clients:
        site.drop(client)


@pytest.mark.parametrize("topic", [b"\xc3\x28", b"a\0b", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80",
                                   b"\xc0\x80", b"\xff\xfe"])
def test_row_04_bad_utf_8_is_not_passed_on(site, topic):
    # CVE-2017-7653: strict subscribers disconnect.
    watcher = site.broker.connect("strict")
    watcher.subscribe("+")
    assert site.send(mqtt.publish(topic, b"x"), connected=True) in (0x81, 0x90)
    site.send(mqtt.publish(topic, b"x", version=4), 4, True)
    watcher.quiet(0.3)


def test_row_05_malformed_connect_repeated(site):
    # CVE-2017-7654: each one leaked.
    whole = mqtt.connect("client", 5, will=Will("w", b"x", props={"content_type": "t"}),
                         username="u", password="p", props={"user_property": [("a", "b")]})
    body = whole[2:]
    for size in range(len(body)):
        site.send(packet(mqtt.CONNECT, 0, body[:size]))
    for _ in range(200):
        site.send(packet(mqtt.CONNECT, 0, body[:-1] + b"\0\0\0\0"))


@pytest.mark.parametrize("topic", ["$", "$x", "$SYSTEM", "$SYS", "$share/a/b", "$queue/a",
                                   "$CONTROL/dynamic-security/v1", "$$$", "$/a"])
@pytest.mark.parametrize("version", [4, 5])
def test_row_07_topics_that_begin_with_a_dollar(site, topic, version):
    # CVE-2018-12543: an assertion on what a peer sent.
    client = site.broker.connect("client", version)
    for qos in (0, 1, 2):
        for retain in (False, True):
            try:
                client.publish(topic, b"x", qos, retain)
                client.publish(topic, b"", qos, True)
            except (mqtt.Closed, AssertionError):
                client = site.broker.connect("client", version)


def test_row_13_will_delay_beyond_the_session(site):
    # CVE-2019-11778: the will outlived its session.
    watcher = site.broker.connect("heir")
    watcher.subscribe("will/#")
    for number in range(30):
        will = Will(f"will/{number}", b"x", number % 3, props={"will_delay": 0xFFFFFFFF})
        client = site.broker.connect(f"client-{number}", will=will,
                                     props={"session_expiry": number % 2})
        client.reset()
        site.broker.clients.remove(client)
    assert {watcher.message().topic for _ in range(30)} == {f"will/{n}" for n in range(30)}


@pytest.mark.parametrize("name", [b"/" * 65400, b"+/" * 32700, b"a/" * 32700 + b"#", b"/" * 65535],
                         ids=["slashes", "plusses", "deep", "longest"])
@pytest.mark.parametrize("version", [4, 5])
def test_row_14_tens_of_thousands_of_levels(site, version, name):
    # CVE-2019-11779: recursion by level.
    client = site.broker.connect("client", version)
    client.send(mqtt.subscribe(1, [(name, 0)] * 4, None, version))
    client.send(mqtt.unsubscribe(2, [name], None, version))
    client.send(mqtt.publish(name, b"x", 1, False, False, 3, None, version))
    client.send(mqtt.publish(name, b"x", 1, True, False, 4, None, version))
    try:
        while client.receive(1):
            pass
    except mqtt.Closed:
        pass


def test_row_15_connack_to_the_broker(site):
    # CVE-2021-28166: CONNECT, then a CONNACK, as published.
    site.send(bytes.fromhex("101000044d5154540502003c03210014000029020001e000"))
    site.send(bytes.fromhex("2003000000"), connected=True)
    site.send(bytes.fromhex("20020000"), 4, True)


def test_row_16_crafted_connects(site):
    # CVE-2021-34431: memory leaked by a CONNECT of MQTT 5.
    whole = mqtt.connect("client", 5, props={"session_expiry": 0, "user_property": [("a", "b")] * 3,
                                             "authentication_method": "m",
                                             "authentication_data": b"d"},
                         will=Will("w", b"x", props={"user_property": [("c", "d")]}))
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(site.random.randint(1, 3)):
            data[site.random.randrange(2, len(data))] = site.random.randrange(256)
        client = site.open()
        try:
            client.send(bytes(data))
            client.receive(0.02)
        except (mqtt.Closed, mqtt.Malformed):
            pass
        site.drop(client)
    forget(site, "client")
    # Mutated client ids may have left sessions of their own behind; none lives for ever.
    site.accept_what_is_left()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_row_17_topic_of_length_zero(site, version):
    # CVE-2021-34432
    for qos in (0, 1, 2):
        data = mqtt.publish("", b"x", qos, False, False, 1 if qos else None, version=version)
        assert site.send(data, version, True) in (None, 0x82, 0x90)


@pytest.mark.parametrize("kind", ["connect", "publish", "subscribe", "will", "puback"])
def test_row_20_very_many_user_properties(site, kind):
    # CVE-2021-41039: quadratic time.
    many = b"\x26\x00\x01a\x00\x01b" * 140000
    client = site.open()
    try:
        if kind == "connect":
            client.send(mqtt.connect("client", props=many))
        elif kind == "will":
            client.send(mqtt.connect("client", will=Will("w", b"x", props=many)))
        else:
            client.connect("client")
            client.send({"publish": mqtt.publish("a", b"x", props=many),
                         "subscribe": mqtt.subscribe(1, [("a", 0)], many),
                         "puback": mqtt.ack(mqtt.PUBACK, 1, 0, many)}[kind])
        client.receive(5)
    except mqtt.Closed:
        pass


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("keep_alive", [0, 65535])
def test_row_21_a_huge_keep_alive_is_bounded(sites, version, keep_alive):
    # CVE-2020-13849: the operator's maximum binds every version.
    site = sites(protocol_keep_alive_max="2s")
    client = site.broker.connect("client", version, keep_alive=keep_alive)
    # The others keep alive by talking; the silent one is closed.
    deadline = time.monotonic() + 12
    while True:
        assert time.monotonic() < deadline, "the silent client still lives"
        site.bystander.ping()
        site.watcher.ping()
        for control in site.controls:
            control.subscriber.send(mqtt.ack(mqtt.PUBACK, 0xFFFF))
        try:
            client.receive(0.2)
        except mqtt.Closed:
            break


@pytest.mark.parametrize("first", [0x30, 0x82, 0xA2, 0x40, 0xE0, 0xF0, 0x20, 0x00])
def test_row_22_a_large_first_packet_that_is_no_connect(site, first):
    # CVE-2023-0809: memory before CONNECT.
    for _ in range(20):
        client = site.open()
        try:
            client.send(bytes([first]) + variable(10 << 20) + b"\0" * 100000)
            client.closed()
        except mqtt.Closed:
            pass
        site.drop(client)
    assert site.grown_kib() < 32 * 1024


def test_row_23_will_with_wrong_property_types(site):
    # CVE-2023-3592
    for number in range(1, 0x2B):
        for value in (b"", b"\0", b"\0\1", b"\0\0\0\1", b"\0\1a", b"\0\1a\0\1b", b"\xff\xff\xff\xff"):
            props = bytes([number]) + value
            client = site.open()
            try:
                client.send(mqtt.connect("client", will=Will("w", b"x", props=props)))
                client.send(mqtt.disconnect())
                client.closed()
            except mqtt.Closed:
                pass
            site.drop(client)


def test_row_24_one_packet_id_over_and_over(site):
    # CVE-2023-28366: QoS 2 that is never released.
    client = site.broker.connect("client")
    for number in range(2000):
        client.send(mqtt.publish("a", b"x" * 1000, 2, False, number % 2 == 1, 1))
    try:
        for _ in range(2000):
            client.expect(mqtt.PUBREC)
    except (mqtt.Closed, AssertionError):
        pass
    assert site.grown_kib() < 32 * 1024


@pytest.mark.parametrize("topic", ["$CONTROL/dynamic-security/v1", "$SYS/broker/version",
                                   "$SYS/brokers/connected"])
def test_row_25_will_to_a_system_topic(site, topic):
    watcher = site.broker.connect("system")
    watcher.subscribe(topic)
    while watcher.receive(0.3):
        pass
    for retain in (False, True):
        client = site.open()
        try:
            client.connect("client", will=Will(topic, b"forged", 1, retain))
            client.reset()
        except (mqtt.Closed, AssertionError):
            pass
        site.broker.clients.remove(client)
    found = watcher.receive(0.5)
    assert not topic.startswith("$SYS") or found is None or found.payload != b"forged"
    site.broker.connect("cleaner").publish("$CONTROL/dynamic-security/v1", b"", 0, True)


@pytest.mark.parametrize("version", [4, 5])
def test_row_26_shared_and_plain_in_any_order(site, version):
    # CVE-2024-8376
    steps = [lambda c: c.subscribe("$share/g/a", qos=1), lambda c: c.subscribe("a", qos=2),
             lambda c: c.unsubscribe("a"), lambda c: c.unsubscribe("$share/g/a"),
             lambda c: c.publish("a", b"x", 1), lambda c: c.unsubscribe("$share/h/a"),
             lambda c: c.subscribe("$share/g/a", qos=0)]
    for number in range(150):
        client = site.broker.connect(f"client-{number % 4}", version)
        for _ in range(site.random.randint(1, 8)):
            site.random.choice(steps)(client)
        client.send(mqtt.disconnect()) if number % 2 else client.reset()
        site.drop(client)


def test_row_28_mutated_client_id_and_flags(site):
    # Issues 3448, 3702
    for flags in range(256):
        client = site.open(version=4)
        try:
            client.send(packet(mqtt.CONNECT, 0, binary("MQTT") + bytes([4, flags]) + u16(0) +
                               binary(bytes([flags, 0x61])) + binary("w") + binary("x") +
                               binary("u") + binary("p")))
            client.send(mqtt.disconnect())
            client.closed()
        except mqtt.Closed:
            pass
        site.drop(client)
    for kind in range(16):
        for flags in range(16):
            site.send(packet(kind, flags, mqtt.connect("client")[2:]) + mqtt.disconnect())
    site.accept_what_is_left()


def test_row_29_one_message_with_absurd_lengths(site):
    # CVE-2021-33175, -33176, -22116
    for length in (0x7F, 0xFFFF, 0x1FFFFF, 0xFFFFFFF):
        for template in (b"\x26\xff\xff", b"\x09\xff\xff", b"\x16\xff\xff\0"):
            body = binary("MQTT") + b"\x05\x02\0\0" + variable(length) + template + b"\0" * 50
            site.send(packet(mqtt.CONNECT, 0, body))
            site.send(packet(mqtt.PUBLISH, 0, binary("a") + variable(length) + template),
                      connected=True)
            site.send(packet(mqtt.SUBSCRIBE, 2, u16(1) + variable(length) + template),
                      connected=True)
    assert site.grown_kib() < 32 * 1024


def test_row_30_exactly_once_across_a_cut_between_the_steps(site):
    # CVE-2026-8741: a reconnect elsewhere between fan-out and the note of the packet id.
    watcher = site.broker.connect("receiver")
    watcher.subscribe("once", qos=2)
    for number in range(40):
        data = mqtt.publish("once", b"%d" % number, 2, False, False, 77)
        client = kept(site, "sender")
        client.send(data)
        if number % 2:
            client.expect(mqtt.PUBREC)
        client.reset()
        site.broker.clients.remove(client)
        client = kept(site, "sender")
        client.send(mqtt.publish("once", b"%d" % number, 2, False, True, 77))
        client.expect(mqtt.PUBREC)
        client.send(mqtt.ack(mqtt.PUBREL, 77))
        client.expect(mqtt.PUBCOMP)
        site.drop(client)
    assert watcher.payloads(40) == [b"%d" % number for number in range(40)]
    watcher.quiet(0.3)
    forget(site, "sender")


def test_row_32_packet_ids_stay_distinct_after_a_resume(site):
    # One PUBACK freed two messages.
    sender = site.broker.connect("sender")
    seen = {}
    for turn in range(6):
        client = kept(site, "client", auto_ack=False)
        client.subscribe("a", qos=1)
        for number in range(10):
            sender.publish("a", b"%d" % (turn * 10 + number), 1)
        live = {}
        for found in client.messages((turn + 1) * 10):
            assert found.packet_id not in live, "one packet id, two messages"
            live[found.packet_id] = found.payload
            assert seen.setdefault(found.payload, found.packet_id) == found.packet_id
        client.reset()
        site.broker.clients.remove(client)
    client = kept(site, "client", auto_ack=False)
    for found in client.messages(60):
        client.send(mqtt.ack(mqtt.PUBACK, found.packet_id))
    client.ping()
    site.drop(client)
    client = kept(site, "client")
    client.quiet(0.3)
    site.drop(client)
    forget(site, "client")


def test_row_35_message_above_the_receivers_maximum(site):
    client = site.broker.connect("client", props={"maximum_packet_size": 20})
    client.subscribe("a/#", qos=2)
    sender = site.broker.connect("sender")
    for size in range(0, 60):
        for qos in (0, 1, 2):
            sender.publish("a/b", b"x" * size, qos, retain=size % 7 == 0)
    sender.publish("a/b", b"", 1, True)
    sender.publish("a/b", b"end", 0)
    while client.message().payload != b"end":
        pass
    client.ping()


def test_row_36_half_a_connect_when_the_timer_fires(sites):
    site = sites(protocol_connect_timeout="300ms")
    whole = mqtt.connect("client", will=Will("w", b"x"))
    for size in range(1, len(whole), 2):
        clients = [site.open() for _ in range(3)]
        for client in clients:
            client.send(whole[:size])
        time.sleep(0.27)
        for number, client in enumerate(clients):
            time.sleep(0.01 * number)
            try:
                client.send(whole[size:] + mqtt.disconnect())
                client.closed()
            except mqtt.Closed:
                pass
            site.drop(client)


def test_row_38_subscribing_while_publishing(site):
    # CVE-2025-59946: a race on one list of subscribers.
    def churn(number):
        client = site.broker.connect(f"churn-{number}")
        for _ in range(60):
            client.subscribe("hot/a", "hot/+", "hot/#", qos=number % 3)
            client.unsubscribe("hot/+")
            client.unsubscribe("hot/a", "hot/#")
        site.drop(client)

    def pour(number):
        client = site.broker.connect(f"pour-{number}")
        for _ in range(60):
            client.send(b"".join(mqtt.publish("hot/a", b"x" * 20) for _ in range(20)))
            client.ping()
        site.drop(client)

    together(*[lambda n=n: churn(n) for n in range(4)], *[lambda n=n: pour(n) for n in range(2)])


@pytest.mark.parametrize("name", ["$share/ab", "$share/", "$share", "$share//", "$share/g/",
                                  "$share//a", "$share/+/a", "$share/g#/a"])
def test_row_39_share_without_a_second_slash(site, name):
    # CVE-2025-59947, CVE-2025-68699
    for version in (4, 5):
        client = site.broker.connect("client", version)
        try:
            client.subscribe(name)
            client.unsubscribe(name)
        except (mqtt.Closed, AssertionError):
            pass
        sender = site.broker.connect("sender", version)
        for topic in ("ab", "a", "b", "g", "share/ab", "/"):
            sender.publish(topic, b"x", 1)
        site.drop(client)
        site.drop(sender)


FIVE_BYTES = b"\xff\xff\xff\xff\x01"


@pytest.mark.parametrize("data", [
    packet(mqtt.PUBLISH, 0, binary("a") + FIVE_BYTES),
    packet(mqtt.SUBSCRIBE, 2, u16(1) + FIVE_BYTES + binary("a") + b"\0"),
    packet(mqtt.UNSUBSCRIBE, 2, u16(1) + FIVE_BYTES + binary("a")),
    packet(mqtt.PUBACK, 0, u16(1) + b"\0" + FIVE_BYTES),
    packet(mqtt.DISCONNECT, 0, b"\0" + FIVE_BYTES),
    packet(mqtt.AUTH, 0, b"\x19" + FIVE_BYTES),
    packet(mqtt.SUBSCRIBE, 2, u16(1) + b"\x06\x0b" + FIVE_BYTES + binary("a") + b"\0"),
], ids=["publish", "subscribe", "unsubscribe", "puback", "disconnect", "auth", "identifier"])
def test_row_40_five_byte_integer_in_properties(site, data):
    # CVE-2026-21888
    assert site.send(data, connected=True) in (0x81, 0x82)


def test_row_40_five_byte_integer_in_connect(site):
    for tail in (b"", b"\0\0\0"):
        assert site.send(packet(mqtt.CONNECT, 0, binary("MQTT") + b"\x05\x02\0\0" + FIVE_BYTES +
                                tail)) in (None, 0x81, 0x82)


def test_row_41_kick_storm_with_floods(site):
    # CVE-2026-22040: one client id, publishing and subscribing from everywhere.
    flood = b"".join(mqtt.publish("storm/a", b"x" * 50, number % 3 % 2, False, False,
                                  number + 1 if number % 3 % 2 else None)
                     for number in range(30))

    def storm(part):
        for number in range(25):
            client = site.open(version=4 + number % 2)
            try:
                client.send(mqtt.connect("wanted", client.version, number % 3 == 0))
                client.send(mqtt.subscribe(1, [("storm/#", 1), ("storm/+", 2)], None,
                                           client.version))
                if client.version == 5:
                    client.send(flood)
                client.send(mqtt.unsubscribe(2, ["storm/#"], None, client.version))
                client.receive(0.01 * part)
            except mqtt.Closed:
                pass
            site.drop(client)

    together(*[lambda n=n: storm(n) for n in range(6)])
    forget(site, "wanted")


def test_row_42_announced_length_that_never_comes(site):
    # CVE-2026-25627, here over TCP.
    for connected in (False, True):
        for size in (1, 3, 100):
            client = site.open()
            if connected:
                client.connect("client")
            client.send(b"\x30" + variable(4096) + b"\0" * size)
            client.socket.shutdown(1)
            try:
                client.closed()
            except mqtt.Closed:
                pass
            site.drop(client)


def test_row_43_resuming_twice_at_once(site):
    # CVE-2026-32134
    for number in range(25):
        first = kept(site, "client")
        first.subscribe(f"a/{number}", qos=1)
        clients = [site.open() for _ in range(6)]

        def resume(client):
            try:
                client.send(mqtt.connect("client", clean=False, props={"session_expiry": 60}))
                assert client.expect(mqtt.CONNACK).session_present == 1
            except (mqtt.Closed, AssertionError) as problem:
                if "session_present" in str(problem):
                    raise

        together(*[lambda c=c: resume(c) for c in clients])
        for client in (first, *clients):
            site.drop(client)
    forget(site, "client")


def test_row_44_connect_without_credentials(site):
    for flags in (0x82, 0xC2, 0x42):
        for tail in (b"", binary(""), binary("") + binary("")):
            for version in (4, 5):
                body = binary("MQTT") + bytes([version, flags]) + u16(10) + \
                    (b"\0" if version == 5 else b"") + binary("client") + tail
                site.send(packet(mqtt.CONNECT, 0, body) + mqtt.disconnect(), version)


@pytest.mark.parametrize("size", [1023, 1024, 1025, 4096, 16384])
def test_row_45_subscribe_ends_after_the_topic(site, size):
    # Issue 2268: one byte beyond an allocation of exactly that size.
    for version in (4, 5):
        head = u16(1) + (b"\0" if version == 5 else b"")
        body = head + binary("a" * (size - len(head) - 2))
        assert len(body) == size
        assert site.send(packet(mqtt.SUBSCRIBE, 2, body), version, True) in (None, 0x81, 0x82)


def test_row_46_qos_without_a_packet_id(site):
    # Issue 2270
    for version in (3, 4, 5):
        for flags in (2, 4, 10, 12):
            for tail in (b"", b"\0"):
                assert site.send(packet(mqtt.PUBLISH, flags, binary("a") + tail), version, True) \
                    in (None, 0x81, 0x82)


def test_row_47_malformed_subscribes_and_properties(site):
    # Issues 1038, 1042, 1153 to 1181
    for kind in (mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE):
        good = mqtt.subscribe(1, [("a/+/b", 1), ("c/#", 2)], {"user_property": [("k", "v")]}) \
            if kind == mqtt.SUBSCRIBE else \
            mqtt.unsubscribe(1, ["a/+/b", "c/#"], {"user_property": [("k", "v")]})
        body = good[2:]
        for size in range(len(body)):
            client = site.open()
            try:
                client.connect("client")
                client.send(packet(kind, 2, body[:size]))
                client.send(mqtt.disconnect())
                client.closed()
            except (mqtt.Closed, AssertionError):
                pass
            site.drop(client)
    for number in range(0, 256, 3):
        site.send(mqtt.subscribe(1, [("a", 0)], bytes([number]) + b"\0\1\0\1\0") +
                  mqtt.disconnect(), connected=True)


def test_row_48_no_alias_for_who_wants_none(site):
    # Issue 2040
    client = site.broker.connect("client", props={"topic_alias_maximum": 0})
    client.subscribe("a/#")
    sender = site.broker.connect("sender")
    for number in range(30):
        sender.publish("a/b" if number == 0 else "", b"x", props={"topic_alias": 1})
    for found in client.messages(30):
        assert found.topic == "a/b" and "topic_alias" not in found.props


def test_row_49_the_same_retained_message_twice(site):
    # Issue 689
    sender = site.broker.connect("sender")
    data = mqtt.publish("kept/a", b"same" * 500, 1, True, False, 1)
    for _ in range(100):
        sender.send(data + data)
    for _ in range(200):
        sender.expect(mqtt.PUBACK)
    client = site.broker.connect("client")
    client.subscribe("kept/#")
    assert client.message().payload == b"same" * 500
    client.quiet(0.2)
    for _ in range(3):
        sender.publish("kept/a", b"", 1, True)


def test_row_50_will_without_its_properties(site):
    # NanoNNG 1509, here towards the broker.
    head = binary("MQTT") + bytes([5, 0x06]) + u16(10) + b"\0" + binary("client")
    for tail in (b"", b"\0", binary("w"), b"\0" + binary("w"), b"\x05", b"\0" + binary("w") + b"\0"):
        assert site.send(packet(mqtt.CONNECT, 0, head + tail)) in (None, 0x81, 0x82, 0x90)


def test_row_51_publishing_below_sys(site):
    # Issue 1582
    for topic in ("$SYS/brokers/connected", "$SYS/broker/uptime", "$SYS/", "$SYS/broker/#"):
        for qos in (0, 1, 2):
            for retain in (False, True):
                site.send(mqtt.publish(topic, b"x", qos, retain, False, 1 if qos else None) +
                          mqtt.disconnect(), connected=True)
    while (found := site.watcher.receive(0.2)) is not None:
        assert found.payload != b"x"
        if not site.watcher.inbox:
            break


def test_row_52_crafted_retained_messages(site):
    # CVE-2024-42644, -42645
    sender = site.broker.connect("sender", props={"receive_maximum": 65535})
    names = ["/", "//", "a//b", "/a", "a/", "", " ", "ä/ö", "a" * 3000, "/" * 199]
    for name in names:
        for payload in (b"\0", b"x", b"\xff" * 70000):
            try:
                sender.publish(name, payload, 1, True, {"payload_format": 0, "topic_alias": 1,
                                                        "message_expiry": 100000})
            except (mqtt.Closed, AssertionError):
                sender = site.broker.connect("sender")
    client = site.broker.connect("client")
    client.subscribe("#", "+/#", "/#", "+", "+/+", qos=1)
    ended = time.monotonic() + 2  # the controls' messages come as well, without end
    while time.monotonic() < ended:
        client.receive(0.1)
    for name in names:
        if name:
            sender.publish(name, b"", 1, True)


def test_row_53_retained_delivery_races_retained_publishing(sites):
    # CVE-2026-42209: a pace option that divided by zero.
    site = sites(retained_pace=1)

    def write():
        client = site.broker.connect("writer")
        for number in range(600):
            client.publish(f"race/{number % 60}", b"%d" % number if number < 540 else b"", 1, True)
        site.drop(client)

    def read():
        client = site.broker.connect("reader")
        for _ in range(20):
            client.subscribe("race/#", qos=1)
            client.unsubscribe("race/#")
        site.drop(client)

    together(write, read)


@pytest.mark.parametrize("name", [".*", "[", "(", "^$", "a|b", "\\", "%n%s", "#", "+", "a/b",
                                  "../../etc", "$SYS", "'; --", "\u202e", "*"])
def test_row_54_client_ids_with_meaning_elsewhere(site, name):
    # CVE-2026-44838; the permissions themselves wait.
    first = kept(site, name)
    first.subscribe("a", qos=1)
    site.bystander.ping()
    first.leave()
    site.broker.connect("sender").publish("a", b"x", 1)
    again = kept(site, name)
    assert again.connack.session_present == 1 and again.message().payload == b"x"
    again.leave()
    forget(site, name)


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff\x00", b"\xff\xff\xff\xff\x7f",
                                    b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\xff\xff",
                                    b"\x80\x80\x80\x00", b"\x80\x00"])
def test_row_55_a_length_that_desynchronises(site, length):
    # CVE-2025-66168, CVE-2026-40046: what follows must not be taken as commands.
    spy = site.broker.connect("spy")
    spy.subscribe("smuggled")
    for connected in (False, True):
        for kind in (0x30, 0x10, 0x82):
            smuggled = mqtt.connect("smuggler") + mqtt.publish("smuggled", b"x") + \
                mqtt.disconnect()
            client = site.open()
            try:
                if connected:
                    client.connect("client")
                client.send(bytes([kind]) + length + smuggled)
                client.socket.shutdown(1)
                client.closed()
            except mqtt.Closed:
                pass
            site.drop(client)
    spy.quiet(0.3)


def test_row_56_giant_properties_in_small_pieces(site):
    # CVE-2026-44248: parsed again on every read.
    many = b"\x26\x00\x01a\x00\x01b" * 100000
    client = site.broker.connect("client")
    data = mqtt.publish("a", b"x", props=many)
    try:
        for at in range(0, len(data), 500):
            client.send(data[at:at + 500])
    except mqtt.Closed:
        pass
    whole = mqtt.connect("client-2", props=many)
    late = site.open()
    try:
        for at in range(0, len(whole), 500):
            late.send(whole[at:at + 500])
    except mqtt.Closed:
        pass


def test_row_57_a_length_that_wraps(site):
    # CVE-2019-19307
    for data in (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x80" * 100, b"\xff" * 5000,
                 struct.pack("<Q", 2 ** 64 - 1)):
        for kind in (0x10, 0x30, 0x82):
            site.send(bytes([kind]) + data)
            site.send(bytes([kind]) + data, connected=True)


def test_row_58_a_string_longer_than_its_packet(site):
    # CVE-2019-17210
    for data in (packet(mqtt.PUBLISH, 0, b"\xff\xffa"), packet(mqtt.PUBLISH, 0, b"\0"),
                 packet(mqtt.PUBLISH, 0, b""), packet(mqtt.SUBSCRIBE, 2, b"\0\1\0\xff\xffa"),
                 packet(mqtt.UNSUBSCRIBE, 2, b"\0\1\0\0\5a")):
        assert site.send(data, connected=True) in (0x81, 0x82)
    for at in (0, 10):
        body = bytearray(mqtt.connect("client")[2:])
        body[at if at == 0 else -8] = 0xFF
        site.send(packet(mqtt.CONNECT, 0, bytes(body)))


def test_row_59_puback_before_connect_and_interception(site):
    # sol 0.18.5
    site.send(bytes.fromhex("40020001"))
    first = site.broker.connect("victim")
    first.subscribe("private")
    second = site.broker.connect("victim")
    assert first.closed() == 0x8E
    site.broker.connect("sender").publish("private", b"secret", 1)
    second.quiet(0.3)  # its session is new: nothing of the first is its own


def test_row_60_assorted_non_compliance(site):
    # aedes, KMQTT, wolfMQTT 514, 524, 527
    for data in (packet(mqtt.DISCONNECT, 0, b"\0\xff"), packet(mqtt.DISCONNECT, 1, b""),
                 packet(mqtt.DISCONNECT, 0, b"\0\x05\x11"), packet(mqtt.SUBSCRIBE, 2, b""),
                 packet(mqtt.SUBSCRIBE, 2, u16(1) + b"\0"), packet(mqtt.PINGREQ, 0, b"x")):
        site.send(data, connected=True)
    for _ in range(50):  # an answer to a connection that is gone
        client = site.broker.connect("client")
        client.send(mqtt.subscribe(1, [("a", 0)]) + mqtt.PING)
        client.reset()
        site.broker.clients.remove(client)
    for name in ("a#", "sport/#/x", "a+b", "#a", "+a"):
        assert site.send(mqtt.subscribe(1, [(name, 0)]) + mqtt.disconnect(), connected=True) \
            in (0, None, 0x81, 0x82, 0x8F)
