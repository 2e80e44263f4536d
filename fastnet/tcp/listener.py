"""The handshake: a listener with its syn queue and its accept queue, as Linux keeps them.

    SYN ---> Request in ``syn_queue`` ---> SYN-ACK (again after 1, 2, 4, ... s) ---> final ACK ---> Connection in ``accept_queue``
    SYN, the queue full ---> SYN-ACK whose sequence number is a cookie, and no Request -----^

Every rule below names the function of Linux's source that has the same one (net/ipv4, version 6.x).
"""

from collections import deque

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
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.cookies import VALID, CookieJar
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND, SECOND
from fastnet.tcp.request import Request, window_shift

MAX_TIMEOUT = 120 * SECOND
"""Linux's TCP_RTO_MAX: no wait between two SYN-ACKs is longer."""


class Listener(Endpoint):
    """LISTEN on a local address and port.

    :param backlog: length of the accept queue and of the syn queue, bounded by ``somaxconn``; one more connection fits, as in Linux
    :ivar syn_queue: 4-tuple -> ``Request``, in order of arrival
    :ivar accept_queue: connections that nobody has accepted yet, oldest first
    :ivar ttl, tos: of SYN-ACKs, and of the connections to begin with; 0: as the stack's
    :ivar young: requests in the syn queue whose SYN-ACK was never sent again
    :ivar cookie_at: when a SYN was last answered with a cookie, ns; -1 before the first
    """

    __slots__ = (
        "accept_queue", "address", "allowed", "backlog", "closed", "context", "cookie_at", "cookies", "port", "rcv_shift", "rcv_wnd",
        "syn_queue", "syn_queue_limit", "synack_retries", "syncookies", "tos", "ttl", "young",
    )  # fmt: skip

    def __init__(self, context: Context, address: str, port: int, backlog: int) -> None:
        settings = context.settings
        self.id = -1
        self.timer = -1
        self.notified = False
        self.owner = None
        self.context = context
        self.cookies: CookieJar = context.cookies
        self.cookie_at = -1
        self.syncookies = settings.tcp_syncookies
        self.address = address
        self.port = port
        self.closed = False
        self.ttl = 0
        self.tos = 0
        self.syn_queue: dict[FourTuple, Request] = {}
        self.accept_queue: deque[Connection] = deque()
        self.young = 0
        self.allowed = OPTION_MSS
        if settings.tcp_sack:
            self.allowed |= OPTION_SACK_PERMITTED
        if settings.tcp_window_scaling:
            self.allowed |= OPTION_WSCALE
        if settings.tcp_timestamps:
            self.allowed |= OPTION_TIMESTAMPS
        self.rcv_wnd = min(settings.tcp_rmem[1], 0xFFFF)
        self.rcv_shift = window_shift(settings.tcp_rmem[2])
        self.synack_retries = settings.tcp_synack_retries
        self.set_backlog(backlog)

    def set_backlog(self, backlog: int) -> None:
        """LISTEN again with another backlog; takes effect at once (inet_listen())."""
        settings = self.context.settings
        self.backlog = min(max(backlog, 0), settings.somaxconn)
        # tcp_conn_request(): without cookies, the last quarter is kept free.
        self.syn_queue_limit = settings.tcp_max_syn_backlog - (settings.tcp_max_syn_backlog >> 2)

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
            self.syn_arrives(seg, now)
        elif flags & ACK and not flags & RST:
            # A cookie, if some were sent lately (tcp_synq_no_recent_overflow()).
            if self.cookie_at < 0 or now - self.cookie_at > VALID or flags & SYN:
                context.send_reset(seg)
            else:
                self.cookie_arrives(seg, now)
        elif not flags & RST:  # A RST has nothing to reset here.
            context.counters.TcpInNoFlags += 1

    def syn_arrives(self, seg: Segment, now: int) -> None:
        """A SYN for a 4-tuple that is not known: queue a request, or say which bound refuses it (tcp_conn_request())."""
        context = self.context
        queued = len(self.syn_queue)
        cookie = self.syncookies == 2 or queued > self.backlog
        if cookie:
            # tcp_syn_flood_action()
            if not self.syncookies:
                context.counters.TCPReqQFullDrop += 1
                context.counters.ListenDrops += 1
                return
            context.counters.TCPReqQFullDoCookies += 1
        if len(self.accept_queue) > self.backlog and (
            self.young > 1 or not context.settings.fastnet_young_request_rule
        ):
            context.counters.ListenOverflows += 1
            context.counters.ListenDrops += 1
            return
        if cookie:
            self.cookie_at = now
            self.cookies.answer(context, seg, seg.options & self.allowed, self.rcv_wnd, self.rcv_shift, now)
            return
        if queued > self.syn_queue_limit and not self.syncookies:
            context.counters.ListenDrops += 1
            return
        request = Request.__new__(Request)
        request.open(context, self, seg, seg.options & self.allowed, self.rcv_wnd, self.rcv_shift, now)
        self.syn_queue[request.flow] = request
        self.young += 1
        request.timer = context.timers.add(request, now + SECOND)
        self.send_synack(request, now)

    def send_synack(self, request: Request, now: int) -> None:
        """The request's SYN-ACK."""
        context = self.context
        if self.ttl or self.tos:
            context.writer.dress(self.ttl, self.tos)
        request.send_synack(context, now)
        if self.ttl or self.tos:
            context.writer.undress()

    def request_segment(self, request: Request, seg: Segment, now: int) -> None:
        """A segment for a request: SYN-RECEIVED of RFC 9293 section 3.10.7.4, in Linux's order (tcp_check_req())."""
        context = self.context
        flags = seg.flags
        seq = seg.seq
        rcv_nxt = request.irs + 1 & MASK
        paws = (
            request.timestamps
            and seg.options & OPTION_TIMESTAMPS != 0
            and (seg.ts_val - request.ts_recent & MASK) >= HALF
        )
        if seq == request.irs and flags & (SYN | ACK | RST | FIN) == SYN and not paws:
            self.send_synack(request, now)
            return
        if flags & ACK and seg.ack != (request.iss + 1 & MASK):
            context.send_reset(seg)
            return
        if paws or seq != rcv_nxt and not in_window(seq, seg.end, rcv_nxt, request.rcv_wnd):
            if paws:
                context.counters.PAWSEstab += 1
            if not flags & RST:
                self.send_request_ack(request, seg, now)
            return
        if seq == request.irs:
            flags &= ~SYN  # The SYN again, with more: it lies before the window.
        if flags & (RST | SYN):
            # RFC 5961 asks for an exact sequence number before a RST is believed.
            if flags & RST and seq != rcv_nxt:
                self.send_request_ack(request, seg, now)
                return
            context.counters.TcpAttemptFails += 1
            self.reset_request(request, seg)
            return
        if not flags & ACK:
            context.counters.TcpInNoFlags += 1
            return
        self.final_ack_arrives(request, seg, now)

    def final_ack_arrives(self, request: Request, seg: Segment, now: int) -> None:
        """The handshake is complete: a connection, if the accept queue has room (tcp_v4_syn_recv_sock())."""
        context = self.context
        if len(self.accept_queue) > self.backlog:
            context.counters.ListenOverflows += 1
            context.counters.ListenDrops += 1
            if context.settings.tcp_abort_on_overflow:
                self.reset_request(request, seg)
            else:
                request.acked = True
            return
        self.forget(request)
        self.complete(request, seg, now)

    def cookie_arrives(self, seg: Segment, now: int) -> None:
        """An ACK of what may be a cookie: a connection, if it is one and the accept queue has room (cookie_v4_check())."""
        context = self.context
        request = self.cookies.redeem(context, self, seg, self.allowed, self.rcv_wnd, self.rcv_shift, now)
        if request is None:
            context.counters.SyncookiesFailed += 1
            context.send_reset(seg)
            return
        context.counters.SyncookiesRecv += 1
        if len(self.accept_queue) > self.backlog:
            context.counters.ListenOverflows += 1
            context.counters.ListenDrops += 1
            if context.settings.tcp_abort_on_overflow:
                context.send_reset(seg)
            return
        self.cookies.spend()
        self.complete(request, seg, now)

    def complete(self, request: Request, seg: Segment, now: int) -> None:
        """A connection for whoever accepts it."""
        context = self.context
        connection = Connection.__new__(Connection)
        connection.establish(context, request, seg, now)
        connection.ttl = self.ttl
        connection.tos = self.tos
        self.accept_queue.append(connection)
        context.counters.TcpPassiveOpens += 1
        context.counters.TcpCurrEstab += 1
        if seg.length:
            connection.segment_arrives(seg, now)
        if self.owner is not None:
            context.notify(self)

    def accept(self) -> Connection | None:
        """The oldest connection that nobody accepted yet, or None. It may be over already: its state says."""
        if self.accept_queue:
            return self.accept_queue.popleft()
        return None

    def request_timeout(self, request: Request, now: int) -> None:
        """No final ACK in time: the SYN-ACK again, or the end of the request (reqsk_timer_handler())."""
        context = self.context
        queued = len(self.syn_queue)
        retries = self.synack_retries
        # More than half full, with few young requests: give old ones up sooner, but not before two SYN-ACKs more.
        if queued * 2 > max(8, self.backlog):
            young = self.young * 2
            while retries > 2 and queued >= young:
                retries -= 1
                young *= 2
        context.counters.TCPTimeouts += 1
        if request.timeouts >= retries:
            self.forget(request)
            context.counters.TcpAttemptFails += 1
            return
        if request.timeouts == 0:
            self.young -= 1
        request.timeouts += 1
        request.retries += 1
        self.send_synack(request, now)
        context.counters.TCPSynRetrans += 1
        context.counters.TcpRetransSegs += 1
        wait = min(SECOND << min(request.timeouts, 7), MAX_TIMEOUT)
        request.timer = context.timers.add(request, now + wait)

    def forget(self, request: Request) -> None:
        """Take a request out of the syn queue."""
        del self.syn_queue[request.flow]
        if request.timeouts == 0:
            self.young -= 1
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
        ts_val = now // MILLISECOND + request.ts_offset & MASK if request.timestamps else -1
        window = request.rcv_wnd >> request.rcv_shift
        self.context.send_ack(seg, request.iss + 1 & MASK, request.irs + 1 & MASK, window, ts_val, request.ts_recent)

    def close(self, now: int) -> None:
        """CLOSE (RFC 9293 section 3.10.4): requests are dropped, connections that nobody accepted are reset."""
        if self.closed:
            return
        self.closed = True
        context = self.context
        context.demux.unlisten(self.address, self.port)
        context.endpoints[self.id] = None
        self.id = -1
        for request in list(self.syn_queue.values()):
            self.forget(request)
        while self.accept_queue:
            self.accept_queue.popleft().abort(now)


def in_window(seq: int, end: int, rcv_nxt: int, rcv_wnd: int) -> bool:
    """Does [seq, end), which does not begin at RCV.NXT, touch the window (tcp_in_window())? If empty, also at its right edge."""
    start = seq - rcv_nxt & MASK
    stop = end - rcv_nxt & MASK
    if start < rcv_wnd:
        return True
    if seq == end and start == rcv_wnd:
        return True
    # It begins before the window: does it reach in?
    return start >= HALF and 0 < stop < HALF
