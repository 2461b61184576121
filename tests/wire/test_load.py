# SPDX-License-Identifier: GPL-3.0-or-later
"""Many, slow and greedy clients: all bounded, nobody else waits."""
import re
import resource
import threading
import time

import pytest

import mqtt


def pour(client, data, ended):
    """Sends without end; the broker may stop reading at any time."""
    client.socket.settimeout(0.5)
    while not ended.is_set():
        try:
            client.socket.sendall(data)
        except TimeoutError:
            continue
        except OSError:
            return


@pytest.fixture
def pouring():
    """pouring(client, data) sends in the background until the test ends."""
    ended = threading.Event()
    threads = []

    def start_one(client, data):
        threads.append(threading.Thread(target=pour, args=(client, data, ended)))
        threads[-1].start()

    yield start_one
    ended.set()
    for thread in threads:
        thread.join()


@pytest.mark.thread
def test_many_subscribers_of_one_topic(broker):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    count = 1200
    clients = [broker.connect(f"client-{number}") for number in range(count)]
    for client in clients:
        client.send(mqtt.subscribe(1, [("all", 1)]))
    for client in clients:
        client.expect(mqtt.SUBACK)
    other = broker.connect("other")
    for number in range(5):
        other.publish("all", b"%d" % number, qos=number % 2)
    for client in clients:
        assert sorted(client.payloads(5)) == [b"0", b"1", b"2", b"3", b"4"]
    assert other.ping() < 5


@pytest.mark.thread
def test_a_slow_subscriber_is_bounded(start, pouring):
    broker = start(limits_queue_bytes_max="1MiB", limits_output_buffer_max="256KiB",
                   limits_packet_size_max="1MiB")
    slow = broker.connect("slow", receive_buffer=4096)
    slow.subscribe("flood/#", qos=0)
    fast = broker.connect("fast")
    fast.subscribe("calm")
    before = broker.resident_kib()
    pouring(broker.connect("sender"), b"".join(mqtt.publish("flood/a", b"x" * 4000)
                                               for _ in range(50)))
    other = broker.connect("other")
    ended = time.monotonic() + 5
    while time.monotonic() < ended:
        other.publish("calm", b"x", qos=1)
        assert fast.message(5).payload == b"x"
        assert fast.ping() < 5
    grown = broker.resident_kib() - before
    assert grown < 96 * 1024, f"{grown} KiB more memory"


@pytest.mark.thread
def test_slow_subscribers_with_qos_1_are_bounded(start, pouring):
    broker = start(limits_queue_messages_max=100)
    slow = broker.connect("slow", auto_ack=False)
    slow.subscribe("flood", qos=1)
    before = broker.resident_kib()
    sender = broker.connect("sender")
    for number in range(3000):
        sender.send(mqtt.publish("flood", b"x" * 2000, 1, False, False, number % 1000 + 1))
        sender.expect(mqtt.PUBACK)
    grown = broker.resident_kib() - before
    assert grown < 64 * 1024, f"{grown} KiB more memory"
    assert broker.connect("other").ping() < 5


@pytest.mark.thread
def test_a_flooding_publisher_leaves_room_for_others(broker, pouring):
    receivers = [broker.connect(f"receiver-{number}") for number in range(4)]
    for receiver in receivers:
        receiver.subscribe("calm", qos=1)
    for number in range(3):
        pouring(broker.connect(f"flood-{number}"),
                b"".join(mqtt.publish(f"flood/{number}", b"x" * 50) for _ in range(1000)))
    other = broker.connect("other")
    ended = time.monotonic() + 4
    rounds = 0
    while time.monotonic() < ended:
        other.publish("calm", b"x", qos=1)
        for receiver in receivers:
            assert receiver.message(5).payload == b"x"
        rounds += 1
    assert rounds > 3


@pytest.mark.thread
def test_what_a_flood_takes_is_given_back(broker, pouring):
    first = broker.resident_kib()
    for number in range(3):
        client = broker.connect(f"client-{number}", receive_buffer=4096)
        client.subscribe("loop")
        client.send(b"".join(mqtt.publish("loop", b"x" * 1000) for _ in range(200)))
        client.close()
    time.sleep(1)
    assert broker.connect("after").ping() < 5
    assert broker.resident_kib() - first < 64 * 1024


@pytest.mark.thread
def test_connections_that_come_and_go(broker):
    steady = broker.connect("steady")
    steady.subscribe("a", qos=1)
    before = broker.descriptors()
    for number in range(300):
        client = broker.connect(f"client-{number % 10}", 3 + number % 3)
        client.publish("a", b"%d" % number, qos=number % 3)
        if number % 2:
            client.reset()
        else:
            client.send(mqtt.disconnect())
            client.close()
    assert sorted(int(one) for one in steady.payloads(300)) == list(range(300))
    deadline = time.monotonic() + mqtt.PATIENCE_S
    while broker.descriptors() > before + 5:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_ten_thousand_topics(broker):
    client = broker.connect("client")
    for first in range(0, 5000, 500):
        assert set(client.subscribe(*[f"t/{number}" for number in range(first, first + 500)])
                   .reasons) == {0}
    other = broker.connect("other")
    for first in range(0, 5000, 500):
        other.send(b"".join(mqtt.publish(f"t/{number}", b"%d" % number)
                            for number in range(first, first + 500)))
    assert sorted(int(one) for one in client.payloads(5000)) == list(range(5000))
    for first in range(0, 5000, 500):
        client.unsubscribe(*[f"t/{number}" for number in range(first, first + 500)])
    other.publish("t/1", b"x")
    client.quiet()


def test_statistics_name_every_shard(broker):
    import signal
    broker.connect("client").ping()
    broker.send_signal(signal.SIGUSR1)
    log = broker.wait_for_log("mailbox")
    for shard in range(broker.shards):
        assert re.search(rf"shard[ =:#]*{shard}\b", log), log
