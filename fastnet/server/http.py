"""HTTP/1.1 for load tests: every request gets the same answer, at once or after a delay. Requests are parsed by httptools (llhttp)."""

from collections import deque
from http import HTTPStatus

import httptools

from fastnet.server.base import LoadServer, Session
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Timed

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def response(status: int, body: bytes, keep_alive: bool, head: bool = False) -> bytes:
    """The bytes of an answer (RFC 9112); without the body where the request was HEAD."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    lines = [f"HTTP/1.1 {status} {reason}", "Server: fastnet"]
    # 1xx and 204 have no content and say nothing of its length; 304 has none (RFC 9110 section 8.6).
    empty = status < 200 or status in (204, 304)
    if not empty:
        lines += ["Content-Type: text/plain", f"Content-Length: {len(body)}"]
    if not keep_alive:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if head or empty else body)


class Http:
    """Answers every request alike.

    :param status: of the answer, 200 to 599
    :param body: of the answer
    :param delay: seconds from the end of a request to its answer
    :raises ValueError: status or delay out of range
    """

    name = "http"

    def __init__(self, body: bytes = b"hello from fastnet\n", status: int = 200, delay: float = 0.0) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"a status is 200 to 599, not {status}")
        if not 0 <= delay <= 3600:
            raise ValueError(f"a delay is 0 to 3600 seconds, not {delay}")
        self.delay = int(delay * 1e9)
        self.answers: dict[tuple[bool, bool] | None, bytes] = {
            (keep_alive, head): response(status, body, keep_alive, head) for keep_alive in (True, False) for head in (True, False)
        }
        # To what is no request.
        self.answers[None] = _BAD_REQUEST
        self.requests = 0

    def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
        """A session that answers requests."""
        return _HttpSession(connection, server, self)


class _HttpSession(Session):
    """Parses requests and answers them in their order (pipelined ones too).

    :ivar owed: answers that are due, by their key in ``Http.answers``: what is kept of a request
    :ivar waiting: answers whose delay is not over
    """

    __slots__ = ("closing", "head", "keep_alive", "mode", "now", "owed", "parser", "waiting")

    def __init__(self, connection: Connection, server: LoadServer, mode: Http) -> None:
        super().__init__(connection, server)
        self.mode = mode
        self.parser = httptools.HttpRequestParser(self)
        self.keep_alive = True
        self.head = False
        self.closing = False
        self.now = 0
        self.owed: deque[tuple[bool, bool] | None] = deque()
        self.waiting = 0

    def wants_more(self) -> bool:
        # What comes after the last request is read and forgotten: left unread, it would make the close a RST.
        return self.closing or not (self.pending or self.owed or self.waiting)

    def received(self, data: bytes, now: int) -> None:
        if self.closing:
            return
        self.now = now
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.closing = True
        except httptools.HttpParserError:
            self.closing = True
            self.owed.append(None)
        self.answer(now)

    def on_headers_complete(self) -> None:
        """httptools: the request's head is there."""
        self.keep_alive = self.parser.should_keep_alive()
        self.head = self.parser.get_method() == b"HEAD"

    def on_message_complete(self) -> None:
        """httptools: the whole request is there."""
        if self.closing:
            return
        self.closing = not self.keep_alive
        self.mode.requests += 1
        key = (self.keep_alive, self.head)
        if self.mode.delay:
            self.waiting += 1
            _Later(self, key, self.now + self.mode.delay)
        else:
            self.owed.append(key)

    def answer(self, now: int) -> None:
        """Write what is owed as far as the peer takes it; close after the last answer."""
        while self.owed and not self.pending and self.connection.writable():
            key = self.owed.popleft()
            self.write(self.mode.answers[key])
        if self.closing and not (self.owed or self.pending or self.waiting or self.connection.readable()):
            self.connection.close(now)

    def writable(self, now: int) -> None:
        self.answer(now)

    def ended(self, now: int) -> None:
        self.closing = True
        self.answer(now)


class _Later(Timed):
    """An answer that waits for its time in the stack's timer wheel."""

    __slots__ = ("key", "session")

    def __init__(self, session: _HttpSession, key: tuple[bool, bool], deadline: int) -> None:
        self.session = session
        self.key = key
        self.timer = session.server.stack.context.timers.add(self, deadline)

    def timer_fires(self, now: int) -> None:
        self.timer = -1
        session = self.session
        session.waiting -= 1
        session.owed.append(self.key)
        session.server.ready(session, now)
