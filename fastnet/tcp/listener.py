"""The handshake: a listener with its syn queue and its accept queue, as Linux keeps them.

    SYN ---> Request in ``syn_queue`` ---> SYN-ACK (again after 1, 2, 4, ... s) ---> final ACK ---> Connection in ``accept_queue``
    SYN, the queue full ---> SYN-ACK whose sequence number is a cookie, and no Request -----^

Every rule below names the function of Linux's source that has the same one (net/ipv4, version 6.x).
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from fastnet._flow import FourTuple
from fastnet._headers import (
    ACK,
    FIN,
    OPTION_MSS,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WSCALE,
    RST,
    SYN,
    Segment,
)  # fmt: skip
from fastnet._path import Path
from fastnet.tcp.congestion import needs_ecn
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context
from fastnet.tcp.cookies import VALID, CookieJar
from fastnet.tcp.fastaccept import EarlyConnection
from fastnet.tcp.fastopen import EVERY_LISTENER, OFFER, ORDINARY, SERVER, TAKE_AND_OFFER, FastOpenQueue
from fastnet.tcp.gate import Gate
from fastnet.tcp.numbers import ECT_0, HALF, MASK, MILLISECOND, SECOND
from fastnet.tcp.policy import Arrival, Verdict
from fastnet.tcp.refusals import Refusals
from fastnet.tcp.request import Request, window_shift
from fastnet.tcp.statistics import Statistics
from fastnet.tcp.tuning import Tuned

MAX_TIMEOUT = 120 * SECOND
"""Linux's TCP_RTO_MAX: no wait between two SYN-ACKs is longer."""

ADMIT = 0
COOKIE = 1
REFUSE = 2
"""What ``admits`` says of a SYN."""


class Listener(Tuned):
    """LISTEN on a local address and port.

    :param backlog: length of the accept queue and of the syn queue, bounded by ``somaxconn``; one more connection fits, as in Linux
    :ivar syn_queue: 4-tuple -> ``Request``, in order of arrival
    :ivar accept_queue: connections that nobody has accepted yet, oldest first
    :ivar places: the wildcards, or the address, that the demux has it under
    :ivar ipv4, ipv6: what SYN-ACKs look like, and the packets of connections to begin with
    :ivar user_mss: the most that a SYN-ACK's MSS option says, bytes (TCP_MAXSEG), 0: what the device takes
    :ivar young: requests in the syn queue whose timer never fired
    :ivar gate: what follows the listener's policy, None without one
    :ivar fast_open: what it needs for TCP Fast Open, None without
    :ivar queue_connection: ``accept_queue.append``, and ``next_connection``: ``accept_queue.popleft``, looked up once
    :ivar refused: what was turned away, and why
    :ivar needs_ecn: the congestion control of its connections does (tcp_ca_needs_ecn())
    :ivar completing: the request whose connection is being made just now, None otherwise
    :ivar syn_queue_high, accept_queue_high: the most that were in the queues at once
    :ivar requests, cookies_sent, completed, cookies_redeemed: as in ``Statistics``
    """

    __slots__ = (
        "accept_queue", "accept_queue_high", "address", "allowed", "closed", "completed", "completing", "context", "cookies",
        "cookies_redeemed", "cookies_sent", "fast_open", "gate", "ipv4", "ipv6", "needs_ecn", "next_connection", "places", "port",
        "queue_connection", "rcv_shift", "rcv_wnd", "refused", "requests", "syn_queue", "syn_queue_high", "user_mss", "young",
    )  # fmt: skip

    def __init__(self, context: Context, address: str, port: int, backlog: int) -> None:
        if getattr(self, "context", None) is not None:
            raise TypeError("a Listener is made once")
        settings = context.settings
        self.id = -1
        self.timer = -1
        self.notified = False
        self.owner = None
        self.context = context
        self.cookies: CookieJar = context.cookies
        self.address = address
        self.port = port
        self.closed = False
        self.ipv4 = context.writer.ipv4
        self.ipv6 = context.writer.ipv6
        self.places: tuple[str, ...] = ()
        self.user_mss = 0
        self.needs_ecn = needs_ecn(settings.tcp_congestion_control)
        self.syn_queue: dict[FourTuple, Request] = {}
        self.accept_queue: deque[Connection] = deque()
        self.queue_connection = self.accept_queue.append
        self.next_connection = self.accept_queue.popleft
        self.young = 0
        self.gate: Gate | None = None
        self.fast_open: FastOpenQueue | None = None
        self.refused = Refusals()
        self.syn_queue_high = 0
        self.accept_queue_high = 0
        self.requests = 0
        self.completed = 0
        self.completing: Request | None = None
        self.cookies_sent = 0
        self.cookies_redeemed = 0
        self.allowed = OPTION_MSS
        if settings.tcp_sack:
            self.allowed |= OPTION_SACK_PERMITTED
        if settings.tcp_window_scaling:
            self.allowed |= OPTION_WSCALE
        if settings.tcp_timestamps:
            self.allowed |= OPTION_TIMESTAMPS
        self.rcv_wnd = min(settings.tcp_rmem[1], 0xFFFF)
        self.rcv_shift = window_shift(settings.tcp_rmem[2])
        self.begin(settings, backlog)
        if settings.tcp_fastopen & SERVER and settings.tcp_fastopen & EVERY_LISTENER:
            self.set_fast_open(self.backlog)

    # ---- SEGMENT ARRIVES ----

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """RFC 9293 section 3.10.7.2, for the port; for a 4-tuple that has a request, ``request_segment``."""
        context = self.context
        request = self.syn_queue.get(seg.flow)
        if request is not None:
            self.request_segment(request, seg, now)
            return
        if context.attached:
            # A segment before this one in the batch may have made the connection that this one is for.
            number = context.demux.find(seg.flow)
            if number >= 0:
                endpoint = context.endpoints[number]
                if endpoint is not None:
                    endpoint.segment_arrives(seg, now)
                return
        flags = seg.flags
        if flags & (SYN | ACK | RST | FIN) == SYN:
            if self.gate is None:
                self.syn_arrives(seg, None, now)
            else:
                self.gate.syn_arrives(seg, now)
        elif flags & ACK and not flags & RST:
            # A cookie, if some were sent lately (tcp_synq_no_recent_overflow()).
            if self.cookie_at < 0 or now - self.cookie_at > VALID or flags & SYN:
                context.send_reset(seg)
            else:
                self.cookie_arrives(seg, now)
        elif not flags & RST:
            context.counters.TcpInNoFlags += 1
        elif self.gate is None or not self.gate.reset_arrives(seg):
            context.counters.TcpInStrayRsts += 1

    def syn_arrives(self, seg: Segment, choice: Any, now: int) -> None:
        """A SYN for a 4-tuple that is not known: a request, a cookie, or the bound that refuses it (tcp_conn_request()).

        :param choice: what a policy chose for the SYN-ACK, or None
        """
        answer = admits(self, seg.flow)
        if answer == ADMIT:
            offer = None
            if self.fast_open is not None and choice is None:
                judgement = self.fast_open.judge(seg, now)
                if judgement > OFFER:
                    self.accept_early(self.fast_open, seg, judgement, now)
                    return
                if judgement != ORDINARY:
                    offer = self.fast_open
            request = Request.__new__(Request)
            request.open(self.context, self, seg, seg.options & self.allowed, self.rcv_wnd, self.rcv_shift, now)
            if offer is not None:
                request.choice = offer
            elif choice is not None:
                choice.apply(request, now)
            enter(self, request, now)
        elif answer == COOKIE:
            self.send_cookie(seg, now)

    def accept_early(self, queue: FastOpenQueue, seg: Segment, judgement: int, now: int) -> None:
        """A SYN with a good Fast Open cookie: a connection at once, for whoever accepts it (tcp_fastopen_create_child())."""
        context = self.context
        request = Request.__new__(Request)
        request.open(context, self, seg, seg.options & self.allowed, self.rcv_wnd, self.rcv_shift, now)
        request.listener = None
        if self.sources is not None:
            source = self.sources.take(request.flow)
            if source is not None:
                source.connections += 1
                request.source = source
        self.completing = request
        connection = EarlyConnection.__new__(EarlyConnection)
        connection.begin(context, request, queue, seg, now)
        connection.path = self.path_of(request.flow)
        request.user_mss = self.user_mss
        connection.answer(queue.cookie(request.flow, now) if judgement == TAKE_AND_OFFER else b"", now)
        self.queue_connection(connection)
        self.requests += 1
        self.completed += 1
        queued = len(self.accept_queue)
        if queued > self.accept_queue_high:
            self.accept_queue_high = queued
        self.completing = None
        if self.owner is not None:
            context.notify(self)

    def has_room_for(self, flow: FourTuple) -> bool:
        """As ``admits``, for what cannot be answered with a cookie any more: a SYN that waited for the policy."""
        answer = admits(self, flow)
        if answer == COOKIE and len(self.syn_queue) > self.backlog:
            self.context.counters.ListenDrops += 1
            self.refused.syn_queue_full += 1
            answer = REFUSE
        return answer != REFUSE

    def source_has_room(self, flow: FourTuple, cookie: bool) -> bool:
        """May the peer's source have one more request (a cookie is none), and a connection after that?"""
        if self.sources is None:
            return True
        source = self.sources.find(flow)
        if source is None:
            return True
        if self.fastnet_source_connections and source.connections >= self.fastnet_source_connections:
            self.refused.source_connections += 1
            return False
        if self.fastnet_source_requests and source.requests >= self.fastnet_source_requests and not cookie:
            self.refused.source_requests += 1
            return False
        return True

    def enter(self, request: Request, now: int) -> None:
        """Queue a request that waited for the policy, and send its SYN-ACK."""
        enter(self, request, now)

    def path_of(self, flow: FourTuple) -> Path:
        """What packets of a flow look like."""
        return self.ipv6 if flow.version == 6 else self.ipv4

    def mss_to_offer(self, path: Path) -> int:
        """What a SYN-ACK's MSS option says: what the device takes, or less where the program wants that (TCP_MAXSEG)."""
        return min(self.user_mss, path.mss) if self.user_mss else path.mss

    def change_path(self, ttl: int | None = None, tos: int | None = None, fragment: bool | None = None, version: int = 0) -> None:
        """Change what SYN-ACKs look like, and the packets of the connections to come.

        :param version: 4 or 6: only of that family; 0: of both
        :param ttl: time to live, 1 to 255; ``tos``: 0 to 255; ``fragment``: True lets routers fragment; None each: as it was
        """
        if version != 6:
            self.ipv4 = self.ipv4.copy(ttl=ttl, tos=tos, fragment=fragment)
        if version != 4:
            self.ipv6 = self.ipv6.copy(ttl=ttl, tos=tos)

    def send_cookie(self, seg: Segment, now: int) -> None:
        """Answer a SYN and keep nothing."""
        self.cookie_at = now
        self.cookies_sent += 1
        path = self.path_of(seg.flow)
        self.cookies.answer(
            self.context, self, seg, seg.options & self.allowed, self.rcv_wnd, self.rcv_shift, path, self.mss_to_offer(path), now
        )

    def request_segment(self, request: Request, seg: Segment, now: int) -> None:
        """A segment for a request: SYN-RECEIVED of RFC 9293 section 3.10.7.4, in Linux's order (tcp_check_req()): docs/differences.md."""
        context = self.context
        flags = seg.flags
        seq = seg.seq
        rcv_nxt = request.irs + 1 & MASK
        if request.timestamps and not seg.options & OPTION_TIMESTAMPS and not flags & (RST | SYN):
            context.counters.TcpInNoTimestamp += 1  # RFC 7323 section 3.2
            return
        paws = (
            request.timestamps
            and request.ts_recent != 0
            and seg.options & OPTION_TIMESTAMPS != 0
            and (seg.ts_val - request.ts_recent & MASK) >= HALF
        )
        if seq == request.irs and flags & (SYN | ACK | RST | FIN) == SYN and not paws:
            if self.may_answer(request, now):
                answer(self, request, now)
            return
        if flags & (ACK | RST) == ACK and seg.ack != (request.iss + 1 & MASK):
            context.send_reset(seg)
            return
        if paws or seq != rcv_nxt and not in_window(seq, seg.end, rcv_nxt, request.rcv_wnd):
            if paws:
                context.counters.PAWSEstab += 1
            else:
                context.count_outside(seg, rcv_nxt)
            if not flags & RST:
                self.send_request_ack(request, seg, now)
            return
        if seq == request.irs:
            flags &= ~SYN  # The SYN again, with more: it lies before the window.
        if flags & (RST | SYN):
            # RFC 5961 asks for an exact sequence number before a RST is believed.
            if flags & RST and seq != rcv_nxt:
                context.counters.TCPInvalidSequence += 1
                self.send_request_ack(request, seg, now)
                return
            context.counters.TcpAttemptFails += 1
            self.refused.reset += 1
            self.reset_request(request, seg)
            return
        if not flags & ACK:
            context.counters.TcpInNoFlags += 1
            return
        if request.timeouts < self.defer_timeouts and seg.end == rcv_nxt:
            # TCP_DEFER_ACCEPT: not before data comes, or a FIN.
            request.acked = True
            context.counters.TCPDeferAcceptDrop += 1
            return
        self.final_ack_arrives(request, seg, now)

    def final_ack_arrives(self, request: Request, seg: Segment, now: int) -> None:
        """The handshake is complete: a connection, if the accept queue has room (tcp_v4_syn_recv_sock())."""
        if len(self.accept_queue) > self.backlog:
            self.count_overflow()
            if self.tcp_abort_on_overflow:
                self.reset_request(request, seg)
            else:
                request.acked = True
            return
        source = request.source
        if source is not None:
            if self.fastnet_source_connections and source.connections >= self.fastnet_source_connections:
                self.context.counters.ListenDrops += 1
                self.refused.source_connections += 1
                self.reset_request(request, seg)
                return
            source.connections += 1
        self.forget(request)
        self.complete(request, seg, now)

    def cookie_arrives(self, seg: Segment, now: int) -> None:
        """An ACK of what may be a cookie: a connection, if it is one and the accept queue has room (cookie_v4_check())."""
        context = self.context
        request = self.cookies.redeem(context, self, seg, self.allowed, self.rcv_wnd, self.rcv_shift, now)
        if request is None:
            context.counters.SyncookiesFailed += 1
            self.refused.cookie_failed += 1
            context.send_reset(seg)
            return
        context.counters.SyncookiesRecv += 1
        if len(self.accept_queue) > self.backlog:
            self.count_overflow()
            if self.tcp_abort_on_overflow:
                context.send_reset(seg)
            return
        if self.sources is not None:
            if not self.source_has_room(request.flow, True):
                context.counters.ListenDrops += 1
                context.send_reset(seg)
                return
            source = self.sources.take(request.flow)
            if source is not None:
                source.connections += 1
                request.source = source
        self.cookies.spend()
        self.cookies_redeemed += 1
        self.complete(request, seg, now)

    def count_overflow(self) -> None:
        """A final ACK found the accept queue full."""
        self.context.counters.ListenOverflows += 1
        self.context.counters.ListenDrops += 1
        self.refused.accept_queue_full_ack += 1

    def complete(self, request: Request, seg: Segment, now: int) -> None:
        """A connection for whoever accepts it."""
        context = self.context
        # It outlives the listener, and its request lives on with it.
        request.listener = None
        self.completing = request
        if request.choice is None:
            connection = Connection.__new__(Connection)
            connection.establish(context, request, seg, now)
            connection.path = self.path_of(request.flow)
        else:
            kind = request.choice.kind or Connection
            connection = kind.__new__(kind)
            connection.establish(context, request, seg, now)
            if connection.context is not context:
                raise TypeError(f"{kind.__name__}.establish() has not called Connection.establish()")
            connection.path = request.choice.path(self.path_of(request.flow))
        self.queue_connection(connection)
        self.completed += 1
        queued = len(self.accept_queue)
        if queued > self.accept_queue_high:
            self.accept_queue_high = queued
        if seg.length:
            connection.segment_arrives(seg, now)
        self.completing = None
        if self.owner is not None:
            context.notify(self)

    # ---- TIMEOUT, and the end of requests ----

    def request_timeout(self, request: Request, now: int) -> None:
        """No final ACK in time: the SYN-ACK again, or the end of the request (reqsk_timer_handler(), syn_ack_recalc())."""
        context = self.context
        queued = len(self.syn_queue)
        retries = self.tcp_synack_retries
        # More than half full, with few young requests: give old ones up sooner, but not before two SYN-ACKs more.
        if queued * 2 > max(8, self.backlog):
            young = self.young * 2
            while retries > 2 and queued >= young:
                retries -= 1
                young *= 2
        context.counters.TCPTimeouts += 1
        # A peer that answered, and is waited for to send data, is neither given up nor reminded before its time is nearly over.
        waiting = self.defer_timeouts != 0 and request.acked
        if request.timeouts >= retries and not (waiting and request.timeouts < self.defer_timeouts):
            self.forget(request)
            self.refused.unanswered += 1
            context.counters.TcpAttemptFails += 1
            return
        remind = not waiting or request.timeouts >= self.defer_timeouts - 1
        if request.timeouts == 0:
            self.young -= 1
        request.timeouts += 1
        if remind:
            request.retries += 1
            answer(self, request, now)
            context.counters.TCPSynRetrans += 1
            context.counters.TcpRetransSegs += 1
        wait = min(SECOND << min(request.timeouts, 7), MAX_TIMEOUT)
        request.timer = context.timers.add(request, now + wait)

    def forget(self, request: Request) -> None:
        """Take a request out of the syn queue."""
        del self.syn_queue[request.flow]
        if request.timeouts == 0:
            self.young -= 1
        if request.source is not None:
            source = request.source
            source.request_over()
        if request.timer >= 0:
            self.context.timers.remove(request.timer)
            request.timer = -1

    def reset_request(self, request: Request, seg: Segment) -> None:
        """Refuse a request for good: embryonic_reset of tcp_check_req()."""
        self.forget(request)
        self.context.counters.EmbryonicRsts += 1
        self.context.send_reset(seg)

    def send_request_ack(self, request: Request, seg: Segment, now: int) -> None:
        """What we expect, to a peer that is out of step (RFC 9293 section 3.10.7.4, first check)."""
        if (seg.length == 0 or seg.flags & SYN) and not self.may_answer(request, now):
            return
        ts_val = now // MILLISECOND + request.ts_offset & MASK if request.timestamps else -1
        window = request.rcv_wnd >> request.rcv_shift
        self.context.send_ack(seg, request.iss + 1 & MASK, request.irs + 1 & MASK, window, ts_val, request.ts_recent)

    def may_answer(self, request: Request, now: int) -> bool:
        """Is the last answer to what did not bring the request further long enough ago (tcp_oow_rate_limited())?"""
        context = self.context
        if request.answered_at and now - request.answered_at < context.settings.tcp_invalid_ratelimit * MILLISECOND:
            context.counters.TCPACKSkippedSynRecv += 1
            return False
        request.answered_at = now
        return True

    # ---- the program's calls ----

    def accept(self) -> Connection | None:
        """The oldest connection that nobody accepted yet, or None. It may be over already: its state says."""
        if self.context.forked:
            self.context.check()
        if len(self.accept_queue) > 0:
            return self.next_connection()
        return None

    def set_policy(self, policy: Callable[[Arrival], Verdict | None] | None) -> None:
        """Have a policy decide on every SYN from now on (``fastnet.tcp.policy``), or none; SYNs that wait for the old one are dropped.

        :raises TypeError: it cannot be called
        """
        if self.context.forked:
            self.context.check()
        if policy is not None and not callable(policy):
            raise TypeError(f"a policy is called with an Arrival, and {policy!r} cannot be called")
        if self.gate is not None:
            self.gate.close()
        self.gate = Gate(self, policy) if policy is not None else None

    def set_fast_open(self, limit: int) -> None:
        """TCP_FASTOPEN: connections that may wait for their final ACK, whose SYNs brought a good cookie; bounded by somaxconn, 0 for none.

        The bit 2 of tcp_fastopen has to be set too.
        """
        if self.context.forked:
            self.context.check()
        if self.fast_open is None:
            self.fast_open = FastOpenQueue(self.context.fast_open)
        self.fast_open.limit = min(max(limit, 0), self.somaxconn)

    def statistics(self) -> Statistics:
        """Depths, high-water marks and causes of refusal, now."""
        return Statistics(
            len(self.syn_queue), self.young, len(self.accept_queue), len(self.gate.waiting) if self.gate is not None else 0,
            len(self.sources.sources) if self.sources is not None else 0, self.syn_queue_high, self.accept_queue_high, self.requests,
            self.cookies_sent, self.completed, self.cookies_redeemed, self.refused.as_dict(),
        )  # fmt: skip

    def reset_high_water(self) -> None:
        """Let the high-water marks begin again at the present depths."""
        self.syn_queue_high = len(self.syn_queue)
        self.accept_queue_high = len(self.accept_queue)

    def close(self, now: int) -> None:
        """CLOSE (RFC 9293 section 3.10.4): requests are dropped, connections that nobody accepted are reset."""
        if self.context.forked:
            self.context.check()
        if self.closed:
            return
        self.closed = True
        context = self.context
        for place in self.places:
            context.endpoints[context.demux.unlisten(place, self.port)] = None
        context.ports.release(self.address, self.port, True)
        self.id = -1
        self.set_policy(None)
        for request in list(self.syn_queue.values()):
            self.forget(request)
        while self.accept_queue:
            self.accept_queue.popleft().abort(now)


def in_window(seq: int, end: int, rcv_nxt: int, rcv_wnd: int) -> bool:
    """Does [seq, end), which does not begin at RCV.NXT, touch the window (RFC 9293 section 3.10.7.4, first check)?"""
    start = seq - rcv_nxt & MASK
    stop = end - rcv_nxt & MASK
    if start < rcv_wnd:
        return True
    # It begins before the window: does it reach in?
    return start >= HALF and 0 < stop < HALF


# Functions and not methods, so that the compiler can put them into ``syn_arrives``.


def admits(listener: Listener, flow: FourTuple) -> int:
    """Is there room for one more request? ADMIT, COOKIE or REFUSE, which is counted."""
    context = listener.context
    queued = len(listener.syn_queue)
    cookie = listener.tcp_syncookies == 2 or queued > listener.backlog
    if cookie:
        # tcp_syn_flood_action()
        if not listener.tcp_syncookies:
            context.counters.TCPReqQFullDrop += 1
            context.counters.ListenDrops += 1
            listener.refused.syn_queue_full += 1
            return REFUSE
        context.counters.TCPReqQFullDoCookies += 1
    if len(listener.accept_queue) > listener.backlog and (listener.young > 1 or not listener.fastnet_young_request_rule):
        context.counters.ListenOverflows += 1
        context.counters.ListenDrops += 1
        listener.refused.accept_queue_full += 1
        return REFUSE
    if listener.sources is not None and not listener.source_has_room(flow, cookie):
        context.counters.ListenDrops += 1
        return REFUSE
    if cookie:
        return COOKIE
    if queued > listener.syn_queue_limit and not listener.tcp_syncookies:
        context.counters.ListenDrops += 1
        listener.refused.last_quarter += 1
        return REFUSE
    return ADMIT


def answer(listener: Listener, request: Request, now: int) -> None:
    """Send a request's SYN-ACK."""
    # As ``path_of`` and ``mss_to_offer``, without a call for each SYN.
    path = listener.ipv6 if request.flow.version == 6 else listener.ipv4
    mss = path.mss
    if listener.user_mss and listener.user_mss < mss:
        mss = listener.user_mss
    # Under DCTCP (RFC 8257 section 3.6).
    request.send_synack(listener.context, path.with_ecn() if request.ecn & ECT_0 else path, mss, now)


def enter(listener: Listener, request: Request, now: int) -> None:
    """Queue a request, and send its SYN-ACK (inet_csk_reqsk_queue_hash_add())."""
    if listener.sources is not None:
        source = listener.sources.take(request.flow)
        if source is not None:
            source.requests += 1
            request.source = source
    listener.syn_queue[request.flow] = request
    listener.young += 1
    listener.requests += 1
    if len(listener.syn_queue) > listener.syn_queue_high:
        listener.syn_queue_high = len(listener.syn_queue)
    request.timer = listener.context.timers.add(request, now + SECOND)
    answer(listener, request, now)
