# SPDX-License-Identifier: GPL-3.0-or-later
"""MQTT 3.1, 3.1.1 and 5.0 packets, byte by byte, and a blocking client made of them.

For what a client library would never send or would hide. Nothing is checked on the way out, so that
a test can be as wrong as it likes; what comes in is parsed strictly, so that the broker cannot.
"""
import collections
import itertools
import os
import select
import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, \
    UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(1, 16)

NAMES = ["RESERVED", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
         "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
         "AUTH"]

# Generous: a test fails by waiting this long, it never passes by it.
PATIENCE_S = float(os.environ.get("WIRE_PATIENCE_S", "15"))

# name: (identifier, kind); kinds: 1, 2, 4 byte integers, v variable, s string, b binary, p pair.
PROPERTIES = {
    "payload_format": (0x01, "1"), "message_expiry": (0x02, "4"), "content_type": (0x03, "s"),
    "response_topic": (0x08, "s"), "correlation_data": (0x09, "b"),
    "subscription_id": (0x0B, "v"), "session_expiry": (0x11, "4"),
    "assigned_client_id": (0x12, "s"), "server_keep_alive": (0x13, "2"),
    "authentication_method": (0x15, "s"), "authentication_data": (0x16, "b"),
    "request_problem_information": (0x17, "1"), "will_delay": (0x18, "4"),
    "request_response_information": (0x19, "1"), "response_information": (0x1A, "s"),
    "server_reference": (0x1C, "s"), "reason_string": (0x1F, "s"), "receive_maximum": (0x21, "2"),
    "topic_alias_maximum": (0x22, "2"), "topic_alias": (0x23, "2"), "maximum_qos": (0x24, "1"),
    "retain_available": (0x25, "1"), "user_property": (0x26, "p"),
    "maximum_packet_size": (0x27, "4"), "wildcard_available": (0x28, "1"),
    "subscription_ids_available": (0x29, "1"), "shared_available": (0x2A, "1"),
}
PROPERTY_NAMES = {number: (name, kind) for name, (number, kind) in PROPERTIES.items()}


class Closed(Exception):
    """The broker closed the connection."""


class Malformed(Exception):
    """The broker sent something that is not MQTT."""


def variable(number):
    """A variable byte integer."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def u16(number):
    return struct.pack(">H", number)


def binary(value):
    if isinstance(value, str):
        value = value.encode()
    return u16(len(value)) + value


def one_property(name, value):
    number, kind = PROPERTIES[name]
    head = bytes([number])
    if kind in "124":
        return head + value.to_bytes(int(kind), "big")
    if kind == "v":
        return head + variable(value)
    if kind == "p":
        return head + binary(value[0]) + binary(value[1])
    return head + binary(value)


def properties(values):
    """A dict, or a list of pairs where order matters; a list as value means several. With length."""
    if values is None:
        values = {}
    if isinstance(values, bytes):
        return variable(len(values)) + values
    out = b""
    for name, value in (values.items() if isinstance(values, dict) else values):
        for one in value if isinstance(value, list) else [value]:
            out += one_property(name, one)
    return variable(len(out)) + out


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + variable(len(body)) + body


class Will:
    def __init__(self, topic, payload=b"", qos=0, retain=False, props=None):
        self.topic, self.payload, self.qos = topic, payload, qos
        self.retain, self.props = retain, props


def connect(client_id="", version=5, clean=True, keep_alive=60, props=None, will=None,
            username=None, password=None, flags=None):
    name = "MQIsdp" if version == 3 else "MQTT"
    if flags is None:
        flags = (0x02 if clean else 0) | (0x80 if username is not None else 0) | \
            (0x40 if password is not None else 0)
        if will:
            flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
    body = binary(name) + bytes([version, flags]) + u16(keep_alive)
    if version == 5:
        body += properties(props)
    body += binary(client_id)
    if will:
        if version == 5:
            body += properties(will.props)
        body += binary(will.topic) + binary(will.payload)
    if username is not None:
        body += binary(username)
    if password is not None:
        body += binary(password)
    return packet(CONNECT, 0, body)


def publish(topic, payload=b"", qos=0, retain=False, dup=False, packet_id=None, props=None,
            version=5):
    if isinstance(payload, str):
        payload = payload.encode()
    body = binary(topic)
    if packet_id is not None:
        body += u16(packet_id)
    if version == 5:
        body += properties(props)
    return packet(PUBLISH, (8 if dup else 0) | qos << 1 | (1 if retain else 0), body + payload)


def ack(kind, packet_id, reason=None, props=None):
    """PUBACK, PUBREC, PUBREL, PUBCOMP."""
    body = u16(packet_id)
    if reason is not None:
        body += bytes([reason])
    if props is not None:
        body += properties(props)
    return packet(kind, 2 if kind == PUBREL else 0, body)


def filter_options(qos=0, no_local=False, retain_as_published=False, retain_handling=0):
    return qos | (4 if no_local else 0) | (8 if retain_as_published else 0) | retain_handling << 4


def subscribe(packet_id, filters, props=None, version=5):
    """`filters`: pairs of filter and options byte."""
    body = u16(packet_id) + (properties(props) if version == 5 else b"")
    for name, options in filters:
        body += binary(name) + bytes([options])
    return packet(SUBSCRIBE, 2, body)


def unsubscribe(packet_id, filters, props=None, version=5):
    body = u16(packet_id) + (properties(props) if version == 5 else b"")
    return packet(UNSUBSCRIBE, 2, body + b"".join(binary(name) for name in filters))


def disconnect(reason=None, props=None):
    body = b"" if reason is None else bytes([reason])
    return packet(DISCONNECT, 0, body + (properties(props) if props is not None else b""))


def auth(reason, props=None):
    return packet(AUTH, 0, bytes([reason]) + properties(props))


PING = packet(PINGREQ, 0, b"")


class Reader:
    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, size):
        if self.at + size > len(self.body):
            raise Malformed(f"{self.body.hex()} ends early")
        self.at += size
        return self.body[self.at - size:self.at]

    def integer(self, size):
        return int.from_bytes(self.take(size), "big")

    def variable(self):
        total = 0
        for shift in range(0, 28, 7):
            byte = self.take(1)[0]
            total |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return total
        raise Malformed("variable byte integer of five bytes")

    def binary(self):
        return self.take(self.integer(2))

    def text(self):
        return self.binary().decode()

    def rest(self):
        return self.take(len(self.body) - self.at)

    def left(self):
        return len(self.body) - self.at

    def properties(self):
        """A dict; user_property and subscription_id are lists, all others may come only once."""
        inner = Reader(self.take(self.variable()))
        found = {}
        while inner.left():
            number = inner.integer(1)
            if number not in PROPERTY_NAMES:
                raise Malformed(f"property {number:#x}")
            name, kind = PROPERTY_NAMES[number]
            if kind in "124":
                value = inner.integer(int(kind))
            elif kind == "v":
                value = inner.variable()
            elif kind == "p":
                value = (inner.text(), inner.text())
            else:
                value = inner.text() if kind == "s" else inner.binary()
            if name in ("user_property", "subscription_id"):
                found.setdefault(name, []).append(value)
            elif name in found:
                raise Malformed(f"property {name} twice")
            else:
                found[name] = value
        return found


class Packet:
    """What came in. Fields depend on the type; `props` is always there."""

    def __init__(self, kind, flags, body, version):
        self.kind, self.flags, self.size = kind, flags, len(body)
        self.reason, self.props, self.packet_id = 0, {}, None
        reader = Reader(body)
        if kind == CONNACK:
            self.session_present = reader.integer(1)
            self.reason = reader.integer(1)
            if version == 5:
                self.props = reader.properties()
            if self.session_present not in (0, 1):
                raise Malformed("CONNACK flags")
        elif kind == PUBLISH:
            self.retain, self.qos, self.dup = flags & 1, flags >> 1 & 3, flags >> 3
            self.topic = reader.text()
            if self.qos:
                self.packet_id = reader.integer(2)
                if self.packet_id == 0:
                    raise Malformed("packet identifier 0")
            elif self.dup:
                raise Malformed("DUP at QoS 0")
            if version == 5:
                self.props = reader.properties()
            self.payload = reader.rest()
        elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            if flags != (2 if kind == PUBREL else 0):
                raise Malformed(f"{NAMES[kind]} flags")
            self.packet_id = reader.integer(2)
            if version == 5 and reader.left():
                self.reason = reader.integer(1)
                if reader.left():
                    self.props = reader.properties()
        elif kind in (SUBACK, UNSUBACK):
            self.packet_id = reader.integer(2)
            if version == 5:
                self.props = reader.properties()
            self.reasons = list(reader.rest())
        elif kind in (DISCONNECT, AUTH):
            if version != 5:
                raise Malformed(f"{NAMES[kind]} from the broker before MQTT 5")
            if reader.left():
                self.reason = reader.integer(1)
                if reader.left():
                    self.props = reader.properties()
        elif kind != PINGRESP:
            raise Malformed(f"packet of type {kind} from the broker")
        if kind not in (PUBLISH, PUBREL) and flags != 0:
            raise Malformed(f"{NAMES[kind]} flags {flags}")
        if reader.left():
            raise Malformed(f"{reader.left()} bytes too many in {NAMES[kind]} {body.hex()}")

    def __repr__(self):
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items()
                           if name not in ("kind", "flags", "size"))
        return f"{NAMES[self.kind]}({fields})"


class Client:
    """One connection. QoS handshakes of received messages are done unless auto_ack is False."""

    def __init__(self, address, version=5, auto_ack=True, receive_buffer=None):
        self.version, self.auto_ack = version, auto_ack
        family = socket.AF_UNIX if isinstance(address, str) else \
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.poll = select.poll()  # select() cannot do more than 1024 descriptors
        self.poll.register(self.socket, select.POLLIN)
        self.buffer = bytearray()
        self.inbox = collections.deque()  # packets that came while waiting for another
        self.ids = itertools.cycle(range(1, 0x10000))
        self.client_id = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Ends the connection by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as problem:
            raise Closed(str(problem)) from problem

    def next_id(self):
        return next(self.ids)

    # Coming in.

    def _frame(self):
        """A packet out of the buffer, or None."""
        if len(self.buffer) < 2:
            return None
        length = 0
        for index in range(1, 5):
            if index >= len(self.buffer):
                return None
            length |= (self.buffer[index] & 0x7F) << 7 * (index - 1)
            if not self.buffer[index] & 0x80:
                break
        else:
            raise Malformed("remaining length of five bytes")
        end = index + 1 + length
        if len(self.buffer) < end:
            return None
        kind, flags = divmod(self.buffer[0], 16)
        body = bytes(self.buffer[index + 1:end])
        del self.buffer[:end]
        return Packet(kind, flags, body, self.version)

    def _answer(self, found):
        if not self.auto_ack:
            return
        if found.kind == PUBLISH and found.qos:
            self.send(ack(PUBACK if found.qos == 1 else PUBREC, found.packet_id))
        elif found.kind == PUBREL:
            self.send(ack(PUBCOMP, found.packet_id))

    def _read(self, deadline):
        """The next packet from the socket; None at the deadline, Closed at the end."""
        while True:
            found = self._frame()
            if found:
                self._answer(found)
                return found
            left = deadline - time.monotonic()
            if not self.poll.poll(max(0, left) * 1000):
                return None
            try:
                data = self.socket.recv(1 << 16)
            except OSError as problem:
                raise Closed(str(problem)) from problem
            if not data:
                raise Closed("end of file")
            self.buffer += data

    def receive(self, timeout=PATIENCE_S):
        """The next packet of any type; None when none came."""
        if self.inbox:
            return self.inbox.popleft()
        return self._read(time.monotonic() + timeout)

    def expect(self, *kinds, timeout=PATIENCE_S):
        """The next packet of one of these types; others wait in the inbox."""
        for index, found in enumerate(self.inbox):
            if found.kind in kinds:
                del self.inbox[index]
                return found
        deadline = time.monotonic() + timeout
        while True:
            found = self._read(deadline)
            assert found, f"no {' or '.join(NAMES[kind] for kind in kinds)} in {timeout} s; " \
                          f"waiting: {list(self.inbox)}"
            if found.kind in kinds:
                return found
            assert found.kind != DISCONNECT, f"{found} instead of {[NAMES[k] for k in kinds]}"
            self.inbox.append(found)

    def message(self, timeout=PATIENCE_S):
        """The next PUBLISH."""
        return self.expect(PUBLISH, timeout=timeout)

    def messages(self, count, timeout=PATIENCE_S):
        return [self.message(timeout) for _ in range(count)]

    def payloads(self, count, timeout=PATIENCE_S):
        return [found.payload for found in self.messages(count, timeout)]

    def quiet(self, seconds=0.3):
        """Nothing comes for a while, acknowledgements of QoS 2 excepted."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.inbox.popleft() if self.inbox else self._read(deadline)
            if found is None:
                return
            assert found.kind in (PUBREL,), f"unexpected {found}"

    def closed(self, timeout=PATIENCE_S):
        """Waits for the end of the connection; returns the reason of a DISCONNECT before, or None."""
        reason = None
        deadline = time.monotonic() + timeout
        try:
            while True:
                found = self.inbox.popleft() if self.inbox else self._read(deadline)
                assert found, f"the connection is still open after {timeout} s"
                if found.kind in (DISCONNECT, CONNACK):
                    reason = found.reason
        except Closed:
            return reason

    # Conversations.

    def connect(self, client_id="", clean=True, **more):
        self.client_id = client_id
        self.send(connect(client_id, self.version, clean, **more))
        return self.expect(CONNACK)

    def subscribe(self, *filters, qos=0, props=None, **options):
        """Filters as text (with `qos` and `options`) or (text, options byte). Returns SUBACK."""
        packet_id = self.next_id()
        pairs = [one if isinstance(one, tuple) else (one, filter_options(qos, **options))
                 for one in filters]
        self.send(subscribe(packet_id, pairs, props, self.version))
        answer = self.expect(SUBACK)
        assert answer.packet_id == packet_id
        return answer

    def unsubscribe(self, *filters):
        packet_id = self.next_id()
        self.send(unsubscribe(packet_id, filters, None, self.version))
        answer = self.expect(UNSUBACK)
        assert answer.packet_id == packet_id
        return answer

    def publish(self, topic, payload=b"", qos=0, retain=False, props=None):
        """Completes the handshake. Returns the reason code of its first answer."""
        packet_id = self.next_id() if qos else None
        self.send(publish(topic, payload, qos, retain, False, packet_id, props, self.version))
        if qos == 0:
            return 0
        answer = self.expect(PUBACK if qos == 1 else PUBREC)
        assert answer.packet_id == packet_id
        if qos == 2 and answer.reason < 0x80:
            self.send(ack(PUBREL, packet_id))
            assert self.expect(PUBCOMP).packet_id == packet_id
        return answer.reason

    def ping(self, timeout=PATIENCE_S):
        """A round trip; returns seconds."""
        started = time.monotonic()
        self.send(PING)
        self.expect(PINGRESP, timeout=timeout)
        return time.monotonic() - started

    def leave(self, reason=None, props=None):
        """DISCONNECT, then wait until the broker has closed."""
        self.send(disconnect(reason, props))
        return self.closed()
