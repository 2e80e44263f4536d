"""Who gets a segment: the connection of its 4-tuple, else the listener of its port, else nobody (RFC 9293 section 3.10.7.1)."""

import errno

from fastnet._headers import Segment
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.listener import Listener


class Tcp:
    """The TCP of one stack.

    :param context: what its endpoints share
    """

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context

    def segments_arrive(self, segments: list[Segment], count: int, now: int) -> None:
        """Hand each good segment of a batch to its endpoint: of its 4-tuple, of (address, port), of (any, port)."""
        endpoints = self.context.endpoints
        for i in range(count):
            seg = segments[i]
            number = seg.number
            endpoint = endpoints[number] if number >= 0 else None
            if endpoint is None:
                endpoint = self.look_again(seg)
                if endpoint is None:
                    continue
            endpoint.segment_arrives(seg, now)

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

    def listen(self, address: str, port: int, backlog: int) -> Listener:
        """Passive OPEN (RFC 9293 section 3.10.1).

        :param address: a local address, or "0.0.0.0" for any
        :raises OSError: EADDRINUSE, when somebody listens there
        """
        context = self.context
        listener = Listener(context, address, port, backlog)
        try:
            number = context.demux.listen(address, port)
        except ValueError:
            raise OSError(errno.EADDRINUSE, f"somebody listens on {address} port {port} already") from None
        context.ports.hold(address, port, True)
        context.place(number, listener)
        return listener

    def fire_timers(self, now: int) -> None:
        """Call every endpoint whose timer is due."""
        timers = self.context.timers
        timed = timers.expire(now)
        while timed is not None:
            timed.timer_fires(now)
            timed = timers.expire(now)

    def send_pending(self, now: int) -> None:
        """Let every endpoint that noted something to send, send it."""
        context = self.context
        while context.outbox:
            outbox = context.outbox
            context.outbox = []
            for endpoint in outbox:
                endpoint.send_pending(now)
