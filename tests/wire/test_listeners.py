# SPDX-License-Identifier: GPL-3.0-or-later
"""Several listeners: IPv4, IPv6 and unix sockets."""
import os
import socket
import stat

import pytest

import mqtt
from broker import Broker, free_port
from test_session import kept


def has_ipv6():
    try:
        free_port(socket.AF_INET6, "::1")
        return True
    except OSError:
        return False


@pytest.fixture
def configured(start, tmp_path):
    """configured(yaml, address): a broker with the listeners of that file."""
    def start_one(text, address):
        path = tmp_path / "shardmq.yaml"
        path.write_text(text)
        one = start(wait=False, port=0, arguments=["--config", str(path)])
        one.wait_for(address)
        one.address = address
        return one
    return start_one


@pytest.mark.thread
@pytest.mark.release
def test_all_kinds_of_listeners_serve_the_same_broker(configured, tmp_path):
    port, port_6 = free_port(), free_port()
    path = str(tmp_path / "socket")
    text = f"listeners:\n  - address: 127.0.0.1:{port}\n    name: first\n" \
           f"  - address: unix:{path}\n    mode: 0600\n"
    addresses = [("127.0.0.1", port), path]
    if has_ipv6():
        text += f"  - address: \"[::1]:{port_6}\"\n"
        addresses.append(("::1", port_6))
    broker = configured(text, addresses[-1])
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    clients = []
    for number, address in enumerate(addresses * 3):
        broker.address = address
        clients.append(broker.connect(f"client-{number}"))
        clients[-1].subscribe("a/#", qos=1)
    for number, client in enumerate(clients):
        client.publish(f"a/{number}", b"x", 1)
        for other in clients:
            assert other.message().topic == f"a/{number}"


def test_a_session_moves_between_listeners(configured, tmp_path):
    port = free_port()
    path = str(tmp_path / "socket")
    broker = configured(f"listeners:\n  - address: 127.0.0.1:{port}\n  - address: unix:{path}\n",
                        path)
    first = kept(broker, "client")
    broker.address = ("127.0.0.1", port)
    assert kept(broker, "client").connack.session_present == 1
    assert first.closed() == 0x8E


def test_a_unix_socket_left_behind_is_replaced(configured, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(path)
    broker = configured(f"listeners:\n  - address: unix:{path}\n", path)
    broker.connect("client").ping()
    broker.stop()
    assert not os.path.exists(path)


def test_a_unix_socket_does_not_replace_a_file(tmp_path, shards):
    path = tmp_path / "precious"
    path.write_text("data")
    config = tmp_path / "shardmq.yaml"
    config.write_text(f"listeners:\n  - address: unix:{path}\n")
    broker = Broker(shards, ["--config", str(config)], port=0).start(wait=False)
    assert broker.process.wait(30) != 0
    assert path.read_text() == "data"
    assert "precious" in broker.log()


def test_a_taken_port_is_reported(tmp_path, shards):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        broker = Broker(shards, port=port).start(wait=False)
        assert broker.process.wait(30) != 0
    assert str(port) in broker.log() and "Sanitizer" not in broker.log()


def test_only_the_loopback_is_served_by_default(broker):
    with open("/proc/net/tcp", encoding="ascii") as file:
        listening = [line.split()[1] for line in file if line.split()[3] == "0A"]
    mine = {address.split(":")[0] for address in listening
            if int(address.split(":")[1], 16) == broker.port}
    assert mine == {"0100007F"}
