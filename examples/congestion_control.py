"""A congestion control of one's own, against those that come with fastnet, on a wire that loses a packet now and then.

Virtual time: two megabytes over 20 Mbit/s and 40 ms, with a packet in 200 lost, take no longer than it takes to compute them.
"""

from fastnet.devices import Impairment
from fastnet.tcp.congestion import ALGORITHMS
from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl
from fastnet.twins import Twins

SIZE = 2_000_000


class Stubborn(CongestionControl):
    """Takes a loss for bad luck unless the round trip has grown: then there is a queue, and it halves like everybody else."""

    name = "stubborn"

    def __init__(self, mss: int) -> None:
        super().__init__(mss)
        self.is_queueing = False

    def acknowledged(self, ack: Acknowledgment) -> None:
        if ack.rtt:
            self.is_queueing = ack.rtt > 1.5 * ack.min_rtt
        if self.cwnd < self.ssthresh:
            self.cwnd += ack.acked
        elif not self.is_queueing:
            self.cwnd += self.mss * ack.acked // self.cwnd + 1

    def reduce(self, in_flight: int, now: int) -> None:
        self.ssthresh = max(in_flight // 2 if self.is_queueing else self.cwnd, 2 * self.mss)


def seconds(kind: type[CongestionControl]) -> float:
    """How long the bytes take, virtual seconds."""
    twins = Twins(Impairment(rate=20_000_000, delay=20_000_000, loss=0.005), Impairment(delay=20_000_000), seed=1)
    listener = twins.b.listen("0.0.0.0", 80)
    sender = twins.a.connect("198.18.0.2", 80)
    sender.set_congestion_control(kind)
    sent = received = 0
    receiver = None

    def is_done() -> bool:
        nonlocal sent, received, receiver
        sent += sender.send(bytes(min(65536, SIZE - sent)))
        receiver = receiver or listener.accept()
        if receiver is not None:
            received += len(receiver.receive(SIZE))
        return received == SIZE

    return twins.run(is_done, 1000)


def main() -> None:
    """Race them."""
    for kind in (ALGORITHMS["reno"], ALGORITHMS["cubic"], Stubborn):
        taken = seconds(kind)
        print(f"{kind.name:10} {taken:6.2f} s  {SIZE * 8 / taken / 1e6:6.2f} Mbit/s")


if __name__ == "__main__":
    main()
