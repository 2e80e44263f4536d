"""What a stack asks of a device, and where a device of your own begins."""

import threading
from abc import ABC, abstractmethod
from typing import Protocol

from fastnet._capabilities import Capabilities
from fastnet._ring import PacketRing

__all__ = ["BaseDevice", "Capabilities", "Device", "Wrapper"]


class Device(Protocol):
    """A source and sink of IP packets without a link layer. All calls but ``wake`` come from one thread at a time.

    What ``receive``, ``transmit`` or ``wait`` raises is the device's end: every connection ends with ENETDOWN, and it is called no more.
    Only EAGAIN, EINTR, ENOBUFS, ENOMEM and MemoryError mean that it has no room just now: packets are lost, and it is asked again.

    A device of your own inherits from ``BaseDevice``, one that stands before another from ``Wrapper``.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the device can do."""
        ...

    @property
    def name(self) -> str:
        """What people call it: the interface's name, where it has one."""
        ...

    def receive(self, ring: PacketRing) -> int:
        """Append packets to a ring until none waits or the ring is full; how many."""
        ...

    def transmit(self, ring: PacketRing) -> int:
        """Take all packets of a ring and leave it empty; how many could be sent."""
        ...

    def wait(self, timeout: int) -> bool:
        """Sleep until packets wait or ``wake`` is called, at most ``timeout`` ns (below 0: for ever); True when packets wait."""
        ...

    def wake(self) -> int:
        """End a ``wait``, from any thread; one that has not begun yet ends at once. The result means nothing."""
        ...

    def due(self) -> int:
        """For whoever waits for the descriptor of a ``timed`` device: ns until ``receive`` should be called whatever the descriptor says.

        Below 0: nothing is due. 0: now.
        """
        ...

    def close(self) -> int:
        """Give back what the device holds. A ``wait`` in another thread ends. The result means nothing."""
        ...

    def after_fork(self, error: type[Exception]) -> int:
        """This process is a child of the one that uses the device: close its copies of descriptors. The result means nothing.

        Called where ``capabilities.descriptor`` is not None. A device in memory is copied with the process, and both copies go on.

        :param error: what every call but ``close`` raises from now on
        """
        ...


class BaseDevice(ABC):
    """A device with a default for everything but ``receive`` and ``transmit``.

    Without a ``wait`` of its own it waits for ``wake``: call that when a packet has come.

    :param mtu: bytes of the longest packet
    :ivar capabilities: a device that can do more sets others, before a stack is made
    """

    capabilities: Capabilities

    def __init__(self, mtu: int = 1500) -> None:
        self.capabilities = Capabilities(mtu)
        self._woken = threading.Event()

    @property
    def name(self) -> str:
        """The name of its class."""
        return type(self).__name__

    @abstractmethod
    def receive(self, ring: PacketRing) -> int:
        """Append packets to a ring until none waits or the ring is full; how many."""

    @abstractmethod
    def transmit(self, ring: PacketRing) -> int:
        """Take all packets of a ring and leave it empty; how many could be sent."""

    def wait(self, timeout: int) -> bool:
        """Sleep until ``wake``, at most ``timeout`` ns (below 0: for ever); True when it was called."""
        woken = self._woken.wait(None if timeout < 0 else min(timeout / 1e9, threading.TIMEOUT_MAX))
        self._woken.clear()
        return woken

    def wake(self) -> int:
        """End a ``wait``, from any thread; one that has not begun yet ends at once."""
        self._woken.set()
        return 0

    def due(self) -> int:
        """Nothing is due."""
        return -1

    def close(self) -> int:
        """There is nothing to give back but a thread that waits."""
        return self.wake()

    def after_fork(self, error: type[Exception]) -> int:
        """A device in memory is a copy."""
        return 0


class Wrapper:
    """A device that stands before another, and passes everything on: a class of your own changes what it wants to.

    :param device: the device; from now on, only the wrapper calls it
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    @property
    def capabilities(self) -> Capabilities:
        """The device's."""
        return self.device.capabilities

    @property
    def name(self) -> str:
        """The device's."""
        return self.device.name

    def receive(self, ring: PacketRing) -> int:
        """Append packets to a ring until none waits or the ring is full; how many.

        :raises OSError: as the device does
        """
        return self.device.receive(ring)

    def transmit(self, ring: PacketRing) -> int:
        """Send all packets of a ring, which is empty afterwards; how many the device took.

        :raises OSError: as the device does
        """
        return self.device.transmit(ring)

    def wait(self, timeout: int) -> bool:
        """Sleep until packets wait or ``wake``; True when packets wait.

        :raises OSError: as the device does
        """
        return self.device.wait(timeout)

    def wake(self) -> int:
        """End a ``wait``, from any thread."""
        return self.device.wake()

    def due(self) -> int:
        """The device's."""
        return self.device.due()

    def close(self) -> int:
        """Close the device."""
        return self.device.close()

    def after_fork(self, error: type[Exception]) -> int:
        """This process is a child: the device is its parent's."""
        return self.device.after_fork(error)
