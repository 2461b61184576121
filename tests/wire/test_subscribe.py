# SPDX-License-Identifier: GPL-3.0-or-later
"""Topic filters, subscription options, SUBACK and UNSUBACK."""
import pytest

import mqtt
from mqtt import filter_options
from test_session import kept

FILTERS = ["#", "+", "+/+", "+/+/+", "a", "a/#", "a/+", "a/b", "a/b/#", "a/+/c", "+/b/#", "+/#",
           "/", "/+", "/#", "+/", "//", "a//c", "a/+/+/d", "a/b/c/d/e/f/g/#", "$x/#", "$x/+",
           "$x/a", "+/a", "A/b", "a b/c", "ä/ö", "/a", "a/"]
TOPICS = ["a", "b", "a/b", "a/c", "a/b/c", "a/x/c", "x/b/y", "/", "//", "/a", "a/", "a//c",
          "a/b/c/d", "a/b/c/d/e/f/g", "a/b/c/d/e/f/g/h", "$x/a", "$x", "$x/a/b", "A/b", "a b/c",
          "ä/ö", "aa/b"]


def matches(name, topic):
    """The rule of the standard, read plainly."""
    if topic.startswith("$") and name[0] in "+#":
        return False  # [MQTT-4.7.2-1]
    levels, given = topic.split("/"), name.split("/")
    for index, level in enumerate(given):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(levels) == len(given)


@pytest.mark.thread
def test_filters_match_as_the_standard_says(broker):
    client = broker.connect("client")
    for number, name in enumerate(FILTERS, 1):
        assert client.subscribe(name, props={"subscription_id": number}).reasons == [0], name
    other = broker.connect("other")
    for topic in TOPICS:
        other.publish(topic, topic.encode())
    other.publish("end/end/end/end/end", b"end")
    wanted = {topic: {number for number, name in enumerate(FILTERS, 1) if matches(name, topic)}
              for topic in TOPICS}
    found = {}
    count = sum(1 for ids in wanted.values() if ids) + 1
    for one in client.messages(count):
        assert one.topic not in found, f"{one.topic} came twice"
        found[one.topic] = set(one.props["subscription_id"])
    del found["end/end/end/end/end"]
    assert found == {topic: ids for topic, ids in wanted.items() if ids}
    client.quiet()


@pytest.mark.parametrize("version", [3, 4, 5])
def test_each_filter_gets_its_own_code(broker, version):
    client = broker.connect("client", version)
    answer = client.subscribe(("a", 0), ("b/+", 1), ("c/#", 2))
    assert answer.reasons == [0, 1, 2]  # [MQTT-3.9.3-1]
    if version == 5:
        assert client.unsubscribe("a", "nothing", "c/#").reasons == [0, 0x11, 0]
    else:
        assert client.unsubscribe("a", "nothing", "c/#").reasons == []


@pytest.mark.parametrize("name", ["", "a#", "a/#/b", "#/a", "a+", "+a", "a/+b/c", "a/b+", "##",
                                  "a/##", b"a\x00b", b"\xff", b"\xed\xa0\x80"])
@pytest.mark.parametrize("version", [4, 5])
def test_a_wrong_filter_is_refused(broker, version, name):
    watcher = broker.connect("watcher")
    watcher.subscribe("a/#")
    client = broker.connect("client", version)
    client.send(mqtt.subscribe(1, [(name, 0)], None, version))
    try:
        answer = client.expect(mqtt.SUBACK, mqtt.DISCONNECT)
        if answer.kind == mqtt.SUBACK:
            assert answer.reasons == [0x8F if version == 5 else 0x80]
        else:
            assert answer.reason in (0x81, 0x82, 0x8F)
    except mqtt.Closed:
        assert version == 4
    broker.connect("other").publish("a/b", b"x")
    assert watcher.message().payload == b"x"


def test_unsubscribing_ends_the_messages(broker):
    client = broker.connect("client")
    client.subscribe("a", "b/#")
    client.unsubscribe("b/#")
    other = broker.connect("other")
    other.publish("b/c", b"no")
    other.publish("a", b"yes")
    assert client.message().payload == b"yes"
    client.quiet()


def test_unsubscribing_compares_the_text(broker):
    client = broker.connect("client")
    client.subscribe("a/+")
    assert client.unsubscribe("a/b", "a/#", "+/+").reasons == [0x11] * 3  # [MQTT-3.10.4-1]
    broker.connect("other").publish("a/b", b"x")
    client.message()


@pytest.mark.parametrize("version", [4, 5])
def test_a_subscription_is_replaced(broker, version):
    client = broker.connect("client", version)
    client.subscribe("a", qos=0)
    client.subscribe("a", qos=2)
    other = broker.connect("other")
    other.publish("a", b"x", qos=2)
    assert client.message().qos == 2
    client.quiet()  # once [MQTT-3.8.4-3]


@pytest.mark.thread
@pytest.mark.parametrize("version", [4, 5])
def test_overlapping_subscriptions_deliver_once_at_the_highest_qos(broker, version):
    client = broker.connect("client", version)
    client.subscribe(("a/#", 0), ("a/+", 2), ("a/b", 1))
    other = broker.connect("other")
    for qos in (0, 1, 2):
        other.publish("a/b", b"x", qos=qos)
        assert client.message().qos == qos  # [MQTT-3.3.4-2]
        client.quiet(0.2)


def test_all_matching_subscription_ids_come(broker):
    client = broker.connect("client")
    client.subscribe("a/#", props={"subscription_id": 1})
    client.subscribe("a/b", props={"subscription_id": 268435455})
    client.subscribe("+/b", props={"subscription_id": 200})
    client.subscribe("a/+")
    broker.connect("other").publish("a/b", b"x")
    assert sorted(client.message().props["subscription_id"]) == [1, 200, 268435455]
    client.subscribe("a/b")  # replaced by one without
    broker.connect("another").publish("a/b", b"x")
    assert sorted(client.message().props["subscription_id"]) == [1, 200]


def test_no_subscription_id_none_comes(broker):
    client = broker.connect("client")
    client.subscribe("a")
    broker.connect("other").publish("a", b"x")
    assert "subscription_id" not in client.message().props


def test_subscription_ids_survive_a_reconnect(broker):
    client = kept(broker, "client")
    client.subscribe("a", qos=1, props={"subscription_id": 77})
    client.leave()
    broker.connect("other").publish("a", b"x", qos=1)
    assert kept(broker, "client").message().props["subscription_id"] == [77]


@pytest.mark.parametrize("props", [{"subscription_id": 0}, {"subscription_id": [1, 2]},
                                   b"\x0b\xff\xff\xff\xff\x01", {"topic_alias": 1}],
                         ids=["zero", "two", "too large", "foreign"])
def test_wrong_subscribe_properties_are_refused(broker, props):
    client = broker.connect("client")
    client.send(mqtt.subscribe(1, [("a", 0)], props))
    assert client.closed() in (0x81, 0x82)


def test_no_local_spares_the_publisher(broker):
    client = broker.connect("client")
    client.subscribe("a", no_local=True)
    client.publish("a", b"mine")
    broker.connect("other").publish("a", b"theirs")
    assert client.message().payload == b"theirs"
    client.quiet()


def test_no_local_is_a_matter_of_the_client_not_of_the_connection(broker):
    client = kept(broker, "client")
    client.subscribe("a", qos=1, no_local=True)
    client.close()
    client = kept(broker, "client")
    client.publish("a", b"mine", qos=1)
    client.quiet()


def test_no_local_on_a_shared_subscription_is_refused(broker):
    client = broker.connect("client")
    client.send(mqtt.subscribe(1, [("$share/g/a", filter_options(no_local=True))]))
    assert client.closed() == 0x82  # [MQTT-3.8.3-4]


def test_retain_as_published_keeps_the_flag(broker):
    keeps = broker.connect("keeps")
    # Live messages alone: a look-up that is still under way may find the retained one, too.
    keeps.subscribe("a", retain_as_published=True, retain_handling=2)
    clears = broker.connect("clears")
    clears.subscribe("a", retain_handling=2)
    other = broker.connect("other")
    for retain in (True, False):
        other.publish("a", b"x", retain=retain)
        assert keeps.message().retain == retain  # [MQTT-3.3.1-13]
        assert clears.message().retain == 0  # [MQTT-3.3.1-12]


@pytest.mark.thread
@pytest.mark.parametrize("handling, first, second", [(0, True, True), (1, True, False),
                                                     (2, False, False)])
def test_retain_handling(broker, handling, first, second):
    broker.connect("other").publish("a", b"kept", qos=1, retain=True)
    client = broker.connect("client")
    for wanted in (first, second):
        client.subscribe("a", retain_handling=handling)
        if wanted:
            found = client.message()
            assert (found.payload, found.retain) == (b"kept", 1)
        client.quiet(0.2)


def test_retain_handling_knows_a_resumed_subscription(broker):
    broker.connect("other").publish("a", b"kept", qos=1, retain=True)
    client = kept(broker, "client")
    client.subscribe("a", retain_handling=1)
    client.message()
    client.leave()
    client = kept(broker, "client")
    client.subscribe("a", retain_handling=1)
    client.quiet()


WRONG = {
    "no filter": mqtt.subscribe(1, []), "no filter to unsubscribe": mqtt.unsubscribe(1, []),
    "packet id 0": mqtt.subscribe(0, [("a", 0)]),
    "packet id 0 to unsubscribe": mqtt.unsubscribe(0, ["a"]),
    "qos 3": mqtt.subscribe(1, [("a", 3)]), "handling 3": mqtt.subscribe(1, [("a", 0x30)]),
    "reserved bits": mqtt.subscribe(1, [("a", 0x40)]),
    "flags": mqtt.packet(mqtt.SUBSCRIBE, 0, mqtt.subscribe(1, [("a", 0)])[2:]),
    "flags of unsubscribe": mqtt.packet(mqtt.UNSUBSCRIBE, 0, mqtt.unsubscribe(1, ["a"])[2:]),
    "no options": mqtt.packet(mqtt.SUBSCRIBE, 2, mqtt.u16(1) + b"\0" + mqtt.binary("a")),
    "cut filter": mqtt.packet(mqtt.SUBSCRIBE, 2, mqtt.u16(1) + b"\0\0\x05a"),
    "subscription id to unsubscribe": mqtt.unsubscribe(1, ["a"], {"subscription_id": 1}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_packet_is_refused(broker, name):
    client = broker.connect("client")
    client.send(WRONG[name])
    assert client.closed() in (0x81, 0x82)


@pytest.mark.parametrize("options", [0x03, 0x04, 0x08, 0x10, 0x80])
def test_311_refuses_reserved_bits(broker, options):
    client = broker.connect("client", 4)
    client.send(mqtt.subscribe(1, [("a", options)], None, 4))
    client.closed()  # [MQTT-3-8.3-4]


def test_features_can_be_switched_off(start):
    broker = start(protocol_wildcard_subscriptions=False, protocol_shared_subscriptions=False,
                   protocol_subscription_identifiers=False)
    client = broker.connect("client")
    assert client.subscribe("a/+", "$share/g/a", "a").reasons == [0xA2, 0x9E, 0]
    client.send(mqtt.subscribe(1, [("a", 0)], {"subscription_id": 1}))
    answer = client.receive()
    assert (answer.kind == mqtt.SUBACK and answer.reasons == [0xA1]) or answer.reason == 0xA1


@pytest.mark.thread
def test_after_suback_nothing_is_missed(broker):
    """Subscriber and publisher are at home on different shards as often as not."""
    publishers = [broker.connect(f"publisher-{number}") for number in range(8)]
    for number in range(80):
        client = broker.connect(f"client-{number}")
        client.subscribe(f"topic/{number}/+")
        publishers[number % 8].publish(f"topic/{number}/x", b"%d" % number)
        assert client.message().payload == b"%d" % number
        client.close()


@pytest.mark.thread
def test_every_shards_subscribers_are_served_in_order(broker):
    clients = [broker.connect(f"client-{number}") for number in range(40)]
    for client in clients:
        client.subscribe("all/+", qos=1)
    other = broker.connect("other")
    for number in range(50):
        other.publish("all/x", b"%d" % number, qos=number % 2)
    for client in clients:
        # One publisher, one topic: order holds within a QoS [MQTT-4.6.0-5].
        found = client.messages(50)
        for qos in (0, 1):
            numbers = [int(one.payload) for one in found if one.qos == qos]
            assert numbers == [number for number in range(50) if number % 2 == qos]


@pytest.mark.thread
def test_subscribing_and_leaving_while_messages_flow(broker):
    publisher = broker.connect("publisher")
    for number in range(40):
        client = broker.connect(f"client-{number % 5}")
        client.subscribe("a/#", "a/+", f"a/{number}")
        publisher.send(b"".join(mqtt.publish(f"a/{number}", b"x") for _ in range(20)))
        client.message()
        client.unsubscribe("a/+", f"a/{number}")
        if number % 2:
            client.reset()
    publisher.ping()
