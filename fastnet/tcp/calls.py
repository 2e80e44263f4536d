"""The user's calls (RFC 9293 section 3.9.1): OPEN is elsewhere; SEND, RECEIVE, CLOSE, ABORT, STATUS and the options are here."""

import errno

from fastnet._headers import ACK, RST
from fastnet.tcp.congestion import algorithm, checked
from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import DONT, ECT_0, HALF, IGNORING, MASK, MILLISECOND, SECOND, WANT
from fastnet.tcp.patience import Patience
from fastnet.tcp.receiver import Receiver
from fastnet.tcp.request import Request
from fastnet.tcp.rtt import RTO_FALLBACK
from fastnet.tcp.sender import Sender
from fastnet.tcp.states import EVENTS, TABLE, Event, State, next_state
from fastnet.tcp.tcb import Tcb

ESTABLISHED = int(State.ESTABLISHED)
FIN_WAIT_2 = int(State.FIN_WAIT_2)
TIME_WAIT = int(State.TIME_WAIT)
CLOSED = int(State.CLOSED)
CLOSE_WAIT = int(State.CLOSE_WAIT)
UNSYNCHRONIZED = (int(State.SYN_SENT), int(State.SYN_RECEIVED))
"""States before the handshake is over."""
FIRST_LIMIT = 1 << 17
"""Bytes that a send buffer takes at least before it has grown (Linux counts the packets that its first write becomes, not the bytes)."""
UNCOMPILED = __file__.endswith(".py")
SENDING = (ESTABLISHED, CLOSE_WAIT, *UNSYNCHRONIZED)
"""States in which SEND queues."""

EVENT_CLOSE = int(Event.CLOSE)
EVENT_ABORT = int(Event.ABORT)


class UserCalls(Tcb):
    """What a program may do with a connection, and the state that it is in.

    :ivar state: a ``State`` number
    :ivar sender: made when there is something to send
    :ivar orphan: the program has closed; nobody will read or write again
    :ivar error: errno of what ended the connection, 0 for an orderly end
    :ivar soft_error: errno of what ICMP last said about the way to the peer (RFC 1122 section 4.2.3.9); it ends nothing
    :ivar heard_at: when the peer last sent something acceptable, ns
    :ivar state_deadline: when the present state ends, ns, or SYN is sent again; 0 without
    :ivar challenged_at: when the last challenge ACK was sent, ns
    :ivar answered: SEG.SEQ and SEG.ACK, mixed into one number, of the last empty segment that was answered although it should not have come
    :ivar pmtudisc: IP_MTU_DISCOVER, counted from IP_PMTUDISC_WANT: below ``IGNORING``, segments are as large as the path takes
    :ivar repeats: how often the same empty segment was answered again (``Connection.asks_anew``)
    :ivar patience: made when the program asks for keep-alive or a user timeout
    :ivar congestion: the congestion control it asked for, None for the setting's
    :ivar send_limit, receive_limit: the buffers that it asked for (SO_SNDBUF, SO_RCVBUF), bytes; 0 for the settings'
    """

    __slots__ = (
        "answered", "challenged_at", "congestion", "error", "heard_at", "orphan", "patience", "pmtudisc", "receive_limit", "repeats",
        "send_limit", "sender", "soft_error", "state", "state_deadline",
    )  # fmt: skip

    state: int
    orphan: bool
    error: int
    soft_error: int
    sender: Sender | None
    patience: Patience | None
    congestion: type[CongestionControl] | None
    send_limit: int
    receive_limit: int
    heard_at: int
    state_deadline: int
    challenged_at: int
    repeats: int
    pmtudisc: int
    answered: int

    def fill(self, context: Context, handshake: Request, state: int, now: int) -> None:
        """What every new connection (made by ``__new__``) begins with, and its 4-tuple taken."""
        if UNCOMPILED:
            self.clear()
        self.id = -1
        self.timer = -1
        self.context = context
        self.handshake = handshake
        self.path = context.writer.path_of(handshake.flow)
        self.state = state
        self.heard_at = now
        context.attach(handshake.flow, self)

    def clear(self) -> None:
        """What a compiled object is made with: zeros, and None."""
        self.notified = False
        self.owner = None
        self.sender = None
        self.receiver = None
        self.ecn = None
        self.patience = None
        self.congestion = None
        self.ack_due = False
        self.pushed = False
        self.queued = False
        self.fin_received = False
        self.orphan = False
        self.nodelay = False
        self.pmtudisc = 0
        self.send_limit = 0
        self.receive_limit = 0
        self.error = 0
        self.soft_error = 0
        self.armed = 0
        self.answered = 0
        self.segs_in = 0
        self.segs_out = 0
        self.state_deadline = 0
        self.challenged_at = 0
        self.repeats = 0

    # ---- Data ----

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """SEND: queue bytes; returns how many fitted under tcp_wmem and tcp_notsent_lowat (0: wait until writable).

        :raises BrokenPipeError: our side is closed
        :raises OSError: the connection failed; ``errno`` says how
        """
        if self.context.forked:
            self.context.check()
        if self.error:
            raise OSError(self.error, errno.errorcode[self.error])
        if self.orphan or self.state not in SENDING:
            raise BrokenPipeError(errno.EPIPE, "the sending side is closed")
        sender = self.sender
        if sender is None:
            sender = self.need_sender()
        elif sender.fin_queued:
            # SYN-RECEIVED, after a shutdown.
            raise BrokenPipeError(errno.EPIPE, "the sending side is closed")
        room = sender.room(self)
        if room <= 0:
            sender.full = True
            return 0
        view = memoryview(data).cast("B")
        if len(view) >= room:
            # No room is left, so whoever asks has to wait, whether this call took everything or not.
            view = view[:room]
            sender.full = True
        if sender.buffer.length + len(view) > sender.buffer.allocated:
            view = view[: sender.share(self, len(view))]
        sender.buffer.append(view)
        self.send_soon()
        return len(view)

    def send_urgent(self, data: bytes | bytearray | memoryview) -> int:
        """SEND with the urgent flag: as ``send``, and what was queued up to its end is urgent (RFC 9293 section 3.8.5)."""
        taken = self.send(data)
        if taken and self.sender is not None:
            # Before the handshake is over, SND.UNA is the SYN's, and the bytes follow it.
            first = self.snd_nxt if self.state in UNSYNCHRONIZED else self.snd_una
            self.sender.urgent = first + self.sender.buffer.length & MASK
        return taken

    def receive(self, size: int) -> bytes:
        """RECEIVE: at most ``size`` bytes; b"" when there are none now (``fin_received`` tells an end from a pause)."""
        if self.context.forked:
            self.context.check()
        receiver = self.receiver
        if receiver is None or receiver.buffer.length == 0:
            return b""
        data = receiver.buffer.take(size)
        self.was_read()
        return data

    def was_read(self) -> None:
        """The reader made room: a window update, once it is worth two full segments, or half of all there is (as BSD has it)."""
        receiver = self.receiver
        if receiver is None:
            return
        if receiver.urgent >= 0 and self.urgent_left() == 0:
            # Read to its end. Kept, it would lie ahead again after 2 GB.
            receiver.urgent = -1
        if self.pushed and receiver.acked != self.rcv_nxt and receiver.buffer.length == 0 and not receiver.pingpong and self.id >= 0:
            # All is read that the peer wrote, and no answer is to be expected: the peer may wait for this ACK (tcp_cleanup_rbuf()).
            self.acknowledge_soon()
        if self.id >= 0 and receiver.buffer.length == 0 and receiver.buffer.allocated:
            # What a burst needed is given back (``Connection.give_back``), however late the reader comes.
            self.wake_at(self.heard_at + SECOND)
        if self.id >= 0 and not self.fin_received:
            if not self.context.memory.is_pressed():
                receiver.measure(self.rcv_nxt, self.rcv_adv, self.round_trip(), receiver.data_at)
            window = self.rcv_adv - self.rcv_nxt & MASK
            gain = min(receiver.growth(self.rcv_nxt, self.rcv_adv), max((0xFFFF << self.handshake.rcv_shift) - window, 0))
            # Linux waits until the window has doubled (__tcp_select_window()): a reader in small steps sends few updates.
            if gain >= min(2 * self.send_mss(), receiver.limit // 2) and (gain >= window or gain >= receiver.limit // 4):
                self.acknowledge_soon()

    def round_trip(self) -> int:
        """The round-trip time as far as it is known, ns: from what came, else from what was sent, else from the handshake, else a guess."""
        if self.receiver is not None and self.receiver.rtt:
            return self.receiver.rtt * MILLISECOND
        return self.round_trip_known() or SECOND

    def round_trip_known(self) -> int:
        """The round-trip time from what was sent, else from the handshake, ns; 0 without."""
        if self.sender is not None and self.sender.rtt.srtt:
            return self.sender.rtt.srtt
        return self.handshake.rtt

    def readable(self) -> int:
        """Bytes that ``receive`` would give now."""
        return self.receiver.buffer.length if self.receiver is not None else 0

    def writable(self) -> int:
        """Bytes that ``send`` would take now."""
        if self.orphan or self.state not in SENDING:
            return 0
        if self.sender is None:
            return min(self.first_send_limit(), self.context.settings.tcp_notsent_lowat)
        if self.sender.fin_queued:
            return 0
        return max(0, self.sender.room(self))

    def first_send_limit(self) -> int:
        """What the send buffer takes before it has grown: SO_SNDBUF, or tcp_wmem's default and ``FIRST_LIMIT`` at least; bytes."""
        wmem = self.context.settings.tcp_wmem
        return self.send_limit or min(max(wmem[1], FIRST_LIMIT), wmem[2])

    def urgent_left(self) -> int:
        """Bytes that are still to be read, or to come, up to the end of the urgent data; 0 when there is none (MUST-33)."""
        receiver = self.receiver
        if receiver is None or receiver.urgent < 0:
            return 0
        # A FIN has a sequence number, and is no byte to read.
        left = receiver.urgent - self.rcv_nxt + self.fin_received + receiver.buffer.length & MASK
        return left if left < HALF else 0

    # ---- The end ----

    def shutdown(self) -> None:
        """CLOSE as RFC 9293 has it: no more to send, but still to receive (SHUT_WR). Where our side is closed already, nothing."""
        if self.context.forked:
            self.context.check()
        if self.state == ESTABLISHED or self.state == CLOSE_WAIT:
            self.need_sender().fin_queued = True
            self.move(EVENT_CLOSE)
            self.send_soon()

    def close(self, now: int) -> None:
        """The program lets go: an orderly end, or a RST where bytes were left unread (tcp_close())."""
        if self.context.forked:
            self.context.check()
        if self.orphan or self.state == CLOSED or self.state == TIME_WAIT:
            self.orphan = True
            return
        if self.readable():
            self.context.counters.TCPAbortOnClose += 1
            self.abort(now)
            return
        self.become_orphan()
        self.shutdown()
        if self.must_go():
            self.abort_for_memory(now)
        elif self.state == FIN_WAIT_2:
            self.end_fin_wait_2(now)

    def become_orphan(self) -> None:
        """Nobody will read or write again."""
        if not self.orphan:
            self.orphan = True
            self.context.orphans += 1

    def must_go(self) -> bool:
        """Are there too many orphans, or is there no memory for this one (tcp_check_oom())?"""
        context = self.context
        queued = self.sender.buffer.length if self.sender is not None else 0
        return context.orphans > context.settings.tcp_max_orphans or context.memory.is_exhausted(queued)

    def abort_for_memory(self, now: int) -> None:
        """A RST for an orphan that there is no room for."""
        self.context.counters.TCPAbortOnMemory += 1
        self.abort(now)

    def end_fin_wait_2(self, now: int) -> None:
        """Nobody waits for the peer's FIN any more: give it tcp_fin_timeout, and let go what only sending needed."""
        self.sender = None
        wait = self.context.settings.tcp_fin_timeout * SECOND
        if self.patience is not None and self.patience.fin_wait:
            wait = self.patience.fin_wait
            if wait < 0:
                self.context.counters.TCPAbortOnLinger += 1
                self.abort(now)
                return
        self.state_deadline = now + wait
        self.wake_at(self.state_deadline)

    def abort(self, now: int) -> None:
        """ABORT (RFC 9293 section 3.10.5): a RST to the peer, and everything is forgotten."""
        if self.context.forked:
            self.context.check()
        if self.state == CLOSED or self.state == TIME_WAIT:
            return
        self.put(self.snd_nxt, RST | ACK, now)
        self.context.counters.TcpOutRsts += 1
        self.error = errno.ECONNABORTED
        self.finish(EVENT_ABORT)

    # ---- Options and status ----

    def set_congestion_control(self, choice: type[CongestionControl] | str) -> None:
        """Another congestion control, by name or as a class of one's own (TCP_CONGESTION); data on its way goes on under it.

        :raises ValueError: no such name, or a class that begins with a CWND that there cannot be
        :raises TypeError: neither a name nor a subclass of ``CongestionControl``
        """
        kind = algorithm(choice) if isinstance(choice, str) else checked(choice, self.send_mss())
        self.congestion = kind
        if self.handshake.ecn:
            self.handshake.ecn = ECT_0 if kind.needs_ecn else 1
        if self.sender is not None:
            recovery = self.sender.recovery
            recovery.replace(kind(self.send_mss()), self.snd_nxt - self.snd_una & MASK)
            if recovery.rates is not None or recovery.congestion.paces() or recovery.congestion.samples():
                recovery.need_rates(self)

    def change_path(self, ttl: int | None = None, tos: int | None = None) -> None:
        """Change what the connection's packets look like.

        :param ttl: time to live, 1 to 255; ``tos``: 0 to 255; None each: as it was
        """
        self.path = self.path.copy(ttl=ttl, tos=tos)

    def set_path_discovery(self, rule: int) -> None:
        """IP_MTU_DISCOVER: whether segments follow the path's MTU, and whether packets leave with DF.

        :param rule: -1 IP_PMTUDISC_DONT, 0 _WANT, 1 _DO, 2 _PROBE, 3 _INTERFACE, 4 _OMIT
        """
        self.pmtudisc = rule
        self.set_fragment(False)
        if self.sender is not None:
            # The next segment asks again.
            self.sender.recovery.path_seen = -1

    def set_fragment(self, narrow: bool) -> None:
        """Do packets leave with DF (ip_dont_fragment())? ``narrow``: the path takes less than the smallest that they are made."""
        rule = self.pmtudisc
        self.path = self.path.copy(fragment=rule == DONT or rule > IGNORING or narrow and rule == WANT)

    def follows_path(self) -> bool:
        """Are segments as large as the path takes (IP_MTU_DISCOVER)?"""
        return self.pmtudisc < IGNORING

    def path_mtu(self) -> int:
        """IP_MTU: bytes of the largest packet that routers are known to let through to the peer, as far as anybody has asked."""
        paths = self.context.paths
        path = paths.known.get(self.handshake.flow.remote_number)
        return paths.device_mtu if path is None or path.found else path.mtu

    def need_patience(self) -> Patience:
        """Keep-alive and the user timeout, to be set; call ``watch`` afterwards."""
        if self.patience is None:
            self.patience = Patience(self.context.settings)
        return self.patience

    def watch(self) -> None:
        """What ``patience`` says has changed: have the timer look."""
        if self.patience is not None and self.id >= 0:
            deadline = self.patience.next_look(self.heard_at)
            if deadline:
                self.wake_at(deadline)

    def set_cork(self, cork: bool) -> None:
        """TCP_CORK: keep partial segments back, for 200 ms at most; letting go sends what waits."""
        sender = self.need_sender()
        sender.cork = cork
        if not cork:
            sender.cork_deadline = 0
            self.send_soon()

    def limit_sending(self, size: int) -> None:
        """SO_SNDBUF: ``send`` queues so many bytes at most; what is queued already stays."""
        self.send_limit = size
        if self.sender is not None:
            self.sender.locked = True
            self.sender.set_limit(size)

    def limit_pacing(self, rate: int) -> None:
        """SO_MAX_PACING_RATE: send no faster, bytes/s, and in small bursts; 0: no bound."""
        if rate or self.sender is not None and self.sender.recovery.rates is not None:
            recovery = self.need_sender().recovery
            # Twice: to make it, and to let it know.
            recovery.need_rates(self).max_pacing_rate = rate
            recovery.need_rates(self)
            self.send_soon()

    def limit_unsent(self, size: int) -> None:
        """TCP_NOTSENT_LOWAT: ``send`` takes in so many bytes beyond what has been sent; 0: as tcp_notsent_lowat says."""
        sender = self.need_sender()
        sender.lowat = size or self.context.settings.tcp_notsent_lowat
        if sender.full:
            # There may be room now.
            self.send_soon()

    def limit_receiving(self, size: int) -> None:
        """SO_RCVBUF: so many bytes may wait for the reader; a window that was offered is not taken back (SHLD-14)."""
        self.receive_limit = size
        if self.receiver is not None:
            self.receiver.limit = size
            self.receiver.largest = size

    def unanswered(self) -> int:
        """Retransmissions since the peer last acknowledged something: at tcp_retries1 the owner is told (SHLD-9)."""
        return self.sender.unanswered if self.sender is not None else 0

    # ---- What is made at first use ----

    def need_receiver(self, now: int) -> Receiver:
        """The receiver, made at first use."""
        if self.receiver is None:
            rmem = self.context.settings.tcp_rmem
            limit = self.receive_limit
            memory = self.context.memory
            first = limit or rmem[1]
            if limit == 0 and memory.is_pressed():
                # No more than the window that was offered already.
                first = min(first, max(rmem[0], self.rcv_adv - self.rcv_nxt & MASK))
            self.receiver = Receiver(memory.pool, first, limit or rmem[2], self.rcv_nxt, self.rcv_adv, now)
        return self.receiver

    def need_sender(self) -> Sender:
        """The sender, made at first use."""
        if self.sender is None:
            settings = self.context.settings
            kind = self.congestion if self.congestion is not None else algorithm(settings.tcp_congestion_control)
            congestion: CongestionControl = kind(self.send_mss())
            limit = self.first_send_limit()
            self.sender = Sender(self.context.memory.pool, limit, settings.tcp_notsent_lowat, congestion, self.snd_nxt)
            # What the program has set does not grow (SOCK_SNDBUF_LOCK).
            self.sender.locked = self.send_limit > 0
            if settings.tcp_mtu_probing == 2:
                # The first segment asks for the path.
                self.sender.recovery.path_seen = -1
            if settings.fastnet_pacing or congestion.paces() or congestion.samples():
                self.sender.recovery.need_rates(self)
            if self.handshake.rtt:
                self.sender.rtt.measure(self.handshake.rtt)
            elif self.handshake.retries:
                self.sender.rtt.rto = RTO_FALLBACK
            if self.handshake.retries > 1:
                # The handshake met loss: one segment to begin with (RFC 5681 section 3.1).
                congestion.cwnd = congestion.mss
        return self.sender

    # ---- States ----

    def move(self, event: int) -> None:
        """Take the transition that the table has for an event."""
        before = self.state
        # next_state(), without the call.
        self.state = TABLE[before * EVENTS + event] or next_state(before, event)
        if before in (ESTABLISHED, CLOSE_WAIT) and self.state != CLOSE_WAIT:
            self.context.counters.TcpCurrEstab -= 1
            if self.state == CLOSED:
                self.context.counters.TcpEstabResets += 1

    def leave_source(self) -> None:
        """The source that it was charged to, where its listener has limits for each, holds one connection less."""
        source = self.handshake.source
        if source is not None:
            source.connection_over()
            self.handshake.source = None

    def finish(self, event: int) -> None:
        """CLOSED: the 4-tuple is free; bytes that came before the end can still be read."""
        self.move(event)
        self.context.detach(self.handshake.flow, self)
        if self.handshake.source is not None:
            self.leave_source()
        self.sender = None
        if self.orphan:
            self.context.orphans -= 1
        if self.owner is not None:
            self.context.notify(self)
