"""Who gets a segment: the connection of its 4-tuple, else the listener of its port, else nobody (RFC 9293 section 3.10.7.1)."""

import errno

from fastnet._headers import Segment
from fastnet.tcp.containment import contain
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.listener import Listener


class Tcp:
    """The TCP of one stack.

    :param context: what its endpoints share
    """

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        if getattr(self, "context", None) is not None:
            raise TypeError("a Tcp is made once")
        self.context = context

    def segments_arrive(self, segments: tuple[Segment, ...], count: int, now: int) -> None:
        """Hand each good segment of a batch to its endpoint: of its 4-tuple, of (address, port), of (any, port).

        What one endpoint raises ends that one, and the batch goes on with the next segment.
        """
        endpoints = self.context.endpoints
        # Whoever says more would be told so once for each.
        count = min(count, len(segments))
        i = 0
        while i < count:
            endpoint = None
            try:
                while i < count:
                    seg = segments[i]
                    i += 1
                    number = seg.number
                    endpoint = None
                    if number >= 0:
                        endpoint = endpoints[number]
                    if endpoint is None:
                        endpoint = self.look_again(seg)
                        if endpoint is None:
                            continue
                    endpoint.segment_arrives(seg, now)
            except BaseException as error:
                contain(self.context, endpoint, seg.flow, error, now)

    def look_again(self, seg: Segment) -> Endpoint | None:
        """Nobody was there at the beginning of the batch, or somebody who has gone since; nobody at all is answered with a RST."""
        context = self.context
        number = context.demux.find(seg.flow)
        if number < 0:
            number = context.demux.find_listener(seg.flow)
        if number >= 0:
            return context.endpoints[number]
        context.counters.TcpInNoListener += 1
        context.send_reset(seg)
        return None

    def listen(self, address: str, port: int, backlog: int, v6only: bool = False) -> Listener:
        """Passive OPEN (RFC 9293 section 3.10.1).

        :param address: a local address, "0.0.0.0" for any of IPv4, or "::" for any of either family
        :param v6only: "::" is for any of IPv6 alone
        :raises OSError: EADDRINUSE, when somebody listens there
        """
        context = self.context
        listener = Listener(context, address, port, backlog)
        taken: list[str] = []
        try:
            for place in ("::", "0.0.0.0") if address == "::" and not v6only else (address,):
                number = context.demux.listen(place, port)
                taken.append(place)
                context.place(number, listener)
            context.ports.hold(address, port, True)
        except BaseException as error:
            # No memory, or somebody is there. A number without an endpoint must not stay behind.
            for place in taken:
                context.endpoints[context.demux.unlisten(place, port)] = None
            if isinstance(error, ValueError):
                raise OSError(errno.EADDRINUSE, f"somebody listens on {address} port {port} already") from None
            raise
        listener.places = tuple(taken)
        return listener

    def fire_timers(self, now: int) -> None:
        """Call every endpoint whose timer is due; what one raises ends that one."""
        timers = self.context.timers
        timed = timers.expire(now)
        while timed is not None:
            try:
                while timed is not None:
                    # Let go by the wheel already: what its code does, or does not come to do, the handle may soon be another's.
                    timed.timer = -1
                    timed.timer_fires(now)
                    timed = timers.expire(now)
            except BaseException as error:
                contain(self.context, timed, None, error, now)
                timed = timers.expire(now)

    def send_pending(self, now: int) -> None:
        """Let every endpoint that noted something to send, send it; what one raises ends that one."""
        context = self.context
        while context.outbox:
            outbox = context.outbox
            context.outbox = []
            i = 0
            count = len(outbox)
            while i < count:
                endpoint = None
                try:
                    while i < count:
                        # Whatever the next line raises, it is not tried again.
                        i += 1
                        endpoint = outbox[i - 1]
                        endpoint.send_pending(now)
                except BaseException as error:
                    contain(context, endpoint, None, error, now)
