# SPDX-License-Identifier: GPL-3.0-or-later
"""The load generator: each scenario ends well against the broker, and no fault escapes it."""
import json
import os
import socket
import subprocess
import threading

import pytest

from broker import BUILD

GENERATOR = os.path.join(BUILD, "shardmq-bench")
PUBLISH = 3
FAULT_AT = 300  # the PUBLISH, of all that the broker sends, that meets the fault

pytestmark = pytest.mark.skipif(not os.access(GENERATOR, os.X_OK), reason="no shardmq-bench built")

SCENARIOS = [
    "pairs --clients 10",
    "pairs --clients 10 --version 5 --qos 1",
    "pairs --clients 10 --qos 2 --window 16",
    "pairs --clients 2 --size 100000 --window 4",
    "pairs --clients 10 --messages 2000",
    "fanin --publishers 10 --qos 1",
    "fanout --subscribers 20 --qos 1",
    "shared --publishers 10 --qos 1",
    "telemetry --publishers 50 --rate 500",
    "pingpong",
    "connect --subscribers 200",
    "churn --subscribers 10",
    "retained --count 1000",
    "offline --count 900",
]


def generate(port, scenario):
    done = subprocess.run(
        [GENERATOR, *scenario.split(), "--port", str(port), "--duration", "0.2", "--warmup", "0.1",
         "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.startswith("{"), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_ends_without_a_fault(broker, scenario):
    status, result = generate(broker.port, scenario + f" --pid {broker.process.pid}")

    assert status == 0 and result["ok"], result["failure"]
    assert result["count"] > 0 and result["cpu_us"] > 0


def frames_of(stream):
    """Whole packets, as they come."""
    waiting = b""
    while True:
        try:
            data = stream.recv(65536)
        except OSError:
            return
        if not data:
            return
        waiting += data
        while (size := frame_size(waiting)) is not None and size <= len(waiting):
            yield waiting[:size]
            waiting = waiting[size:]


def frame_size(data):
    length = 0
    for at, byte in enumerate(data[1:5]):
        length |= (byte & 127) << 7 * at
        if byte < 128:
            return at + 2 + length
    return None


class Liar:
    """A relay that plays one fault on what the broker sends."""

    def __init__(self, target, fault):
        self.target = target
        self.fault = fault
        self.lock = threading.Lock()
        self.publishes = 0
        self.streams = []
        self.subscribers = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.run(self.accept)

    @staticmethod
    def run(function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            broker = socket.create_connection(self.target)
            self.streams += [client, broker]
            self.run(self.upwards, client, broker)
            self.run(self.downwards, broker, client)

    @staticmethod
    def upwards(client, broker):
        try:
            while data := client.recv(65536):
                broker.sendall(data)
            broker.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def downwards(self, broker, client):
        held = b""
        for frame in frames_of(broker):
            with self.lock:
                if frame[0] >> 4 == PUBLISH:
                    if client not in self.subscribers:
                        self.subscribers.append(client)
                    self.publishes += 1
                    if self.publishes >= FAULT_AT and not held and self.fault is not None:
                        if self.fault == "swap":
                            held, self.fault = frame, None
                            continue
                        frame = self.spoil(frame, client)
                try:
                    client.sendall(frame + held)
                except OSError:
                    return
                held = b""
        try:
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def spoil(self, frame, client):
        others = [other for other in self.subscribers if other is not client]
        fault, self.fault = self.fault, None
        if fault == "lose":
            return b""
        if fault == "repeat":
            return frame + frame
        if fault == "misdeliver":
            others[0].sendall(frame)
        return frame

    def close(self):
        self.listener.close()
        for stream in self.streams:
            stream.close()


@pytest.mark.parametrize("fault, counter", [("lose", None), ("repeat", "duplicated"),
                                            ("swap", "reordered"), ("misdeliver", "misdelivered")])
def test_a_fault_makes_the_run_fail(broker, fault, counter):
    liar = Liar(broker.address, fault)
    try:
        status, result = generate(liar.port, "pairs --clients 4 --stall 2")
    finally:
        liar.close()

    assert status == 1 and not result["ok"]
    if counter is None:
        assert "stalled" in result["failure"] and "sequence" in result["failure"]
    else:
        assert result[counter] == 1


def test_without_a_fault_the_relay_is_not_noticed(broker):
    liar = Liar(broker.address, None)
    try:
        status, result = generate(liar.port, "pairs --clients 4")
    finally:
        liar.close()

    assert status == 0 and result["ok"], result["failure"]


def test_nobody_listening_is_a_failure(broker):
    port = broker.port
    broker.stop()

    status, result = generate(port, "pairs --clients 2")

    assert status == 1 and "refused" in result["failure"]


@pytest.mark.parametrize("arguments", [["unheard-of"], ["pairs", "--qos", "3"], ["pairs", "--qos"],
                                       ["pairs", "--size", "1k"], ["pairs", "--unheard-of", "1"],
                                       ["shared", "--version", "4"], []])
def test_wrong_usage_is_refused(arguments):
    done = subprocess.run([GENERATOR, *arguments], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stdout or done.stderr
