# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared subscriptions: one group, members on all shards."""
import pytest

import mqtt
from test_session import kept

STRATEGIES = ["round_robin", "local_first", "sticky", "hash_client", "hash_topic",
              "least_inflight"]


def collect(members, count):
    """Payloads by member, until `count` have come in all."""
    found = [[] for _ in members]
    total = 0
    waits = 0
    while total < count:
        before = total
        for index, member in enumerate(members):
            while one := member.receive(0.01):
                if one.kind == mqtt.PUBLISH:
                    found[index].append(one.payload)
                    total += 1
        waits = 0 if total > before else waits + 1
        assert waits < 100, f"{total} of {count} messages came"
    return found


@pytest.mark.thread
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_goes_to_exactly_one_member(start, strategy, qos):
    broker = start(shared_strategy=strategy)
    members = [broker.connect(f"member-{number}") for number in range(6)]
    for member in members:
        assert member.subscribe("$share/group/a/+", qos=qos).reasons == [qos]
    other = broker.connect("other")
    for number in range(120):
        other.publish("a/b", b"%d" % number, qos=qos)
    found = collect(members, 120)
    for member in members:
        member.quiet(0.1)
    assert sorted(int(one) for part in found for one in part) == list(range(120))
    counts = [len(part) for part in found]
    if strategy == "round_robin":
        assert min(counts) >= 10 and max(counts) <= 30, counts
    elif strategy in ("sticky", "hash_client", "hash_topic"):
        assert sorted(counts)[:5] == [0] * 5, counts


def test_hashing_spreads_by_topic_and_by_client(start):
    broker = start(shared_strategy="hash_topic")
    members = [broker.connect(f"member-{number}") for number in range(4)]
    for member in members:
        member.subscribe("$share/group/a/#")
    other = broker.connect("other")
    for round_number in range(5):
        for number in range(40):
            other.publish(f"a/{number}", b"%d" % number)
    found = collect(members, 200)
    assert sum(1 for part in found if part) >= 3
    for part in found:  # a topic stays with its member
        assert all(part.count(one) == 5 for one in part)


@pytest.mark.parametrize("version", [4, 5])
def test_groups_and_plain_subscriptions_each_get_a_copy(broker, version):
    first = broker.connect("first", version)
    first.subscribe("$share/one/a")
    second = broker.connect("second", version)
    second.subscribe("$share/two/a")
    plain = broker.connect("plain", version)
    plain.subscribe("a")
    broker.connect("other").publish("a", b"x")
    for client in (first, second, plain):
        assert client.message().payload == b"x"
        client.quiet(0.1)


def test_a_member_may_be_in_the_group_and_subscribe_plainly(broker):
    client = broker.connect("client")
    client.subscribe("$share/g/a", props={"subscription_id": 1})
    client.subscribe("a", props={"subscription_id": 2})
    broker.connect("other").publish("a", b"x")
    # One or two copies are both right; the identifiers must be those of the subscriptions.
    ids = list(client.message().props["subscription_id"])
    while one := client.receive(0.3):
        ids += one.props["subscription_id"]
    assert sorted(ids) == [1, 2]


def test_the_group_is_its_name_and_its_filter(broker):
    client = broker.connect("client")
    client.subscribe("$share/g/a", "$share/g/+")
    broker.connect("other").publish("a", b"x")
    client.messages(2)
    client.quiet(0.2)


def test_leaving_the_group(broker):
    first, second = broker.connect("first"), broker.connect("second")
    for client in (first, second):
        client.subscribe("$share/g/a")
    assert first.unsubscribe("a").reasons == [0x11]
    assert first.unsubscribe("$share/g/a").reasons == [0]
    other = broker.connect("other")
    for number in range(10):
        other.publish("a", b"%d" % number)
    assert second.payloads(10) == [b"%d" % number for number in range(10)]
    first.quiet(0.1)
    second.close()
    other.publish("a", b"to nobody")
    other.ping()


@pytest.mark.thread
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_dead_member_held_goes_to_another(start, strategy):
    broker = start(shared_strategy=strategy)
    dying = broker.connect("dying", auto_ack=False)
    dying.subscribe("$share/g/a", qos=1)
    other = broker.connect("other")
    for number in range(20):
        other.publish("a", b"%d" % number, qos=1)
    dying.messages(20)
    living = broker.connect("living")
    living.subscribe("$share/g/a", qos=1)
    dying.reset()
    assert sorted(int(one) for one in living.payloads(20)) == list(range(20))
    living.quiet(0.2)


@pytest.mark.thread
def test_messages_are_never_for_nobody_while_a_member_lives(broker):
    members = [broker.connect(f"member-{number}") for number in range(5)]
    for member in members:
        member.subscribe("$share/g/a", qos=1)
    other = broker.connect("other")
    total = 0
    seen = set()
    for member in members[:-1]:
        for _ in range(10):
            other.publish("a", b"%d" % total, qos=1)
            total += 1
        while one := member.receive(0.05):
            seen.add(int(one.payload))
        member.reset()
    for _ in range(10):
        other.publish("a", b"%d" % total, qos=1)
        total += 1
    for member in members[1:]:
        try:
            while one := member.receive(0.3):
                if one.kind == mqtt.PUBLISH:
                    seen.add(int(one.payload))
        except (mqtt.Closed, OSError, ValueError):
            pass
    # A member that was cut may have taken what it acknowledged with it: all others must be there.
    assert set(range(total - 10, total)) <= seen


def test_a_member_that_is_away_does_not_take_what_others_could(broker):
    away = kept(broker, "away")
    away.subscribe("$share/g/a", qos=1)
    away.leave()
    here = broker.connect("here")
    here.subscribe("$share/g/a", qos=1)
    other = broker.connect("other")
    for number in range(20):
        other.publish("a", b"%d" % number, qos=1)
    assert sorted(int(one) for one in here.payloads(20)) == list(range(20))


def test_a_kept_member_alone_gets_its_messages_later(broker):
    away = kept(broker, "away")
    away.subscribe("$share/g/a", qos=1)
    away.leave()
    broker.connect("other").publish("a", b"x", qos=1)
    assert kept(broker, "away").message().payload == b"x"


def test_retained_messages_are_not_sent_to_a_new_member(broker):
    broker.connect("other").publish("a", b"kept", qos=1, retain=True)
    client = broker.connect("client")
    client.subscribe("$share/g/a")
    client.quiet()


@pytest.mark.parametrize("name", ["$share/ab", "$share/", "$share//a", "$share/g/", "$share/g+/a",
                                  "$share/#/a", "$share/+/a", "$share/g/a#", "$share/g/#/a"])
@pytest.mark.parametrize("version", [4, 5])
def test_a_malformed_share_is_refused(broker, version, name):
    client = broker.connect("client", version)
    client.send(mqtt.subscribe(1, [(name, 0)], None, version))
    try:
        answer = client.expect(mqtt.SUBACK, mqtt.DISCONNECT)
        if answer.kind == mqtt.SUBACK:
            assert answer.reasons == [0x8F if version == 5 else 0x80]  # [MQTT-4.8.2-1]
        else:
            assert answer.reason in (0x81, 0x82, 0x8F)
    except mqtt.Closed:
        assert version == 4
    other = broker.connect("other")
    for topic in ("a", "ab", "share/ab"):
        other.publish(topic, b"x", qos=1)
    other.ping()
