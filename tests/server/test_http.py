"""The http mode as a strict client sees it, in virtual time; and that a large body is sent in linear time and without copies."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from fastnet.server import Echo, Http, LoadServer, Mode
from fastnet.server.base import Session
from fastnet.server.http import HEAD_LIMIT, LINGER
from fastnet.tcp.states import State
from fastnet.twins import Twins

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nServer: fastnet\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
FULL = OK + b"\r\nhi"
SECOND = 1_000_000_000


class World:
    """A server on one twin, a client on the other."""

    def __init__(self, mode: Mode) -> None:
        self.twins = Twins()
        self.server = LoadServer(self.twins.b, mode, port=80)
        self.clients: list[Any] = []
        self.connect()

    def connect(self) -> None:
        self.client = self.twins.a.connect("198.18.0.2", 80)
        self.run(lambda: self.client.state == State.ESTABLISHED)
        self.got = bytearray()

    def run(self, until: Callable[[], bool], limit: float = 600.0) -> float:
        def turn() -> bool:
            self.server.step(self.twins.clock())
            self.twins.a.flush(self.twins.clock())
            return until()

        return self.twins.run(turn, limit)

    def send(self, data: bytes) -> None:
        sent = 0
        while sent < len(data):
            self.run(lambda: self.client.writable() > 0 or self.client.state == State.CLOSED)
            sent += self.client.send(data[sent:])

    def read(self) -> bytes:
        self.got += self.client.receive(1 << 20)
        return bytes(self.got)

    def is_over(self) -> bool:
        self.read()
        return bool(self.client.fin_received or self.client.state == State.CLOSED)

    def hear(self, expected: bytes) -> None:
        """Exactly these bytes, and not the end."""
        self.run(lambda: len(self.read()) >= len(expected) or self.is_over())
        assert self.got == expected
        assert not self.is_over()
        self.got.clear()

    def leave(self) -> None:
        self.client.close(self.twins.clock())
        self.run(lambda: self.server.open == 0)

    def hear_the_end(self) -> bytes:
        self.run(self.is_over)
        assert self.client.error == 0, "in order"
        return bytes(self.got)


def test_a_large_body_is_sent_without_copies() -> None:
    """Whatever the size, what is allocated on the way is next to nothing."""

    class Slow:
        """A connection that takes little at a time."""

        def __init__(self) -> None:
            self.taken = self.calls = 0

        def send(self, data: Any) -> int:
            self.calls += 1
            self.taken += min(len(data), 65536)
            return min(len(data), 65536)

    size = 64 << 20
    body = bytes(size)
    connection = Slow()

    class Counter:
        bytes_sent = 0

    session = Session(connection, Counter())  # type: ignore[arg-type]
    tracemalloc.start()
    session.write(b"head")
    session.write(body)
    while session.pending:
        session.write_pending()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert connection.taken == size + 4 == session.server.bytes_sent and connection.calls <= size // 65536 + 3
    assert peak < 1 << 20, f"{peak} bytes"


def test_the_answers_share_one_body() -> None:
    body = bytes(10 << 20)
    tracemalloc.start()
    mode = Http(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20 and sum(body is part for answer in mode.answers.values() for part in answer) == 3


def test_a_body_arrives_whole() -> None:
    body = bytes(range(256)) * 4096
    world = World(Http(body))
    world.send(GET + GET)
    head = OK.replace(b": 2\r\n", b": %d\r\n" % len(body)) + b"\r\n"
    world.hear((head + body) * 2)
    world.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    world.hear(head)


def test_echo_keeps_the_order() -> None:
    world = World(Echo())
    data = bytes(range(256)) * 2000
    world.send(data)
    world.hear(data)


def test_pipelined_requests_and_bodies() -> None:
    world = World(Http(b"hi"))
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: trailer\r\n\r\n"
    world.send(GET + post + chunks + GET)
    world.hear(FULL * 4)
    for byte in chunks:
        world.send(bytes([byte]))
    world.hear(FULL)


def test_persistence() -> None:
    """RFC 9112 section 9.3: HTTP/1.1 persists unless told otherwise, HTTP/1.0 only when it asks, and then is told so."""
    world = World(Http(b"hi"))
    for _ in range(3):
        world.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        world.hear(OK + b"Connection: keep-alive\r\n\r\nhi")
    world.send(GET)
    world.hear(FULL)
    world.send(b"GET / HTTP/1.0\r\n\r\n")
    assert world.hear_the_end() == OK + b"Connection: close\r\n\r\nhi"
    world.connect()
    # What comes after the last request is not answered, not even with an error.
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET + b"nonsense")
    assert world.hear_the_end() == OK + b"Connection: close\r\n\r\nhi"


def test_expect_100_continue() -> None:
    world = World(Http(b"hi"))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    world.send(head)
    world.hear(b"HTTP/1.1 100 Continue\r\n\r\n")
    world.send(b"hello")
    world.hear(FULL)
    world.send(head + b"hello")
    world.hear(FULL)
    # After the answers to earlier requests, and not to HTTP/1.0.
    world.send(GET + head)
    world.hear(FULL + b"HTTP/1.1 100 Continue\r\n\r\n")
    world.send(b"hello" + head.replace(b"1.1", b"1.0"))
    world.hear(FULL)


def test_expect_waits_for_delayed_answers() -> None:
    world = World(Http(b"hi", delay=1))
    world.send(GET + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    world.hear(FULL + b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense", b"400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400 Bad Request"),
        (b"GET /\r\n\r\n", b"400 Bad Request"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400 Bad Request"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"501 Not Implemented"),
        (b"GET / HTTP/2.7\r\n\r\n", b"505 HTTP Version Not Supported"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505 HTTP Version Not Supported"),
    ],
)
def test_what_is_no_request(request_: bytes, status: bytes) -> None:
    """It is answered after the requests before it, and the answer is not lost to a RST, however much more comes."""
    answer = b"HTTP/1.1 %s\r\nServer: fastnet\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
    for delay in (0.0, 0.5):
        world = World(Http(b"hi", delay=delay))
        world.send(GET + request_)
        assert world.hear_the_end() == FULL + answer
        world.send(bytes(300_000))
        world.leave()
        world.twins.pass_time(100)
        assert len(world.twins.b.context.timers) == len(world.twins.b.context.demux) == 0
        assert world.twins.b.counters.TcpOutRsts == world.twins.a.counters.TcpEstabResets == 0


def test_what_is_no_request_and_a_fin() -> None:
    """``printf nonsense | nc``: the client's FIN is here when the answer is written."""
    world = World(Http(b"hi"))
    world.client.send(b"nonsense")
    world.client.shutdown()
    assert world.hear_the_end().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert world.server.open == 0


def test_a_client_that_stays_after_an_error_is_let_go() -> None:
    world = World(Http(b"hi"))
    world.send(b"nonsense")
    world.hear_the_end()
    waited = world.run(lambda: world.server.open == 0)
    assert waited * SECOND == pytest.approx(LINGER, rel=0.01)


def test_heads_are_bounded() -> None:
    for start in (b"GET /", b"GET / HTTP/1.1\r\nHost: ", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: "):
        world = World(Http(b"hi"))
        world.send(start)
        sent = 0
        while not world.is_over():
            sent += 1000
            assert sent < 3 * HEAD_LIMIT
            world.send(b"x" * 1000)
            world.run(lambda: True)
            world.twins.pass_time(0.001)
        assert world.hear_the_end().startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert sent > HEAD_LIMIT - 2000
    # A body is none of it, and so is a head that comes in small pieces.
    world = World(Http(b"hi"))
    world.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000))
    world.hear(FULL)
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (HEAD_LIMIT - 1000) + b"\r\n\r\n")
    world.hear(FULL)


def test_upgrades_are_declined() -> None:
    """RFC 9110 section 7.8: the request is answered in the protocol that it came in, and so is the next."""
    world = World(Http(b"hi"))
    world.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET)
    world.hear(FULL * 2)
    world.send(GET)
    world.hear(FULL)


def test_slow_requests_end() -> None:
    world = World(Http(b"hi", request_timeout=5))
    # Nothing was asked: nothing is answered.
    assert world.hear_the_end() == b""
    assert world.twins.clock() / SECOND == pytest.approx(6, abs=0.1)
    world.connect()
    started = world.twins.clock()
    world.send(b"GET / HTTP/1.1\r\n")
    while not world.is_over():
        world.send(b"X: y\r\n")
        world.twins.pass_time(0.9)
        world.run(lambda: True)
    assert world.got.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert 5 <= (world.twins.clock() - started) / SECOND < 7
    # Between requests it may take its time, and each has the whole of it.
    world.connect()
    for _ in range(3):
        world.send(GET[:10])
        world.twins.pass_time(4)
        world.send(GET[10:])
        world.hear(FULL)
        world.twins.pass_time(20)


def test_a_timeout_behind_an_answer_that_waits_for_its_client() -> None:
    """The second request takes too long while nobody reads the first one's answer: both answers come, whole, once they are read."""
    body = bytes(1 << 24)
    world = World(Http(body, request_timeout=5))
    world.send(GET + GET[:10])
    began = world.twins.clock()
    world.run(lambda: world.twins.clock() > began + 20 * SECOND)
    got = world.hear_the_end()
    assert len(got) > len(body) and got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert got[got.index(b"\r\n\r\n") + 4 + len(body) :].startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert world.twins.clock() > began + 20 * SECOND


def test_idle_connections_end() -> None:
    world = World(Http(b"hi", keep_alive_timeout=3))
    world.twins.pass_time(100)
    for wait in (1, 2.9, 0):
        world.send(GET)
        world.hear(FULL)
        world.twins.pass_time(wait)
    started = world.twins.clock()
    assert world.hear_the_end() == b""
    assert (world.twins.clock() - started) / SECOND == pytest.approx(3, abs=0.1)
    world.leave()
    world.twins.pass_time(100)
    assert len(world.twins.b.context.timers) == 0


@pytest.mark.parametrize("value", [-1, 3601])
@pytest.mark.parametrize("name", ["delay", "request_timeout", "keep_alive_timeout"])
def test_times_are_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="0 to 3600 seconds"):
        Http(**{name: value})  # type: ignore[arg-type]
