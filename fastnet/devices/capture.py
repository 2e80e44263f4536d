"""What passes a device, written down as pcapng: for Wireshark, tshark, scapy, dpkt and whoever asks why.

The format is draft-ietf-opsawg-pcapng: blocks of 32-bit words, an interface for each device, packets as the IP layer has them.
"""

import contextlib
import os
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

from fastnet._ring import PacketRing
from fastnet.devices.base import Device, Wrapper
from fastnet.devices.segments import packet_in
from fastnet.forks import watch

SECTION_HEADER, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
"""Types of blocks."""
BYTE_ORDER_MAGIC = 0x1A2B3C4D
LINKTYPE_RAW = 101
"""Packets that begin with an IPv4 or IPv6 header."""
OPT_END, IF_NAME, IF_TSRESOL, EPB_FLAGS, ISB_IFDROP, SHB_USERAPPL = 0, 2, 9, 2, 5, 4
"""Options of blocks."""
INBOUND, OUTBOUND = 1, 2
"""The direction in epb_flags."""
NANOSECONDS = b"\x09"
"""Timestamps count 10 ** -9 s."""
STATISTICS_SIZE = 40
"""Bytes of an interface's statistics."""
MIB = 1 << 20


def block(kind: int, body: bytes) -> bytes:
    """A block: its type, its length before and after."""
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def padded(data: bytes) -> bytes:
    """Bytes, filled up with zeros to a whole word."""
    return data + bytes(-len(data) % 4)


def option(code: int, value: bytes) -> bytes:
    """An option of a block."""
    return struct.pack("<HH", code, len(value)) + padded(value)


END = option(OPT_END, b"")


class Capture:
    """A pcapng file, which one device or several write. It keeps the first packets: when it is full, all later ones are only counted.

    Any thread may call it. What goes wrong with the file ends the capture, not the traffic.

    :param file: open for writing bytes; it stays open
    :param clock: the time of packets, ns; since 1970, if programs are to show dates
    :param limit: bytes that the file may have
    :ivar packets: packets written; ``left_out``: packets that came when it was full, or over
    :ivar failure: why the file cannot be written, None while it can
    """

    def __init__(self, file: BinaryIO, clock: Callable[[], int] = time.time_ns, limit: int = 64 * MIB) -> None:
        self.file = file
        self.clock = clock
        self.limit = limit
        self.packets = 0
        self.left_out = 0
        self.failure: OSError | None = None
        self.lock = threading.Lock()
        self._written = 0
        self._lost: list[int] = []
        self._full = False
        self._closed = False
        header = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
        watch(self)
        self._write(block(SECTION_HEADER, header + option(SHB_USERAPPL, b"fastnet") + END))

    def __enter__(self) -> Self:
        return self

    def after_fork(self) -> None:
        """This process is a child: a file is the parent's, also what of it waits in a buffer that was copied."""
        self.lock = threading.Lock()
        # A file in memory has no number.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            number = self.file.fileno()
            self._closed = self._full = True
            # Not what the child has as standard output.
            if number > 2:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number, inheritable=False)
                os.close(nowhere)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add_interface(self, name: str) -> int:
        """One more device; its number."""
        with self.lock:
            options = option(IF_NAME, name.encode()) + option(IF_TSRESOL, NANOSECONDS) + END
            self._write(block(INTERFACE, struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + options))
            self._lost.append(0)
            return len(self._lost) - 1

    def write(self, interface: int, direction: int, packets: list[bytes]) -> None:
        """Packets that pass an interface now, ``INBOUND`` or ``OUTBOUND``."""
        options = option(EPB_FLAGS, struct.pack("<I", direction)) + END
        with self.lock:
            now = self.clock()
            for packet in packets:
                size = len(packet)
                head = struct.pack("<IIIII", interface, now >> 32, now & 0xFFFFFFFF, size, size)
                data = block(PACKET, head + padded(packet) + options)
                # There has to be room for the statistics at the end.
                self._full = self._full or self._written + len(data) + STATISTICS_SIZE * len(self._lost) > self.limit
                if self._full:
                    self._lost[interface] += 1
                    self.left_out += 1
                else:
                    self._write(data)
                    self.packets += 1

    def close(self) -> None:
        """Write how many packets of each interface were left out, and nothing after that. The file is not closed."""
        with self.lock:
            if self._closed:
                return
            now = self.clock()
            for interface, lost in enumerate(self._lost):
                head = struct.pack("<III", interface, now >> 32, now & 0xFFFFFFFF)
                self._write(block(STATISTICS, head + option(ISB_IFDROP, struct.pack("<Q", lost)) + END))
            self._closed = self._full = True
            try:
                self.file.flush()
            except OSError as error:
                self.failure = error

    def _write(self, data: bytes) -> None:
        try:
            if self.failure is None:
                self.file.write(data)
                self._written += len(data)
        except OSError as error:
            self.failure = error
            self._full = True


class CapturedDevice(Wrapper):
    """Another device, whose packets are written down as they pass, both ways.

    Where a checksum is left to the device or was vouched for by it (offload), the file has the one that the packet would have on a wire;
    a packet that the device is to cut into segments is written whole, as tcpdump shows it.

    :param device: the device; from now on, only this wrapper calls it
    :param file: a ``Capture``, or a file open for writing bytes, which becomes one with its usual limit
    :param name: of the interface in the file; "": the device's own
    :param clock: of a file, as ``Capture``'s
    :ivar capture: the ``Capture``; close it before the file
    """

    def __init__(self, device: Device, file: Capture | BinaryIO, name: str = "", clock: Callable[[], int] = time.time_ns) -> None:
        super().__init__(device)
        self.capture = file if isinstance(file, Capture) else Capture(file, clock)
        self._interface = self.capture.add_interface(name or device.name)

    def receive(self, ring: PacketRing) -> int:
        """Append packets to a ring until none waits or the ring is full; how many.

        :raises OSError: as the device does
        """
        first = ring.count
        received = self.device.receive(ring)
        if received:
            self.capture.write(self._interface, INBOUND, [packet_in(ring, slot) for slot in range(first, ring.count)])
        return received

    def transmit(self, ring: PacketRing) -> int:
        """Send all packets of a ring, which is empty afterwards; how many the device took."""
        self.capture.write(self._interface, OUTBOUND, [packet_in(ring, slot) for slot in range(ring.count)])
        return self.device.transmit(ring)
