# SPDX-License-Identifier: GPL-3.0-or-later
"""Wills: published when they should be, and only then."""
import signal
import time

import pytest

import mqtt
from mqtt import Will
from test_session import kept


@pytest.fixture
def watcher(broker):
    client = broker.connect("watcher")
    client.subscribe("will/#", qos=2, retain_as_published=True)
    return client


@pytest.mark.thread
@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_a_cut_connection_publishes_its_will(broker, watcher, version, qos, retain):
    client = broker.connect("client", version, will=Will("will/a", b"gone", qos, retain))
    client.reset()
    found = watcher.message()
    assert (found.topic, found.payload, found.qos, found.retain) == ("will/a", b"gone", qos, retain)
    late = broker.connect("late")
    late.subscribe("will/a", qos=2)
    if retain:
        found = late.message()
        assert (found.payload, found.qos, found.retain) == (b"gone", qos, 1)
    late.quiet(0.1)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_normal_disconnect_discards_the_will(broker, watcher, version):
    broker.connect("client", version, will=Will("will/a", b"x")).leave()
    watcher.quiet()  # [MQTT-3.14.4-3]


def test_a_disconnect_may_ask_for_the_will(broker, watcher):
    broker.connect("client", will=Will("will/a", b"x")).leave(0x04)
    assert watcher.message().payload == b"x"


def test_a_disconnect_with_an_error_publishes_the_will(broker, watcher):
    broker.connect("client", will=Will("will/a", b"x")).leave(0x80)
    assert watcher.message().payload == b"x"


@pytest.mark.parametrize("version", [4, 5])
def test_a_protocol_error_publishes_the_will(broker, watcher, version):
    client = broker.connect("client", version, will=Will("will/a", b"x"))
    client.send(mqtt.connect("client", version))
    client.closed()
    assert watcher.message().payload == b"x"


@pytest.mark.parametrize("version", [4, 5])
def test_a_keep_alive_timeout_publishes_the_will(broker, watcher, version):
    broker.connect("client", version, keep_alive=1, will=Will("will/a", b"x"))
    assert watcher.message().payload == b"x"


def test_a_takeover_publishes_the_will(broker, watcher):
    broker.connect("client", will=Will("will/a", b"first"))
    broker.connect("client", will=Will("will/a", b"second"))
    assert watcher.message().payload == b"first"
    watcher.quiet()


def test_an_empty_will_is_a_will(broker, watcher):
    broker.connect("client", will=Will("will/a", b"")).reset()
    assert watcher.message().payload == b""


def test_a_will_is_published_once(broker, watcher):
    client = kept(broker, "client", will=Will("will/a", b"x", 1))
    client.reset()
    watcher.message()
    kept(broker, "client").reset()  # no will this time
    watcher.quiet()


@pytest.mark.thread
def test_a_will_waits_for_its_delay(broker, watcher):
    started = time.monotonic()
    kept(broker, "client", will=Will("will/a", b"x", props={"will_delay": 1})).reset()
    watcher.quiet(0.5)
    assert watcher.message().payload == b"x"
    assert time.monotonic() - started >= 0.95


@pytest.mark.thread
def test_a_reconnect_cancels_a_delayed_will(broker, watcher):
    kept(broker, "client", will=Will("will/a", b"x", props={"will_delay": 1})).reset()
    assert kept(broker, "client").connack.session_present == 1
    watcher.quiet(2.5)  # [MQTT-3.1.3-9]


def test_a_takeover_cancels_a_delayed_will(broker, watcher):
    kept(broker, "client", will=Will("will/a", b"x", props={"will_delay": 1}))
    kept(broker, "client")
    watcher.quiet(2.5)


def test_a_clean_start_publishes_a_delayed_will(broker, watcher):
    """The session ends, and with it the delay."""
    kept(broker, "client", will=Will("will/a", b"x", props={"will_delay": 60})).reset()
    broker.connect("client", clean=True)
    assert watcher.message().payload == b"x"


def test_a_will_delay_ends_with_the_session(broker, watcher):
    kept(broker, "client", expiry=1, will=Will("will/a", b"x", props={"will_delay": 60})).reset()
    assert watcher.message(10).payload == b"x"
    broker.connect("other", will=Will("will/b", b"y", props={"will_delay": 60})).reset()
    assert watcher.message(10).payload == b"y"  # no expiry: the session ended at once


def test_a_delayed_will_is_discarded_by_a_normal_disconnect(broker, watcher):
    kept(broker, "client", will=Will("will/a", b"x", props={"will_delay": 1})).leave()
    watcher.quiet(2)


def test_a_delayed_will_can_be_asked_for(broker, watcher):
    kept(broker, "client", will=Will("will/a", b"x", props={"will_delay": 1})).leave(0x04)
    assert watcher.message().payload == b"x"


def test_a_will_has_properties(broker, watcher):
    props = {"payload_format": 1, "content_type": "t", "response_topic": "r",
             "correlation_data": b"\0", "user_property": [("b", "1"), ("a", "2"), ("b", "1")]}
    broker.connect("client", will=Will("will/a", b"x", props={**props, "will_delay": 0})).reset()
    assert watcher.message().props == props


def test_a_will_message_expires(broker):
    watcher = kept(broker, "watcher")
    watcher.subscribe("will/#", qos=1)
    watcher.leave()
    for name, seconds in (("a", 1), ("b", 100)):
        will = Will(f"will/{name}", b"x", 1, props={"message_expiry": seconds})
        broker.connect(f"client-{name}", will=will).reset()
    time.sleep(2.5)
    found = kept(broker, "watcher").message()
    assert found.topic == "will/b" and found.props["message_expiry"] <= 99
    broker.clients[-1].quiet()


WRONG = {
    "wildcard": Will("will/#", b"x"), "plus": Will("will/+", b"x"), "empty topic": Will("", b"x"),
    "not utf-8": Will(b"will/\xff", b"x"), "nul": Will(b"will/\0", b"x"),
    "foreign property": Will("will/a", b"x", props={"topic_alias": 1}),
    "property twice": Will("will/a", b"x", props={"will_delay": [1, 2]}),
    "payload format 2": Will("will/a", b"x", props={"payload_format": 2}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_will_is_refused_with_its_connection(broker, watcher, name):
    client = broker.open()
    client.send(mqtt.connect("client", will=WRONG[name]))
    assert client.closed() in (0x81, 0x82, 0x90)
    watcher.quiet(0.2)


def test_a_will_above_the_maximum_qos_is_refused(start):
    client = start(protocol_maximum_qos=1).open()
    assert client.connect("client", will=Will("a", b"x", 2)).reason == 0x9B  # [MQTT-3.2.2-12]
    client.closed()


def test_a_retained_will_is_refused_where_nothing_is_retained(start):
    client = start(protocol_retain_available=False).open()
    assert client.connect("client", will=Will("a", b"x", 0, True)).reason == 0x9A
    client.closed()


def test_a_will_reaches_its_topic_only(broker, watcher):
    """A topic that looks like a system topic is refused, or the will goes nowhere."""
    system = broker.connect("system")
    system.subscribe("$SYS/mine", "$CONTROL/#")
    for name in ("$SYS/mine", "$CONTROL/mine"):
        client = broker.open()
        try:
            if client.connect("client", will=Will(name, b"x")).reason == 0:
                client.reset()
        except mqtt.Closed:
            pass
    found = system.receive(0.5)
    assert found is None or found.topic.startswith("$CONTROL"), found


@pytest.mark.thread
def test_stopping_the_broker_says_so_and_publishes_wills(broker, watcher):
    old = broker.connect("old", 4)
    old.subscribe("will/#")
    for number in range(5):
        broker.connect(f"client-{number}", 4 + number % 2, will=Will(f"will/{number}", b"x"))
    broker.send_signal(signal.SIGTERM)
    assert {watcher.message().topic for _ in range(5)} == {f"will/{n}" for n in range(5)}
    assert watcher.closed() == 0x8B
    assert old.closed() is None
