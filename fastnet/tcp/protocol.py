"""Who gets a segment: the connection of its 4-tuple, else the listener of its port, else nobody (RFC 9293 section 3.10.7.1)."""

import errno

from fastnet._headers import Segment
from fastnet.tcp.context import Context
from fastnet.tcp.listener import Listener


class Tcp:
    """The TCP of one stack.

    :param context: what its endpoints share
    """

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """Hand a good segment to its endpoint. Look-up order: 4-tuple, (address, port), (any, port)."""
        context = self.context
        number = context.demux.find(seg.flow)
        if number < 0:
            number = context.demux.find_listener(seg.flow)
            if number < 0:
                context.counters.TcpInNoListener += 1
                context.send_reset(seg)
                return
        endpoint = context.endpoints[number]
        if endpoint is not None:
            endpoint.segment_arrives(seg, now)

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
        context.place(number, listener)
        return listener

    def fire_timers(self, now: int) -> None:
        """Call every endpoint whose timer is due."""
        timers = self.context.timers
        endpoint = timers.expire(now)
        while endpoint is not None:
            endpoint.timer_fires(now)
            endpoint = timers.expire(now)

    def send_pending(self, now: int) -> None:
        """Let every endpoint that noted something to send, send it."""
        context = self.context
        while context.outbox:
            outbox = context.outbox
            context.outbox = []
            for endpoint in outbox:
                endpoint.send_pending(now)
