"""The stack: one device, one thread, one ``poll`` at a time (the life of a packet, from ring to ring)."""

import errno
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from fastnet._flow import FourTuple
from fastnet._headers import CAUSES, Segment, SegmentBatch
from fastnet._ring import PacketRing
from fastnet._timer import TimerWheel
from fastnet._writer import SegmentWriter
from fastnet.config import SettingError, Settings
from fastnet.counters import Counters
from fastnet.forks import ForkedError, watch
from fastnet.hairpin import Hairpin, single_addresses
from fastnet.ip.addresses import ANY, Address, AddressSet, leads_somewhere, parse
from fastnet.ip.icmp import message_arrives
from fastnet.tcp.challenges import ChallengeBudget
from fastnet.tcp.congestion import algorithm, checked
from fastnet.tcp.containment import contain, end_all
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.cookies import CookieJar
from fastnet.tcp.errors import error_arrives
from fastnet.tcp.fastconnect import FastConnection
from fastnet.tcp.fastopen import CLIENT, FastOpen
from fastnet.tcp.listener import Listener
from fastnet.tcp.numbers import CE, CODEPOINT, ECT_0
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.ports import PortChooser
from fastnet.tcp.protocol import Tcp
from fastnet.tcp.timewait import TimeWait

TCP = 6
LARGEST = 65535
"""Bytes of the longest IPv4 packet: what a device with offload takes and gives."""
IPV6_MIN_MTU = 1280
"""Links of IPv6 take as much (RFC 8200 section 5)."""
PASSING = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM)
"""Errors of a device that say that it has no room just now: packets are lost, the device is not."""
NEVER = (1 << 63) - 1
"""What ``next_deadline`` says when no timer runs."""


class Stack:
    """A TCP/IP stack over a device.

    Not thread-safe: one thread at a time may call it.

    :param device: where packets come from and go to, a ``fastnet.devices.Device``
    :param addresses: the addresses and networks that are its own ("198.18.0.2", "2001:2::2"); packets for others are dropped. Empty: every
        address
    :param settings: a ``Settings``, or a mapping of Linux's names to values
    :param clock: now in ns, monotonic; a test passes its own
    :param random: n -> n random bytes; a test passes its own
    :param slots: packets in a batch
    :ivar failure: what the device raised when it failed, None while it works; nothing comes or goes after that
    :raises SettingError: a setting that does not exist, or a value it cannot take
    :raises ValueError: not an address, or one of IPv6 on a device whose MTU is below 1,280 bytes
    """

    def __init__(
        self,
        device: Any,
        addresses: tuple[str, ...] = (),
        settings: Settings | Mapping[str, Any] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        random: Callable[[int], bytes] = os.urandom,
        slots: int = 256,
    ) -> None:
        if getattr(self, "tcp", None) is not None:
            raise TypeError("a Stack is made once")
        self.device = device
        self.addresses = tuple(addresses)
        self.own = AddressSet(self.addresses)
        self.settings = Settings.of(settings)
        try:
            # Programs may have added theirs under a name.
            checked(algorithm(self.settings.tcp_congestion_control), 536)
        except ValueError as error:
            raise SettingError(str(error)) from None
        self.clock = clock
        self.counters = Counters()
        capabilities = device.capabilities
        offload = capabilities.offload
        largest = LARGEST if offload else capabilities.mtu
        self.received = PacketRing(slots, largest)
        # So that it can talk to itself.
        self.loops = capabilities.loops_back
        has_ipv6 = capabilities.mtu >= IPV6_MIN_MTU
        if 6 in self.own.versions and not has_ipv6:
            raise ValueError(f"IPv6 needs an MTU of {IPV6_MIN_MTU} bytes (RFC 8200 section 5); the device has {capabilities.mtu}")
        self.batch = SegmentBatch(self.received, self.addresses, self.loops, has_ipv6)
        self.sending = PacketRing(slots, max(largest, 128))
        self.writer = SegmentWriter(self.sending, self.transmit, self.settings.ip_default_ttl, offload, capabilities.mtu)
        self.context = Context(
            self.settings, self.counters, TimerWheel(clock()), self.writer, random(16), capabilities.mtu, not self.own.is_single()
        )
        self.context.cookies = CookieJar(random)
        self.context.challenges = ChallengeBudget(random)
        self.context.fast_open = FastOpen(self.settings, self.counters, random)
        # Of the writer's packets of IPv6, those that the counters know.
        self.ipv6_sent = 0
        self.tcp = Tcp(self.context)
        self.ports = PortChooser(self.context, random(16), random, self.loops)
        self.single_addresses = frozenset(single_addresses(self.addresses))
        # Its way to itself, once somebody takes it.
        self.hairpin: Hairpin | None = None
        self.failure: BaseException | None = None
        # The last batch filled the ring: there may be more.
        self.full = False
        if capabilities.descriptor is not None:
            # What the parent and a child would both read and write. A device in memory is copied.
            watch(self)

    def after_fork(self) -> None:
        """This process is a child: the stack and its device are the parent's (``fastnet.forks``)."""
        self.context.forked = True
        self.device.after_fork(ForkedError)

    def __reduce__(self) -> str:
        raise TypeError("a Stack cannot be copied or pickled")

    def poll(self, now: int) -> int:
        """One round: ``receive``, ``fire`` and ``flush``, and then ``next_deadline``. Another loop may call these one by one.

        What runs for one endpoint and raises ends that endpoint (docs/defence.md); KeyboardInterrupt and SystemExit come out of here when
        the round is over.

        :param now: the time, ns
        :returns: when to call again at the latest, ns; ``now`` when more packets wait already; ``NEVER`` without timers
        :raises OSError: ENETDOWN, the device has failed: now, or before
        """
        if self.context.forked:
            self.context.check()
        self.receive(now)
        self.fire(now)
        self.flush(now)
        if self.failure is not None:
            raise self.down()
        return self.next_deadline(now)

    def receive(self, now: int) -> int:
        """The first stage of a round: take a batch from the device and let the protocol have it. How many packets; 0 after a failure."""
        if self.failure is not None:
            self.full = False
            return 0
        try:
            received: int = self.device.receive(self.received)
        except BaseException as error:
            self.device_raised(error, now)
            # What came before that is delivered all the same.
            received = self.received.count
        self.full = received == self.received.slots
        if received:
            try:
                self.packets_arrive(now)
            except MemoryError as error:
                self.context.failures.note("a batch of packets is lost", error, now)
        return received

    def fire(self, now: int) -> None:
        """The second stage: fire the timers that are due."""
        self.tcp.fire_timers(now)

    def next_deadline(self, now: int) -> int:
        """When the next round is due at the latest, ns: ``now`` when more packets may wait already; ``NEVER`` without timers.

        Owners that have news (``has_news``) are no part of it: whoever told all of them may sleep until then.
        """
        if self.full:
            return now
        deadline: int = self.context.timers.next_deadline()
        return deadline

    def has_news(self) -> bool:
        """Would ``take_ready`` give anything?"""
        return len(self.context.ready) > 0

    def wait(self, timeout: int) -> bool:
        """Sleep until packets wait or ``device.wake`` is called, at most so long, ns; below 0: for ever. True: it is time to poll."""
        try:
            return bool(self.device.wait(timeout))
        except BaseException as error:
            self.device_raised(error, self.clock())
            return True

    def device_raised(self, error: BaseException, now: int) -> None:
        """A call of the device raised. Where that is not the device's end, packets were lost and the next call may succeed."""
        failures = self.context.failures
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            failures.note("the device", error, now)
        elif not isinstance(error, OSError) or error.errno not in PASSING:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """No packet will come or go any more: at the end of this round every connection ends with ENETDOWN, and every door is told.

        :param error: why; only the first counts
        """
        if self.failure is None:
            self.failure = error
            self.context.failures.due = True

    def down(self) -> OSError:
        """What everybody is told after the device's failure, made anew for each."""
        error = OSError(errno.ENETDOWN, f"the device has failed: {reason(self.failure)}")
        error.__cause__ = self.failure
        return error

    def round_over(self, now: int) -> None:
        """Something had to wait for the end of the round: lines for the log, an interruption, the end of all connections.

        :raises KeyboardInterrupt, SystemExit: what an endpoint's code, or the device, raised
        """
        failures = self.context.failures
        failures.due = False
        if self.failure is not None:
            end_all(self.context, errno.ENETDOWN, now)
        if not failures.held:
            failures.log()
        interruption = failures.take_interruption()
        if interruption is not None:
            raise interruption

    def packets_arrive(self, now: int) -> None:
        """Parse the receive ring as a batch, and give each packet to its protocol. Whatever happens, it is given once."""
        try:
            self.batch_arrives(now)
        finally:
            self.context.demux.settle()
            self.received.clear()

    def batch_arrives(self, now: int) -> None:
        """What ``packets_arrive`` does but for the end."""
        counters = self.counters
        batch = self.batch
        context = self.context
        count = batch.parse()
        batch.look_up(context.demux)
        context.attached = False
        counters.IpInReceives += count - batch.ipv6
        counters.Ip6InReceives += batch.ipv6
        counters.TcpInSegs += count - batch.others
        counters.InNoECTPkts += count - batch.codepoints
        if batch.codepoints:
            self.count_codepoints(count)
        if batch.others == 0:
            self.tcp.segments_arrive(batch.segments, count, now)
        else:
            self.packets_of_all_kinds(count, now)

    def packets_of_all_kinds(self, count: int, now: int) -> None:
        """A batch that holds more than good TCP segments."""
        segments = self.batch.segments
        # Whoever says more would be told so once for each.
        count = min(count, len(segments))
        i = 0
        while i < count:
            try:
                while i < count:
                    seg = segments[i]
                    i += 1
                    self.packet_arrives(seg, now)
            except BaseException as error:
                # TCP looks after its own; this one is an ICMP message's, about the connection that it quotes.
                contain(self.context, None, segments[i - 1].flow, error, now)

    def count_codepoints(self, count: int) -> None:
        """ECN codepoints of the good packets of a batch."""
        counters = self.counters
        for seg in self.batch.segments[:count]:
            codepoint = 0 if seg.cause else seg.tos & CODEPOINT
            if codepoint == ECT_0:
                counters.InECT0Pkts += 1
            elif codepoint == CE:
                counters.InCEPkts += 1
            elif codepoint:
                counters.InECT1Pkts += 1

    def packet_arrives(self, seg: Segment, now: int) -> None:
        """One packet of a batch that holds more than good TCP segments."""
        if seg.cause:
            self.counters.count(CAUSES[seg.cause])
        elif seg.protocol == TCP:
            self.tcp.segments_arrive((seg,), 1, now)
        else:
            if message_arrives(seg, self.counters, self.writer, not self.settings.icmp_echo_ignore_all):
                error_arrives(seg, self.context, now)

    def flush(self, now: int) -> None:
        """The last stage: send what endpoints have noted. Call it after a program's calls between rounds, too.

        :raises KeyboardInterrupt, SystemExit: what an endpoint's code raised in this round
        """
        self.send(now)
        if self.hairpin is not None:
            self.hairpin.deliver(now)
        if self.context.failures.due:
            self.round_over(now)

    def send(self, now: int) -> None:
        """As ``flush``, but what goes to the stack itself only waits to be delivered, and the round goes on."""
        if self.context.forked:
            self.context.check()
        if self.context.outbox:
            self.tcp.send_pending(now)
        if self.sending.count:
            self.transmit()

    def transmit(self) -> None:
        """Hand the transmit ring to the device; it comes back empty. What the device does not take is lost, as on any link.

        It is called whenever the ring is full, in the middle of an endpoint's work; so a failure of the device is noted, not raised.
        """
        if self.context.forked:
            self.context.check()
        sending = self.sending
        built = self.writer.ipv6_packets - self.ipv6_sent
        self.ipv6_sent += built
        self.counters.IpOutRequests += sending.count - built
        self.counters.Ip6OutRequests += built
        if self.hairpin is not None:
            sending = self.hairpin.divert(sending)
        count = sending.count
        sent = 0
        if self.failure is None:
            try:
                sent = self.device.transmit(sending)
            except BaseException as error:
                self.device_raised(error, self.clock())
        sending.clear()
        self.counters.DeviceTxErrors += count - sent

    def listen(self, address: str, port: int, backlog: int = 4096, v6only: bool = False) -> Listener:
        """Passive OPEN on a local address and port.

        :param address: "0.0.0.0" is any of IPv4, "::" any of either family
        :param v6only: "::" is any of IPv6 alone (IPV6_V6ONLY)
        :raises ValueError: not an address

        :raises OSError: EADDRINUSE, when somebody listens there; ENETDOWN, the device has failed
        """
        self.context.check()
        if self.failure is not None:
            raise self.down()
        return self.tcp.listen(str(parse(address)), port, backlog, v6only)

    def connect(
        self,
        remote: str,
        remote_port: int,
        local: str | None = None,
        local_port: int = 0,
        prepare: Callable[[ActiveConnection], None] | None = None,
        fast_open: bool = False,
    ) -> ActiveConnection:
        """Active OPEN (RFC 9293 section 3.9.1.1): send a SYN; the connection's state, its error and its owner tell what comes of it.

        What leads to one of the stack's own single addresses, or from an address to itself, does not go over the device.

        :param local: one of the stack's addresses; without, its first (MUST-44), or ``remote`` itself where that is the stack's own
        :param local_port: 0 to have one chosen from ip_local_port_range
        :param prepare: called with the new connection before its SYN leaves: for options that the SYN shows
        :param fast_open: what ``prepare`` queues goes with the SYN if the server gave a cookie before, else the SYN asks for one (RFC 7413)
        :raises ValueError: not an address or port, or no address of our own to take
        :raises OSError: ENETUNREACH (nobody can have that address), EADDRNOTAVAIL (not ours, or no port is free), EADDRINUSE (the
            4-tuple is in use), ENETDOWN (the device has failed)
        """
        self.context.check()
        if self.failure is not None:
            raise self.down()
        target = parse(remote)
        remote = str(target)
        if not 0 < remote_port < 65536 or not 0 <= local_port < 65536:
            raise ValueError(f"a port is 1 to 65535, not {remote_port if local_port in range(65536) else local_port}")
        # MUST-46, and what Linux's ip_route_connect() would find no way to.
        if not leads_somewhere(target) or target.is_loopback and not self.loops:
            raise OSError(errno.ENETUNREACH, f"no TCP connection can lead to {remote}")
        if self.loops and target not in self.own:
            raise OSError(errno.ENETUNREACH, f"{remote} is not an address of this stack, and its device loops back")
        if self.is_own(remote) and (local is None or local in ANY):
            local = remote
        source = self.source_address(local, target)
        if self.hairpin is None and not self.loops and (remote == source or self.is_own(remote)):
            self.hairpin = Hairpin(self)
        now = self.clock()
        last: TimeWait | None = None
        if local_port:
            flow = FourTuple(source, local_port, remote, remote_port)
            if self.context.demux.find(flow) >= 0:
                # A program that names a port may have it back at once, where timestamps tell old segments from new (tcp_twsk_unique()).
                last = self.ports.time_wait_of(flow) if self.settings.tcp_timestamps else None
                if last is None:
                    raise OSError(errno.EADDRINUSE, f"port {local_port} is in use towards {remote} port {remote_port}")
        else:
            flow, last = self.ports.choose(source, remote, remote_port, now)
        kind = FastConnection if fast_open else ActiveConnection
        connection = kind.__new__(kind)
        if last is not None:
            last.end()
        connection.open(self.context, flow, now)
        if last is not None:
            connection.succeed(last)
        if prepare is not None:
            prepare(connection)
        connection.start(now)
        return connection

    def may_send_at_once(self, remote: str, cookieless: bool = False) -> bool:
        """Would a SYN to an address bring data now (RFC 7413): is Fast Open on, and did the server give a cookie, or does it need none?

        :param cookieless: as TCP_FASTOPEN_NO_COOKIE has it
        :raises ValueError: not an address
        """
        fast_open: FastOpen = self.context.fast_open
        address = str(parse(remote))
        flow = FourTuple("::" if ":" in address else "0.0.0.0", 0, address, 0)
        return self.settings.tcp_fastopen & CLIENT != 0 and fast_open.may_send_data(flow, cookieless, self.clock())

    def source_address(self, local: str | None, target: Address) -> str:
        """The local address of an active open."""
        if local is not None and local not in ANY:
            address = parse(local)
            if address not in self.own:
                raise OSError(errno.EADDRNOTAVAIL, f"{local} is not an address of this stack")
            if address.version != target.version:
                raise OSError(errno.EINVAL, f"{local} and {target} are of different families")
            return str(address)
        if target.version in self.own.first:
            return self.own.first[target.version]
        if self.own.first and target.version not in self.own.versions:
            raise OSError(errno.ENETUNREACH, f"the stack has no address of the family of {target}")
        raise ValueError("the stack has no single address of its own: say which one to connect from")

    def is_local(self, address: str) -> bool:
        """Is it one of the stack's addresses?

        :raises ValueError: not an address
        """
        return parse(address) in self.own

    def is_own(self, address: str) -> bool:
        """Do packets to an address go to the stack itself? To a single address of its own; a network's may be its neighbours' as well."""
        return address in self.single_addresses or self.loops and self.is_local(address)

    def has_connection(self, address: str, port: int) -> bool:
        """Does a connection, or what is left of one in TIME-WAIT, have this local address and port?

        :param address: "0.0.0.0" is any of IPv4, "::" any of IPv6
        """
        return self.context.ports.has_connection(address, port)

    def take_ready(self) -> list[Endpoint]:
        """The news: endpoints with an owner and something to see, since the last call."""
        ready = self.context.ready
        if ready:
            self.context.ready = []
            for endpoint in ready:
                endpoint.notified = False
        return ready


def reason(failure: BaseException | None) -> str:
    """Why, in a line."""
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    return f"{type(failure).__name__}: {failure}"
