"""HTTP/1.1 for load tests: every request gets the same answer, at once or after a delay. Requests are parsed by httptools (llhttp).

What a client may rely on: persistent connections of HTTP/1.1 and, where it asks for them, of HTTP/1.0; pipelining; HEAD; bodies with a
length or in chunks, which are read and forgotten; ``Expect: 100-continue``. What is no request is answered with 400, 408, 431, 501 or
505, and then the connection ends. There is no ``Date``: the server has no clock that tells the time of day (RFC 9110 section 6.6.1).
"""

from collections import deque
from http import HTTPStatus

import httptools

from fastnet.server.base import LoadServer, Session
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Timed

HEAD_LIMIT = 65536
"""Bytes of a request that may come without its head, a chunk's size line or its trailer coming to an end; more is answered with 431."""
JOIN_LIMIT = 16384
"""A body up to this size is written together with its head."""
LINGER = 5_000_000_000
"""After an error, how long what still comes is read and forgotten, ns: a RST could overtake the answer (RFC 9112 section 9.6)."""

# What an answer says of the connection: a persistent one is the rule in HTTP/1.1, and has to be named in HTTP/1.0 (RFC 9112 section 9.3).
CLOSE = 0
KEEP = 1
KEEP_1_0 = 2
SAID = {CLOSE: "close", KEEP: None, KEEP_1_0: "keep-alive"}

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Key = tuple[int, bool]
"""What tells one answer from another: CLOSE, KEEP or KEEP_1_0, and whether the request was HEAD."""


def response_head(status: int, size: int, connection: str | None = None) -> bytes:
    """The head of an answer (RFC 9112).

    :param size: of its body, bytes
    :param connection: what the Connection field says; None: there is none
    """
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = ""
    lines = [f"HTTP/1.1 {status} {reason}", "Server: fastnet"]
    if has_content(status):
        lines += ["Content-Type: text/plain", f"Content-Length: {size}"]
    if connection is not None:
        lines.append(f"Connection: {connection}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def has_content(status: int) -> bool:
    """1xx and 204 have no content and say nothing of its length; 304 has none (RFC 9110 section 8.6)."""
    return status >= 200 and status not in (204, 304)


class Http:
    """Answers every request alike.

    :param body: of the answer
    :param status: of the answer, 200 to 599
    :param delay: seconds from the end of a request to its answer
    :param request_timeout: seconds that a request may take to arrive, from the connection's beginning or its own first byte; then the
        answer is 408 and the connection ends. 0: as long as it likes
    :param keep_alive_timeout: seconds that a connection may wait for its next request; then it is closed. 0: as long as it likes
    :raises ValueError: a value out of range
    """

    name = "http"

    def __init__(
        self,
        body: bytes = b"hello from fastnet\n",
        status: int = 200,
        delay: float = 0.0,
        request_timeout: float = 0.0,
        keep_alive_timeout: float = 0.0,
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"a status is 200 to 599, not {status}")
        for name, seconds in (("delay", delay), ("request timeout", request_timeout), ("keep-alive timeout", keep_alive_timeout)):
            if not 0 <= seconds <= 3600:
                raise ValueError(f"a {name} is 0 to 3600 seconds, not {seconds}")
        self.delay = int(delay * 1e9)
        self.request_timeout = int(request_timeout * 1e9)
        self.keep_alive_timeout = int(keep_alive_timeout * 1e9)
        self.requests = 0
        # The body once, whatever the head.
        self.answers: dict[Key, tuple[bytes, ...]] = {}
        for said, connection in SAID.items():
            head = response_head(status, len(body), connection)
            self.answers[said, True] = (head,)
            if not body or not has_content(status):
                self.answers[said, False] = (head,)
            elif len(body) <= JOIN_LIMIT:
                self.answers[said, False] = (head + body,)
            else:
                self.answers[said, False] = (head, body)

    def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
        """A session that answers requests."""
        return _HttpSession(connection, server, self, now)


class _HttpSession(Session):
    """Parses requests and answers them in their order (pipelined ones too).

    :ivar owed: answers that are due, by their key in ``Http.answers``: what is kept of a request
    :ivar waiting: answers whose delay is not over
    :ivar refusal: status of the answer to what is no request, 0 without; -1 once it is written
    :ivar reading: a request has begun and is not complete
    :ivar closing: no more requests are answered
    :ivar unfinished: bytes that came since something of the request was complete
    :ivar expecting: the client waits for 100 (Continue)
    :ivar deadline: when the client has had its time, ns; 0: it may take as long as it likes
    :ivar alarm: looks at the deadline; made when there is one
    """

    __slots__ = (
        "alarm", "closing", "deadline", "expecting", "fresh", "head", "hosts", "mode", "now", "owed", "parser", "reading", "refusal",
        "said", "unfinished", "waiting",
    )  # fmt: skip

    def __init__(self, connection: Connection, server: LoadServer, mode: Http, now: int) -> None:
        super().__init__(connection, server)
        self.mode = mode
        self.parser = httptools.HttpRequestParser(self)
        self.said = KEEP
        self.head = False
        self.hosts = 0
        self.closing = False
        self.reading = False
        self.refusal = 0
        self.expecting = False
        self.fresh = False
        self.unfinished = 0
        self.now = now
        self.owed: deque[Key] = deque()
        self.waiting = 0
        self.deadline = 0
        self.alarm: _Alarm | None = None
        if mode.request_timeout:
            self.finish_by(now + mode.request_timeout)

    def wants_more(self) -> bool:
        # What comes after the last request is read and forgotten: left unread, it would make the close a RST.
        return self.closing or not (self.pending or self.owed or self.waiting)

    def received(self, data: bytes, now: int) -> None:
        if self.closing:
            return
        self.now = now
        self.fresh = False
        try:
            self.feed(data)
        except httptools.HttpParserError as error:
            self.refuse(status_of(error))
        if not self.fresh:
            self.unfinished += len(data)
            if self.unfinished > HEAD_LIMIT:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        self.answer(now)

    def feed(self, data: bytes) -> None:
        """Parse; a request for another protocol is answered in this one (RFC 9110 section 7.8)."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self.closing:
                    return
                # The parser stops at the end of that request.
                data = data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        """httptools: the first byte of a request."""
        self.fresh = True
        self.unfinished = 0
        self.reading = True
        self.hosts = 0
        if self.mode.request_timeout:
            self.finish_by(self.now + self.mode.request_timeout)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a field of the head, or of the trailer."""
        size = len(name)
        if size == 4 and name.lower() == b"host":
            self.hosts += 1
        elif size == 6 and name.lower() == b"expect" and value.lower() == b"100-continue":
            self.expecting = True

    def on_headers_complete(self) -> None:
        """httptools: the request's head is there."""
        parser = self.parser
        version = parser.get_http_version()
        keep = parser.should_keep_alive()
        method = parser.get_method()
        self.head = method == b"HEAD"
        if version == "1.1":
            self.said = KEEP if keep else CLOSE
            # RFC 9112 section 3.2.
            if self.hosts != 1:
                self.refuse(HTTPStatus.BAD_REQUEST)
        else:
            self.said = KEEP_1_0 if keep else CLOSE
            # RFC 9110 section 10.1.1.
            self.expecting = False
            if version != "1.0":
                self.refuse(HTTPStatus.BAD_REQUEST)
        if method == b"CONNECT":
            self.refuse(HTTPStatus.NOT_IMPLEMENTED)

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of the body."""
        self.fresh = True
        self.unfinished = 0
        self.expecting = False

    def on_message_complete(self) -> None:
        """httptools: the whole request is there."""
        self.expecting = False
        self.reading = False
        if self.closing:
            return
        self.closing = self.said == CLOSE
        self.deadline = 0
        self.mode.requests += 1
        key = (self.said, self.head)
        if self.mode.delay:
            self.waiting += 1
            _Later(self, key, self.now + self.mode.delay)
        else:
            self.owed.append(key)

    def refuse(self, status: int) -> None:
        """This is no request: say so after the answers to those before it, and end. After the last request, it is not looked at."""
        if not self.closing:
            self.closing = True
            self.expecting = False
            self.refusal = status

    def answer(self, now: int) -> None:
        """Write what is owed as far as the peer takes it; close after the last answer."""
        while self.owed and not self.pending and self.connection.writable():
            for part in self.mode.answers[self.owed.popleft()]:
                self.write(part)
            if self.mode.keep_alive_timeout and not self.closing:
                self.finish_by(now + self.mode.keep_alive_timeout)
        if self.owed or self.pending or self.waiting:
            return
        if self.expecting:
            self.expecting = False
            self.write(CONTINUE)
        if self.closing:
            self.end(now)

    def end(self, now: int) -> None:
        """The last answer is written."""
        connection = self.connection
        if self.refusal > 0:
            self.write(response_head(self.refusal, 0, "close"))
            self.refusal = -1
            self.finish_by(now + LINGER)
        if self.refusal and not connection.fin_received:
            if not self.pending:
                connection.shutdown()
        elif not self.pending and not connection.readable():
            connection.close(now)

    def writable(self, now: int) -> None:
        self.answer(now)

    def ended(self, now: int) -> None:
        self.closing = True
        self.answer(now)

    # ---- time ----

    def finish_by(self, deadline: int) -> None:
        """Give the client until then."""
        self.deadline = deadline
        if self.alarm is None:
            self.alarm = _Alarm(self, deadline)
        elif deadline < self.alarm.due:
            self.alarm.set(deadline)

    def timed_out(self, now: int) -> None:
        """It did not come in time."""
        self.deadline = 0
        if self.reading and not self.closing:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
            self.answer(now)
        else:
            # It has asked for nothing, or was told already.
            self.closing = True
            self.connection.close(now)
        self.ready(now)

    def over(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None


def status_of(error: httptools.HttpParserError) -> int:
    """The status for what llhttp could not read: another version of HTTP, or nothing of the kind."""
    text = str(error)
    return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if "Invalid HTTP version" in text or "PRI" in text else HTTPStatus.BAD_REQUEST


class _Later(Timed):
    """An answer that waits for its time in the stack's timer wheel."""

    __slots__ = ("key", "session")

    def __init__(self, session: _HttpSession, key: Key, deadline: int) -> None:
        self.session = session
        self.key = key
        self.timer = session.server.stack.context.timers.add(self, deadline)

    def timer_fires(self, now: int) -> None:
        self.timer = -1
        session = self.session
        session.waiting -= 1
        session.owed.append(self.key)
        session.ready(now)


class _Alarm(Timed):
    """Looks at a session's deadline, which moves while this stays where it is: a request sets no timer.

    :ivar due: when it looks, ns
    """

    __slots__ = ("due", "session")

    def __init__(self, session: _HttpSession, deadline: int) -> None:
        self.session = session
        self.due = deadline
        self.timer = session.server.stack.context.timers.add(self, deadline)

    def set(self, deadline: int) -> None:
        """Look then."""
        self.due = deadline
        self.session.server.stack.context.timers.move(self.timer, deadline)

    def cancel(self) -> None:
        """Look no more."""
        if self.timer >= 0:
            self.session.server.stack.context.timers.remove(self.timer)
            self.timer = -1

    def timer_fires(self, now: int) -> None:
        self.timer = -1
        session = self.session
        deadline = session.deadline
        if deadline and deadline <= now:
            session.timed_out(now)
        if session.connection.owner is not session:
            return
        if session.deadline:
            self.due = session.deadline
            self.timer = session.server.stack.context.timers.add(self, self.due)
        else:
            session.alarm = None
