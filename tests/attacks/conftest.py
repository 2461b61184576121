# SPDX-License-Identifier: GPL-3.0-or-later
"""Every attack runs beside a well-behaved client, and is followed by a look at the broker."""
import random
import threading
import time

import pytest

import mqtt

# Liveness, not speed: sanitizers and busy machines are slow.
ROUND_TRIP_S_MAX = 5
# What freed memory may still be held back by allocator and sanitizer.
GROWTH_KIB_MAX = 48 * 1024
SETTLE_S_MAX = 20
QUIET_S = 0.5


class Control:
    """A publisher and a subscriber that go on exchanging messages while the attack lasts."""

    def __init__(self, broker, name):
        self.subscriber = broker.connect(f"control-subscriber-{name}")
        self.publisher = broker.connect(f"control-publisher-{name}")
        self.topic = f"control/{name}"
        self.subscriber.subscribe(self.topic, qos=1)
        self.worst_s = 0
        self.rounds = 0
        self.problem = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.ended.is_set():
                started = time.monotonic()
                payload = b"%d" % self.rounds
                self.publisher.publish(self.topic, payload, qos=1)
                found = self.subscriber.message()
                assert (found.topic, found.payload) == (self.topic, payload), found
                self.worst_s = max(self.worst_s, time.monotonic() - started)
                self.rounds += 1
                time.sleep(0.005)
        except Exception as problem:  # looked at in the test's thread
            self.problem = problem

    def stop(self):
        self.ended.set()
        self.thread.join()

    def check(self):
        assert self.problem is None, f"the control client failed: {self.problem!r}"
        assert self.rounds > 0
        assert self.worst_s < ROUND_TRIP_S_MAX, f"a round trip took {self.worst_s:.1f} s"


class Site:
    """A broker under attack."""

    def __init__(self, broker, seed):
        self.broker = broker
        self.random = random.Random(seed)
        self.watcher = broker.connect("watcher")
        self.watcher.subscribe("$SYS/broker/clients/connected", "$SYS/broker/subscriptions/count",
                               "$SYS/broker/clients/total")
        self.controls = [Control(broker, name) for name in "ab"]
        # An address with a session of its own: what an attack must not leak into.
        self.bystander = broker.connect("bystander")
        self.bystander.subscribe("bystander/only")
        self.values = {}
        self.before = None
        self.before = self.settled()
        self.before_kib = broker.resident_kib()

    def settled(self):
        """Connected clients, sessions and subscriptions, once they no longer change. A value is
        published when it changed; after the attack they are awaited to be what they were before."""
        quiet_since = time.monotonic()
        deadline = quiet_since + SETTLE_S_MAX
        while time.monotonic() < deadline:
            one = self.watcher.receive(0.1)
            if one and one.kind == mqtt.PUBLISH:
                if self.values.get(one.topic) != int(one.payload):
                    quiet_since = time.monotonic()
                self.values[one.topic] = int(one.payload)
            elif len(self.values) == 3 and time.monotonic() > quiet_since + QUIET_S and \
                    self.before in (None, self.values):
                break
        return dict(self.values)

    def open(self, **more):
        return self.broker.open(**more)

    def accept_what_is_left(self):
        """For attacks that may have made sessions of any name."""
        self.before = None
        self.before = self.settled()

    def send(self, data, version=5, connected=False, name=""):
        """A connection that sends `data` and waits until it is closed; returns the reason code."""
        client = self.open(version=version)
        try:
            if connected:
                client.connect(name)
            client.send(data)
            return client.closed()
        except mqtt.Closed:
            return None
        finally:
            client.close()
            self.broker.clients.remove(client)

    def drop(self, client):
        client.close()
        if client in self.broker.clients:
            self.broker.clients.remove(client)

    def grown_kib(self):
        return self.broker.resident_kib() - self.before_kib

    def finish(self):
        for control in self.controls:
            control.stop()
        for control in self.controls:
            control.check()
        assert self.broker.alive(), self.broker.log()
        keep = {self.watcher, self.bystander}
        for control in self.controls:
            keep |= {control.subscriber, control.publisher}
        for client in [one for one in self.broker.clients if one not in keep]:
            self.drop(client)
        self.bystander.ping()
        self.bystander.quiet(0.1)
        after = self.settled()
        assert after == self.before, f"left behind: {after}, before: {self.before}"
        deadline = time.monotonic() + SETTLE_S_MAX
        while self.grown_kib() > GROWTH_KIB_MAX:
            assert time.monotonic() < deadline, f"{self.grown_kib()} KiB more memory"
            time.sleep(0.5)


@pytest.fixture
def sites(start, request):
    """sites(option=value, ...) starts a broker with its controls."""
    running = []

    def start_one(**options):
        options.setdefault("sys_interval", "100ms")
        options.setdefault("protocol_connect_timeout", "2s")
        running.append(Site(start(**options), request.node.name))
        return running[-1]

    yield start_one
    failed = getattr(request.node, "report_call", None) is None or request.node.report_call.failed
    problem = None
    for one in running:
        try:
            if failed:
                for control in one.controls:
                    control.stop()
            else:
                one.finish()
        except AssertionError as found:
            problem = problem or found
        finally:
            for control in one.controls:
                control.stop()
    if problem:
        raise problem


@pytest.fixture
def site(sites):
    return sites()
