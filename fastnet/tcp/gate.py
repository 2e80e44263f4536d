"""How a listener follows its policy: asks it, does what it says, and holds what has to wait. Without a policy there is no gate."""

from typing import Any

from fastnet._flow import FourTuple
from fastnet._headers import ACK, RST, Segment
from fastnet.tcp.numbers import MASK
from fastnet.tcp.policy import ACCEPT, Accept, Arrival, Cookie, Deferred, Delay, Drop, Policy, Reset
from fastnet.tcp.request import Request


class Gate:
    """The policy of one listener.

    :ivar waiting: 4-tuple -> a SYN that is not answered yet; at most fastnet_policy_waiting
    :ivar error: what the policy raised last, or None
    """

    __slots__ = ("error", "listener", "policy", "waiting")

    def __init__(self, listener: Any, policy: Policy) -> None:
        self.listener = listener
        self.policy = policy
        self.waiting: dict[FourTuple, Deferred] = {}
        self.error: Exception | None = None

    def syn_arrives(self, seg: Segment, now: int) -> None:
        """Have a SYN decided on. What the policy raises is counted, kept in ``error``, and means drop."""
        listener = self.listener
        if seg.flow in self.waiting:
            return
        try:
            verdict = self.policy(Arrival(self, seg, now))
        except Exception as error:
            self.fail(error, now)
            return
        if verdict is None or verdict is ACCEPT:
            listener.syn_arrives(seg, None, now)
        elif isinstance(verdict, Accept):
            if self.fits(verdict, seg.flow, now):
                listener.syn_arrives(seg, verdict, now)
        elif isinstance(verdict, Drop):
            self.drop()
        elif isinstance(verdict, Reset):
            listener.refused.policy_reset += 1
            listener.context.send_reset(seg)
        elif isinstance(verdict, Cookie):
            self.send_cookie(seg, now)
        elif isinstance(verdict, Delay):
            deferred = Deferred(self, now + round(verdict.seconds * 1_000_000_000))
            deferred.decision = verdict.then
            self.hold(deferred, seg, now)
        elif isinstance(verdict, Deferred):
            self.hold(verdict, seg, now)
        else:
            self.fail(TypeError(f"a policy gives a Verdict or None, not {verdict!r}"), now)

    def fail(self, error: Exception, now: int) -> None:
        """The policy is at fault; the SYN is dropped."""
        self.error = error
        address, port = self.listener.address, self.listener.port
        self.listener.context.failures.note(f"{address} port {port}: a SYN is dropped, as the policy failed", error, now)
        self.listener.refused.policy_failed += 1
        self.listener.context.counters.ListenDrops += 1

    def fits(self, choice: Accept, flow: FourTuple, now: int) -> bool:
        """Does the device take a SYN-ACK with these options? One that it does not is the policy's mistake."""
        room = self.listener.path_of(flow).mss
        # In whole words.
        if choice.options is None or len(choice.options) + 3 & ~3 <= room:
            return True
        text = f"{len(choice.options)} bytes of options are more than a packet of the device has room for: {room & ~3}"
        self.fail(ValueError(text), now)
        return False

    def drop(self) -> None:
        """Say nothing."""
        self.listener.refused.policy_drop += 1
        self.listener.context.counters.ListenDrops += 1

    def send_cookie(self, seg: Segment, now: int) -> None:
        """A cookie, unless the accept queue is full."""
        listener = self.listener
        if len(listener.accept_queue) > listener.backlog:
            listener.refused.accept_queue_full += 1
            listener.context.counters.ListenOverflows += 1
            listener.context.counters.ListenDrops += 1
        else:
            listener.send_cookie(seg, now)

    def hold(self, deferred: Deferred, seg: Segment, now: int) -> None:
        """Keep what the SYN said until somebody decides, or its time is over."""
        listener = self.listener
        if len(self.waiting) >= listener.fastnet_policy_waiting:
            listener.refused.policy_full += 1
            listener.context.counters.ListenDrops += 1
            return
        if deferred.gate is not self or deferred.request is not None:
            self.fail(ValueError("a handle is for the SYN that it was made for"), now)
            return
        request = Request.__new__(Request)
        request.open(listener.context, listener, seg, seg.options & listener.allowed, listener.rcv_wnd, listener.rcv_shift, now)
        deferred.request = request
        self.waiting[request.flow] = deferred
        listener.context.arm(deferred, max(deferred.deadline, now))

    def carry_out(self, deferred: Deferred, now: int) -> None:
        """The waiting is over: do what was decided; nothing was is a refusal too."""
        listener = self.listener
        context = listener.context
        request = deferred.request
        if request is None:
            return
        self.release(deferred)
        decision = deferred.decision
        if isinstance(decision, Accept):
            if self.fits(decision, request.flow, now):
                self.admit(request, decision, now)
        elif isinstance(decision, Reset):
            listener.refused.policy_reset += 1
            context.counters.TcpOutRsts += 1
            context.writer.control(request.flow, 0, request.irs + 1 & MASK, RST | ACK, 0)
        elif isinstance(decision, Drop):
            self.drop()
        else:
            listener.refused.policy_expired += 1
            context.counters.ListenDrops += 1

    def admit(self, request: Request, choice: Accept, now: int) -> None:
        """Queue a request that waited, if there is room now, and nobody has taken its 4-tuple in the meantime."""
        listener = self.listener
        if request.flow in listener.syn_queue or listener.context.demux.find(request.flow) >= 0:
            self.drop()
        elif listener.has_room_for(request.flow):
            request.born = now
            if choice is not ACCEPT:
                choice.apply(request, now)
            listener.enter(request, now)

    def reset_arrives(self, seg: Segment) -> bool:
        """A RST. True when the peer takes a SYN back that waits."""
        deferred = self.waiting.get(seg.flow)
        if deferred is not None and deferred.request is not None and seg.seq == (deferred.request.irs + 1 & MASK):
            self.release(deferred)
            self.listener.refused.reset += 1
            return True
        return False

    def release(self, deferred: Deferred) -> None:
        """It waits no more."""
        if deferred.request is not None:
            del self.waiting[deferred.request.flow]
            deferred.request = None
        self.listener.context.disarm(deferred)

    def close(self) -> None:
        """There is another policy, or none: nobody will decide on what waits."""
        for deferred in list(self.waiting.values()):
            self.release(deferred)
            self.drop()
