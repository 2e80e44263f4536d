"""A handshake in memory and in virtual time: no root, no sleeping, the same bytes at every run.

A lost SYN-ACK is a SYN that nobody answers: watch the stack send it again after 1, 3 and 7 seconds, in no time at all.
"""

from fastnet.devices import MemoryDevice
from fastnet.stack import Stack

# SYN from 198.18.0.1:40000 to 198.18.0.2:80, sequence number 1000.
SYN = bytes.fromhex("45000028000040004006aea8c6120001c6120002 9c400050000003e8000000005002faf088510000")


def main() -> None:
    """Print what the stack sends, and when."""
    now = 0
    device = MemoryDevice()
    stack = Stack(device, ("198.18.0.2",), clock=lambda: now, random=lambda n: bytes(n))
    listener = stack.listen("0.0.0.0", 80)
    device.inject(SYN)
    while now < 10_000_000_000:
        deadline = stack.poll(now)
        for packet in device.drain():
            print(f"{now / 1e9:5.1f} s  SYN-ACK, {len(packet)} bytes, syn queue {len(listener.syn_queue)}")
        now = deadline


if __name__ == "__main__":
    main()
