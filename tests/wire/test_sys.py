# SPDX-License-Identifier: GPL-3.0-or-later
"""The $SYS tree."""
import time

import pytest

import mqtt

NAMES = ["version", "uptime", "clients/connected", "clients/disconnected", "clients/total",
         "clients/maximum", "messages/received", "messages/sent", "messages/stored",
         "bytes/received", "bytes/sent", "publish/messages/received", "publish/messages/sent",
         "publish/messages/dropped", "subscriptions/count", "retained messages/count",
         "load/messages/received/1min", "load/messages/sent/5min", "load/bytes/received/15min",
         "load/connections/1min"]


def latest(client, names, seconds=4):
    """The newest value of each topic; waits until all have come, or time is up."""
    found = {}
    deadline = time.monotonic() + seconds
    while not set(names) <= set(found) and time.monotonic() < deadline:
        one = client.receive(0.1)
        if one and one.kind == mqtt.PUBLISH:
            found[one.topic.removeprefix("$SYS/broker/")] = one.payload.decode()
    return found


@pytest.mark.thread
def test_the_tree_has_mosquittos_names(start):
    broker = start(sys_interval="200ms")
    client = broker.connect("client")
    client.subscribe("$SYS/broker/#")
    found = latest(client, NAMES, mqtt.PATIENCE_S)
    assert set(NAMES) <= set(found), sorted(set(NAMES) - set(found))
    assert "0.1.0" in found["version"]


def test_the_numbers_count(start):
    broker = start(sys_interval="200ms")
    for number in range(5):
        broker.connect(f"client-{number}").subscribe(f"t/{number}", "all")
    broker.connect("kept", props={"session_expiry": 100}).leave()
    broker.connect("other").publish("r", b"x", qos=1, retain=True)
    client = broker.connect("watcher")
    client.subscribe("$SYS/broker/+/+")
    wanted = {"clients/connected": 7, "clients/disconnected": 1, "clients/total": 8,
              "subscriptions/count": 11}
    deadline = time.monotonic() + mqtt.PATIENCE_S
    found = {}
    while any(found.get(name) != str(value) for name, value in wanted.items()):
        assert time.monotonic() < deadline, found
        found.update(latest(client, wanted, 0.5))


def test_a_late_subscriber_gets_the_values(start):
    broker = start(sys_interval="200ms")
    time.sleep(1)
    client = broker.connect("client")
    client.subscribe("$SYS/broker/version")
    assert b"0.1.0" in client.message().payload


def test_wildcards_at_the_front_do_not_see_it(start):
    client = start(sys_interval="200ms").connect("client")
    client.subscribe("#", "+/broker/#")
    client.quiet(1)


def test_nobody_publishes_below_sys(broker):
    watcher = broker.connect("watcher")
    watcher.subscribe("$SYS/mine/#", "$SYS/broker/version")
    while watcher.receive(0.3):
        pass
    client = broker.connect("client")
    try:
        assert client.publish("$SYS/mine/a", b"x", qos=1) in (0x87, 0x90)
        assert client.publish("$SYS/broker/version", b"x", qos=2, retain=True) in (0x87, 0x90)
        client.publish("$SYS/mine/a", b"x")
    except mqtt.Closed:
        pass
    old = broker.connect("old", 4)
    try:
        old.publish("$SYS/mine/a", b"x", qos=1)
    except mqtt.Closed:
        pass
    watcher.quiet()
    broker.connect("after").ping()


def test_other_dollar_topics_are_ordinary(broker):
    client = broker.connect("client")
    client.subscribe("$mine/#")
    assert client.publish("$mine/a", b"x", qos=1) == 0
    assert client.message().payload == b"x"


def test_it_can_be_switched_off(start):
    client = start(sys_interval="0").connect("client")
    client.subscribe("$SYS/#")
    client.quiet(1)
