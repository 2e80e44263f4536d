"""See a handshake: every packet of a short connection, with the states of both ends and the depths of the listener's queues.

    python examples/handshake.py [FILE]

With a FILE, the packets are in it as well, as pcapng. The first SYN-ACK is lost: after a second the client sends its SYN again, and the
server, which has a timer of its own, its SYN-ACK: once for that timer, and once for the SYN.
"""

import io
import sys
from pathlib import Path

from fastnet._headers import ACK, FIN, RST, SYN, Segment
from fastnet.devices import Capture, CapturedDevice, Impairment
from fastnet.devices.capture import OUTBOUND
from fastnet.tcp.states import State
from fastnet.twins import Twins

WIRE = Impairment(delay=10_000_000)
FLAGS = {SYN: "SYN", FIN: "FIN", RST: "RST", ACK: "ACK"}
SECOND = 1_000_000_000


class Trace(Capture):
    """A capture that prints a line for each packet that leaves or reaches the client."""

    def __init__(self, twins: Twins) -> None:
        super().__init__(io.BytesIO(), twins.clock)
        self.twins = twins
        self.listener = twins.b.listen("0.0.0.0", 80)
        self.client = self.server = None
        self.first: dict[bool, int] = {}

    def write(self, interface: int, direction: int, packets: list[bytes]) -> None:
        super().write(interface, direction, packets)
        for packet in packets:
            self.show(packet, direction == OUTBOUND)

    def show(self, packet: bytes, is_ours: bool) -> None:
        seg = Segment()
        seg.read(packet)
        # Sequence numbers count from each side's own, as in textbooks.
        seq = seg.seq - self.first.setdefault(is_ours, seg.seq)
        ack = f" ack {seg.ack - self.first[not is_ours]}" if seg.flags & ACK else ""
        flags = "+".join(name for bit, name in FLAGS.items() if seg.flags & bit)
        what = f"{flags} seq {seq}{ack}" + (f", {seg.payload_length} bytes" if seg.payload_length else "")
        arrow = f"--- {what} -->" if is_ours else f"<-- {what} ---"
        seconds = (self.twins.clock() - SECOND) / SECOND
        print(f"{seconds:6.3f} s  {self.name(self.client):11} {arrow:38} {self.name(self.server):11} {self.queues()}")

    def name(self, connection) -> str:
        return "" if connection is None else State(connection.state).name

    def queues(self) -> str:
        return f"syn queue {len(self.listener.syn_queue)}, accept queue {len(self.listener.accept_queue)}"


def main() -> None:
    """Connect, say a word each way, close."""
    twins = Twins(WIRE, Impairment(loss=1))
    trace = Trace(twins)
    twins.a.device = CapturedDevice(twins.link.a, trace)
    trace.client = client = twins.a.connect("198.18.0.2", 80)
    twins.pass_time(0.5)
    print(f"{'':9} {'':11} {'(a SYN-ACK is lost)':38} {'':11} {trace.queues()}")
    twins.link.back.impairment = WIRE
    twins.run(lambda: bool(trace.listener.accept_queue), 10)
    trace.server = server = trace.listener.accept()
    client.send(b"hello")
    twins.run(lambda: server.readable() == 5, 10)
    server.send(server.receive(5).upper())
    server.close(twins.clock())
    twins.run(lambda: client.fin_received, 10)
    print(f"{'':9} the client has read {client.receive(5).decode()!r}, and closes too")
    client.close(twins.clock())
    twins.run(lambda: client.state == State.CLOSED, 10)
    twins.pass_time(0.1)
    print(f"{'':9} {trace.name(client):11} {'':38} {trace.name(server)}")
    trace.close()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_bytes(trace.file.getvalue())


if __name__ == "__main__":
    main()
