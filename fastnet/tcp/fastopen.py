"""TCP Fast Open (RFC 7413): what a stack and a listener know for it. ``fastaccept`` and ``fastconnect`` are the two ends of a connection.

A server gives a client a cookie, which proves that the client hears what is sent to its address; with the cookie, the client's next SYN may
bring data that the program reads before the handshake is over. Cookies are Linux's (``__tcp_fastopen_cookie_gen_cipher()``): SipHash-2-4
of both addresses under a key, so stacks and kernels that share tcp_fastopen_key believe each other's.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from fastnet._flow import FourTuple
from fastnet._headers import ACK, ECE, OPTION_FAST_OPEN, SYN, Segment
from fastnet._path import Path
from fastnet.config import fast_open_keys
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import MASK, MILLISECOND, SECOND
from fastnet.tcp.request import Request

CLIENT = 0x1
SERVER = 0x2
CLIENT_WITHOUT_COOKIE = 0x4
SERVER_WITHOUT_COOKIE = 0x200
EVERY_LISTENER = 0x400
"""Bits of tcp_fastopen."""

COOKIE_SIZE = 8
KIND = 34
"""The option's kind (RFC 7413 section 4.1.1)."""

KEY_LIFE = 3600 * SECOND
"""A key that nobody has set is drawn again after an hour, and its cookies are good for another hour (RFC 7413 section 4.1.2)."""
RESET_LIFE = 60 * SECOND
"""A connection that was reset before its handshake was over counts for so long (RFC 7413 section 5.1, reqsk_fastopen_remove())."""
MOST_SERVERS = 1024
"""Servers whose cookies a client keeps; beyond it, the one that was used longest ago is forgotten."""
LOSS_WAIT = 60 * SECOND
MAX_LOSSES = 6
"""No Fast Open to a server for a minute after a SYN with it was lost; twice that the next time, up to an hour (RFC 7413 section 4.1.3)."""
MAX_PAUSES = 6

ORDINARY = 0
OFFER = 1
TAKE = 2
TAKE_AND_OFFER = 3
"""What ``FastOpenQueue.judge`` says of a SYN: the usual handshake; that with a cookie in the SYN-ACK; its data is for the program at once;
and the SYN-ACK has a cookie, as the one that came will not be good for long."""

Key = tuple[int, int]


class FastOpen:
    """The part of one stack: the keys of its cookies, and the cookies that servers gave it.

    :param settings: those of the stack; ``counters``: its counters
    :param random: n -> n random bytes: where keys come from
    :ivar servers: remote address -> ``Server``, the one that was used last at the end
    :ivar pauses: how often a black hole was found since Fast Open last worked; ``paused_at``: when it was found last, ns
    """

    __slots__ = ("counters", "drawn", "drawn_at", "paused_at", "pauses", "random", "servers", "settings")

    def __init__(self, settings: Any, counters: Any, random: Callable[[int], bytes]) -> None:
        self.settings = settings
        self.counters = counters
        self.random = random
        self.drawn: tuple[Key, ...] = ()
        self.drawn_at = 0
        self.servers: dict[int, Server] = {}
        self.pauses = 0
        self.paused_at = 0

    # ---- a server's ----

    def keys(self, now: int) -> tuple[Key, ...]:
        """The key of new cookies, and the one whose cookies are still good, if there is one."""
        chosen = fast_open_keys(self.settings.tcp_fastopen_key)
        if chosen:
            return chosen
        if not self.drawn or now - self.drawn_at >= KEY_LIFE:
            secret = self.random(16)
            fresh = (int.from_bytes(secret[:8], "little"), int.from_bytes(secret[8:], "little"))
            self.drawn = (fresh, self.drawn[0]) if self.drawn and now - self.drawn_at < 2 * KEY_LIFE else (fresh,)
            self.drawn_at = now
        return self.drawn

    # ---- a client's ----

    def cookie_for(self, flow: FourTuple, cookieless: bool, now: int) -> bytes | None:
        """What a SYN says: a cookie; b"" to ask for one; None to say nothing (tcp_fastopen_cookie_check()).

        :param cookieless: the program has set TCP_FASTOPEN_NO_COOKIE
        """
        if self.is_paused(now) or self.goes_without(cookieless):
            return None
        server = self.servers.get(flow.remote_number)
        if server is None:
            return b""
        if server.losses and now - server.lost_at < LOSS_WAIT << min(server.losses - 1, MAX_LOSSES):
            return None
        return server.cookie

    def goes_without(self, cookieless: bool) -> bool:
        """Does data go on a SYN without a cookie?"""
        return cookieless or self.settings.tcp_fastopen & CLIENT_WITHOUT_COOKIE != 0

    def may_send_data(self, flow: FourTuple, cookieless: bool, now: int) -> bool:
        """Would a SYN to there bring data now?"""
        return bool(self.cookie_for(flow, cookieless, now)) or self.goes_without(cookieless) and not self.is_paused(now)

    def mss_of(self, flow: FourTuple, otherwise: int) -> int:
        """The MSS that a server named last."""
        server = self.servers.get(flow.remote_number)
        return server.mss if server is not None and server.mss else otherwise

    def learn(self, flow: FourTuple, cookie: bytes, mss: int) -> None:
        """A server gave a cookie, or took data with the one that it gave: b"" leaves the cookie as it is (tcp_fastopen_cache_set())."""
        address = flow.remote_number
        server = self.servers.pop(address, None)
        if server is None:
            if not cookie:
                return
            server = Server()
            while len(self.servers) >= MOST_SERVERS:
                del self.servers[next(iter(self.servers))]
        self.servers[address] = server
        server.cookie = cookie or server.cookie
        server.mss = mss
        server.losses = 0

    def lost(self, flow: FourTuple, now: int) -> None:
        """A SYN with Fast Open was lost, and one without arrived: let a while pass before the next."""
        address = flow.remote_number
        server = self.servers.pop(address, None) or Server()
        while len(self.servers) >= MOST_SERVERS:
            del self.servers[next(iter(self.servers))]
        self.servers[address] = server
        server.losses += 1
        server.lost_at = now

    # ---- black holes ----

    def black_hole(self, now: int) -> None:
        """A connection had three timeouts in a row: somebody on the way may drop what has Fast Open (tcp_fastopen_active_disable())."""
        if self.settings.tcp_fastopen_blackhole_timeout_sec:
            self.pauses += 1
            self.paused_at = now
            self.counters.TCPFastOpenBlackhole += 1

    def is_paused(self, now: int) -> bool:
        """Is no Fast Open tried because of a black hole? For tcp_fastopen_blackhole_timeout_sec, and twice as long each time."""
        seconds: int = self.settings.tcp_fastopen_blackhole_timeout_sec
        return self.pauses > 0 and now - self.paused_at < (seconds << min(self.pauses - 1, MAX_PAUSES)) * SECOND

    def worked(self) -> None:
        """A server took data from a SYN: there is no black hole on the way."""
        self.pauses = 0


class Server:
    """What a client knows of a server.

    :ivar cookie: b"": none yet; ``mss``: the MSS that it named, 0: none yet
    :ivar losses: SYNs with Fast Open that were lost since one came back; ``lost_at``: when the last was, ns
    """

    __slots__ = ("cookie", "losses", "lost_at", "mss")

    def __init__(self) -> None:
        self.cookie = b""
        self.mss = 0
        self.losses = 0
        self.lost_at = 0


class FastOpenQueue:
    """The part of one listener (Linux's ``struct fastopen_queue``). It is the ``choice`` of requests whose SYN-ACK brings a cookie.

    :param fast_open: the stack's part
    :ivar limit: connections that may wait for their final ACK (TCP_FASTOPEN)
    :ivar pending: connections that do, and those that were reset meanwhile and still count
    :ivar resets: when each of those counts no more, ns
    :ivar keys: the listener's own (TCP_FASTOPEN_KEY), else ()
    :ivar cookieless: True: data is taken without a cookie (TCP_FASTOPEN_NO_COOKIE)
    """

    __slots__ = ("cookieless", "fast_open", "keys", "kind", "limit", "pending", "resets")

    def __init__(self, fast_open: FastOpen) -> None:
        self.fast_open = fast_open
        self.limit = 0
        self.pending = 0
        self.resets: deque[int] = deque()
        self.keys: tuple[Key, ...] = ()
        self.cookieless = False
        # As an ``Accept`` has it.
        self.kind = None

    def judge(self, seg: Segment, now: int) -> int:
        """ORDINARY, OFFER, TAKE or TAKE_AND_OFFER, for a SYN that the other queues have room for (tcp_try_fastopen())."""
        asked = seg.options & OPTION_FAST_OPEN != 0
        fast_open = self.fast_open
        bits = fast_open.settings.tcp_fastopen
        if not bits & SERVER or not asked and not seg.payload_length:
            return ORDINARY
        counters = fast_open.counters
        cookie = seg.fast_open_cookie()
        if asked and not cookie:
            counters.TCPFastOpenCookieReqd += 1
        if self.limit == 0 or not self.has_room(now):
            return ORDINARY
        if self.cookieless or bits & SERVER_WITHOUT_COOKIE:
            return TAKE
        if not cookie:
            return OFFER if asked else ORDINARY
        keys = self.keys or fast_open.keys(now)
        if cookie == cookie_of(seg.flow, keys[0]):
            return TAKE
        for key in keys[1:]:
            if cookie == cookie_of(seg.flow, key):
                counters.TCPFastOpenPassiveAltKey += 1
                return TAKE_AND_OFFER
        counters.TCPFastOpenPassiveFail += 1
        return OFFER

    def has_room(self, now: int) -> bool:
        """May one more connection wait for its final ACK? If not it is counted (tcp_fastopen_queue_check())."""
        if self.pending < self.limit:
            return True
        if self.resets and self.resets[0] <= now:
            self.resets.popleft()
            self.pending -= 1
            return True
        self.fast_open.counters.TCPFastOpenListenOverflow += 1
        return False

    def leave(self, reset: bool, now: int) -> None:
        """A connection waits no more. One that was reset counts on for a while: SYNs with a stolen cookie are reset by the owner of the
        address, and each would make room for the next (RFC 7413 section 5.1).
        """
        if reset:
            self.resets.append(now + RESET_LIFE)
        else:
            self.pending -= 1

    def cookie(self, flow: FourTuple, now: int) -> bytes:
        """The cookie of a client."""
        return cookie_of(flow, (self.keys or self.fast_open.keys(now))[0])

    def path(self, usual: Path) -> Path:
        """As an ``Accept``'s: the listener's."""
        return usual

    def send_synack(self, request: Request, context: Context, path: Path, mss: int, now: int) -> None:
        """A SYN-ACK with a cookie; sent again it goes without, as perhaps the option was why it did not arrive."""
        flags = SYN | ACK | ECE if request.ecn else SYN | ACK
        options = syn_options(request, mss, now // MILLISECOND + request.ts_offset & MASK, request.ts_recent)
        if request.retries == 0:
            options += fast_open_option(self.cookie(request.flow, now))
        context.writer.verbatim(request.flow, request.iss, request.irs + 1 & MASK, flags, request.rcv_wnd, options, path)


def cookie_of(flow: FourTuple, key: Key) -> bytes:
    """The cookie of a client under a key."""
    return flow.address_prf(key[0], key[1]).to_bytes(COOKIE_SIZE, "little")


def fast_open_option(cookie: bytes) -> bytes:
    """The option with a cookie, b"" to ask for one, filled up with NOPs as Linux does."""
    option = bytes((KIND, 2 + len(cookie))) + cookie
    return option + b"\x01" * (-len(option) % 4)


def syn_options(handshake: Request, mss: int, ts_val: int, ts_ecr: int) -> bytes:
    """The other options of a SYN or SYN-ACK, as ``SegmentWriter.synack`` lays them out."""
    options = b"\x02\x04" + mss.to_bytes(2, "big")
    if handshake.timestamps:
        options += b"\x04\x02" if handshake.sack else b"\x01\x01"
        options += b"\x08\x0a" + ts_val.to_bytes(4, "big") + ts_ecr.to_bytes(4, "big")
    elif handshake.sack:
        options += b"\x01\x01\x04\x02"
    if handshake.wscale:
        options += b"\x01\x03\x03" + bytes((handshake.rcv_shift,))
    return options
