# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops the real program, and looks at what it leaves behind.

SHARDMQ names the program, SHARDMQ_BUILD its build folder, SHARDMQ_SHARDS the numbers of shards to
test with.
"""
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import mqtt

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.environ.get("SHARDMQ", os.path.join(TOP, "build", "debug", "shardmq"))
BUILD = os.environ.get("SHARDMQ_BUILD", os.path.dirname(PROGRAM))
SHARDS = [int(number) for number in os.environ.get("SHARDMQ_SHARDS", "1 2 5").split()]

START_S_MAX = 30
STOP_S_MAX = 30
TROUBLE = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|"
                     r"Assertion .* failed|SUMMARY: ")


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Broker:
    """One run of the program. Options: limits_packet_size_max="1KiB" and so on.

    Without a port it takes a free one; with port 0 the listeners are those of a configuration file.
    """

    def __init__(self, shards=1, arguments=(), port=None, **options):
        self.shards = shards
        self.port = free_port() if port is None else port
        self.address = ("127.0.0.1", self.port)
        self.arguments = ["--shards", str(shards), *self.arguments_of(options), *arguments]
        if self.port:
            self.arguments += ["--port", str(self.port)]
        self.process = None
        self.clients = []
        self.errors = None
        self.output = None

    @staticmethod
    def arguments_of(options):
        """limits_packet_size_max=10 becomes --limits-packet-size-max 10."""
        for name, value in options.items():
            if isinstance(value, bool):
                value = "true" if value else "false"
            yield "--" + name.replace("_", "-")
            yield str(value)

    def start(self, wait=True):
        self.errors = tempfile.TemporaryFile()
        self.output = tempfile.TemporaryFile()
        environment = dict(os.environ)
        # A small quarantine, so that tests of memory see what was freed.
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:quarantine_size_mb=4")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
        environment.setdefault("TSAN_OPTIONS", "halt_on_error=0:second_deadlock_stack=1")
        self.process = subprocess.Popen([PROGRAM, *self.arguments], stdout=self.output,
                                        stderr=self.errors, env=environment)
        if wait:
            self.wait_for(self.address)
        return self

    def wait_for(self, address):
        deadline = time.monotonic() + START_S_MAX
        while True:
            assert self.process.poll() is None, f"the broker ended at start:\n{self.log()}"
            try:
                mqtt.Client(address).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"nobody listens on {address}:\n{self.log()}"
                time.sleep(0.02)

    def log(self):
        """Everything that the program has written."""
        text = ""
        for file in (self.output, self.errors):
            file.flush()
            text += os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace")
        return text

    def wait_for_log(self, pattern, timeout=mqtt.PATIENCE_S):
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.log()):
            assert time.monotonic() < deadline, f"{pattern} is not in:\n{self.log()}"
            time.sleep(0.05)
        return self.log()

    def send_signal(self, number):
        self.process.send_signal(number)

    def alive(self):
        return self.process.poll() is None

    def stop(self, number=signal.SIGTERM):
        """Ends the program and checks that it ended well."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait()
            raise AssertionError(f"not stopped after {STOP_S_MAX} s:\n{self.log()}") from None
        finally:
            for client in self.clients:
                client.close()
        log = self.log()
        trouble = TROUBLE.search(log)
        assert not trouble, log[max(0, trouble.start() - 500):][:6000]
        assert code == 0, f"exit code {code}:\n{log[-3000:]}"

    def kill(self):
        """Without looking at how it ends: it has failed, or is not the run that counts."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # Clients.

    def open(self, version=5, **more):
        """A connection without CONNECT."""
        client = mqtt.Client(self.address, version, **more)
        self.clients.append(client)
        return client

    def connect(self, client_id="", version=5, auto_ack=True, receive_buffer=None, **more):
        """A connected client; `connack` holds the answer."""
        client = self.open(version, auto_ack=auto_ack, receive_buffer=receive_buffer)
        client.connack = client.connect(client_id, **more)
        assert client.connack.reason == 0, client.connack
        return client

    # Memory.

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
