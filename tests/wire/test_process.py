# SPDX-License-Identifier: GPL-3.0-or-later
"""The program itself: its start and end, its options, what it prints."""
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import mqtt
from broker import PROGRAM, Broker, free_port


def run(*arguments, timeout=30):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=timeout,
                          check=False)


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(start, number):
    broker = start()
    clients = [broker.connect(f"client-{index}", 3 + index % 3) for index in range(12)]
    for client in clients:
        client.subscribe("a/#", qos=2)
    clients[0].publish("a/b", b"x", 2)
    broker.send_signal(number)
    for index, client in enumerate(clients):
        assert client.closed() == (0x8B if index % 3 == 2 else None)
    broker.stop(number)


@pytest.mark.thread
def test_it_ends_under_load(start):
    broker = start()
    receivers = [broker.connect(f"receiver-{number}") for number in range(10)]
    for receiver in receivers:
        receiver.subscribe("a/#", qos=1)
    sender = broker.connect("sender")
    flood = b"".join(mqtt.publish("a/b", b"x" * 100) for _ in range(500))
    ended = threading.Event()

    def pour():
        try:
            while not ended.is_set():
                sender.send(flood)
        except (mqtt.Closed, OSError):
            pass

    thread = threading.Thread(target=pour)
    thread.start()
    time.sleep(0.5)
    broker.send_signal(signal.SIGTERM)
    try:
        broker.stop()
    finally:
        ended.set()
        sender.close()
        thread.join()


def test_it_ends_at_once_when_nobody_is_connected(start):
    broker = start()
    started = time.monotonic()
    broker.stop()
    assert time.monotonic() - started < 10


def test_it_says_where_it_listens(start):
    broker = start()
    log = broker.wait_for_log(str(broker.port))
    assert re.search(rf"\b{broker.shards} shard", log), log


@pytest.mark.thread
@pytest.mark.release
def test_statistics_are_printed_on_sigusr1(start):
    broker = start()
    client = broker.connect("client")
    client.subscribe("a")
    for _ in range(10):
        client.publish("a", b"x")
    client.messages(10)
    broker.send_signal(signal.SIGUSR1)
    log = broker.wait_for_log("mailbox")
    for word in ("connections", "publish", "bytes", "drops", "queue_full", "false positive",
                 "high water", "a turn"):
        assert word in log, log
    client.ping()
    broker.send_signal(signal.SIGUSR1)
    client.ping()


@pytest.mark.thread
def test_sighup_and_sigpipe_do_not_end_it(start):
    broker = start()
    broker.send_signal(signal.SIGPIPE)
    time.sleep(0.2)
    assert broker.alive()
    broker.connect("client").ping()


@pytest.mark.release
def test_help_and_version():
    answer = run("--version")
    assert answer.returncode == 0 and "0.1.0" in answer.stdout
    answer = run("--help")
    assert answer.returncode == 0
    for word in ("--port", "--shards", "--cpus", "--data", "--config", "check",
                 "--limits-packet-size-max", "1883"):
        assert word in answer.stdout, word


@pytest.mark.release
def test_the_allocator_is_linked():
    if "release" not in PROGRAM:
        pytest.skip("only the Release program has jemalloc")
    with open(PROGRAM, "rb") as file:
        assert b"jemalloc" in file.read()
    broker = Broker(1).start()
    try:
        with open(f"/proc/{broker.process.pid}/maps", encoding="utf-8") as file:
            assert "libjemalloc" in file.read()
        broker.wait_for_log("jemalloc")
    finally:
        broker.stop()


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--port"], ["--port", "70000"],
                                       ["--port", "x"], ["--shards", "-1"],
                                       ["--limits-packet-size-max", "10"],
                                       ["--protocol-keep-alive-max", "5 parsecs"],
                                       ["--cpus", "a-b"], ["--config", "/nonexistent/file"],
                                       ["check"], ["stray"]])
def test_a_wrong_command_line_is_refused(arguments):
    answer = run(*arguments)
    assert answer.returncode not in (0, -6, -11) and answer.returncode > 0
    assert answer.stderr.strip() and "Sanitizer" not in answer.stderr


def test_a_misspelt_option_gets_the_nearest_name():
    assert "--shards" in run("--shard", "2").stderr


WRONG_FILES = {
    "key": ("limits:\n  packet_size_mix: 10MiB\n", 2, 3, "packet_size_max"),
    "unit": ("limits:\n  packet_size_max: 10parsec\n", 2, 20, "MiB"),
    "type": ("shards: many\n", 1, 9, "shards"),
    "range": ("protocol:\n  maximum_qos: 3\n", 2, 16, "2"),
    "section": ("limit:\n  packet_size_max: 1MiB\n", 1, 1, "limits"),
    "yaml": ("limits: {packet_size_max: 1MiB\n", None, None, ""),
    "utf-8": ("%\xff\n", 1, 1, "UTF-8"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, name):
    text, line, column, word = WRONG_FILES[name]
    path = tmp_path / "wrong.yaml"
    path.write_bytes(text.encode("latin-1"))
    for arguments in (["check", str(path)], ["--config", str(path)]):
        answer = run(*arguments)
        assert answer.returncode > 0, answer
        place = f"{path}:{line}:{column}" if line else f"{path}:"
        assert place in answer.stderr and word in answer.stderr, answer.stderr


def test_a_right_file_is_accepted(tmp_path):
    path = tmp_path / "right.yaml"
    path.write_text("shards: 2\nlimits:\n  packet_size_max: 10MiB\nprotocol:\n"
                    "  keep_alive_max: 60s\n")
    answer = run("check", str(path))
    assert answer.returncode == 0, answer.stderr


def test_the_command_line_beats_the_file(tmp_path, start):
    path = tmp_path / "shardmq.yaml"
    path.write_text("protocol:\n  receive_maximum: 5\n  topic_alias_max: 5\n")
    broker = start(arguments=["--config", str(path), "--protocol-receive-maximum", "7"])
    props = broker.connect("client").connack.props
    assert (props["receive_maximum"], props["topic_alias_maximum"]) == (7, 5)


def test_more_shards_than_cpus_work():
    count = 2 * os.cpu_count() + 3
    broker = Broker(count).start()
    try:
        clients = [broker.connect(f"client-{number}") for number in range(30)]
        for client in clients:
            client.subscribe("a", qos=1)
        clients[0].publish("a", b"x", 1)
        for client in clients:
            assert client.message().payload == b"x"
    finally:
        broker.stop()


def test_a_list_of_cpus_is_taken():
    port = free_port()
    broker = Broker(2, ["--cpus", "0"], port=port).start()
    try:
        broker.connect("client").ping()
    finally:
        broker.stop()
