# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clients: Mosquitto's programs, Paho for Python and C, MQTT.js."""
import os
import queue
import shutil
import subprocess
import time

import pytest

from broker import BUILD

HERE = os.path.dirname(os.path.abspath(__file__))


def finish(process, timeout=30):
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        pytest.fail(f"{process.args} does not end: {out} {errors}")
    assert process.returncode == 0, f"{process.args}: {out} {errors}"
    return out


def run(*arguments, **more):
    return finish(subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, **more))


def subscriber(broker, *arguments):
    """mosquitto_sub, once it has subscribed."""
    process = subprocess.Popen(
        ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-d", "-W", "30", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ,
                                                                        "LC_ALL": "C.UTF-8"})
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if line.startswith("Subscribed"):
            return process
    process.wait()
    raise AssertionError(f"{lines} {process.stderr.read()}")


def payload_lines(text):
    return [line for line in text.splitlines() if not line.startswith("Client ")]


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_mosquitto_programs(broker, version, qos):
    listener = subscriber(broker, "-V", version, "-q", qos, "-t", "room/+/temperature", "-C", "3")
    for number in range(3):
        run("mosquitto_pub", "-p", str(broker.port), "-V", version, "-q", qos, "-t",
            f"room/{number}/temperature", "-m", f"{20 + number} degrees")
    assert sorted(payload_lines(finish(listener))) == [f"{20 + n} degrees" for n in range(3)]


def test_mosquitto_retained_will_and_properties(broker):
    port = str(broker.port)
    run("mosquitto_pub", "-p", port, "-V", "mqttv5", "-q", "1", "-r", "-t", "kept", "-m", "value",
        "-D", "publish", "user-property", "name", "value", "-D", "publish", "content-type", "text")
    out = run("mosquitto_sub", "-p", port, "-V", "mqttv5", "-t", "kept", "-C", "1", "-W", "20",
              "-F", "%r %p %C %P")
    assert out.strip() == "1 value text name:value"
    listener = subscriber(broker, "-V", "mqttv5", "-t", "will", "-C", "1")
    dying = subprocess.Popen(["stdbuf", "-oL", "mosquitto_sub", "-p", port, "-V", "mqttv5", "-t", "x", "-d",
                              "--will-topic", "will", "--will-payload", "gone"],
                             stdout=subprocess.PIPE, text=True)
    while not dying.stdout.readline().startswith("Subscribed"):
        pass
    dying.kill()
    dying.wait()
    assert payload_lines(finish(listener)) == ["gone"]


def test_mosquitto_request_and_response(broker):
    port = str(broker.port)
    listener = subscriber(broker, "-V", "mqttv5", "-t", "service", "-C", "1", "-F", "%R")
    asking = subprocess.Popen(["mosquitto_rr", "-p", port, "-V", "mqttv5", "-t", "service", "-e",
                               "answer/1", "-m", "question", "-W", "20"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    answer_to = payload_lines(finish(listener))[-1]
    run("mosquitto_pub", "-p", port, "-V", "mqttv5", "-t", answer_to, "-m", "answer")
    assert finish(asking).strip() == "answer"


@pytest.mark.thread
@pytest.mark.parametrize("version", [3, 4, 5])
def test_paho_for_python(broker, version):
    import paho.mqtt.client as paho

    def client(name):
        one = paho.Client(name, protocol=version)
        one.seen, one.subscribed = queue.Queue(), queue.Queue()
        one.on_message = lambda client, data, message: one.seen.put(message)
        one.on_subscribe = lambda *arguments: one.subscribed.put(arguments)
        one.connect("127.0.0.1", broker.port)
        one.loop_start()
        return one

    receiver, sender = client("receiver"), client("sender")
    receiver.subscribe("a/#", 2)
    receiver.subscribed.get(timeout=20)
    for number in range(60):
        sender.publish(f"a/{number}", f"{number}", qos=number % 3).wait_for_publish(20)
    found = {}
    for _ in range(60):
        message = receiver.seen.get(timeout=20)
        assert message.qos == int(message.payload) % 3
        found[message.topic] = message.payload.decode()
    assert found == {f"a/{number}": str(number) for number in range(60)}
    for one in (receiver, sender):
        one.disconnect()
        one.loop_stop()
    time.sleep(0.2)
    assert receiver.seen.empty()


@pytest.mark.thread
@pytest.mark.release
@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_js(broker, version):
    modules = os.path.join(os.environ.get("MQTT_JS", ""), "node_modules")
    if not shutil.which("node") or not os.path.isdir(modules):
        pytest.fail("MQTT.js is not installed: scripts/test wire does it")
    out = run("node", os.path.join(HERE, "js", "round_trip.js"), str(broker.port), str(version),
              env={**os.environ, "NODE_PATH": modules})
    assert "complete" in out


@pytest.mark.thread
@pytest.mark.parametrize("version", [3, 4, 5])
def test_paho_for_c(broker, version):
    program = os.path.join(BUILD, "tests", "wire", "paho_c")
    if not os.path.exists(program):
        pytest.skip("built only with the tests")
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # leaks of the library
    run(program, f"tcp://127.0.0.1:{broker.port}", str(version), "a/topic", env=environment)
