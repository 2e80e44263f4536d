"""Packet rings: preallocated slots that devices fill and empty in one GIL-free loop.

A ring is a batch: the device appends packets, the stack walks slots 0 to ``count - 1``, and ``clear()`` makes it empty. The memory
is one numpy array of shape (slots, stride), so that any slot can be looked at as an ndarray without a copy.
"""

import numpy as np

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

# The C constants of the .pxd, for Python.
globals().update(HEADROOM=HEADROOM, OWN=OWN)


@cython.final
cdef class PacketRing:
    """A batch of packets in preallocated memory.

    :param slots: how many packets it holds
    :param capacity: bytes of the longest packet that fits a slot
    :ivar memory: ndarray, uint8, shape (slots, stride); a packet starts ``HEADROOM`` (64) bytes into its row
    :ivar lengths: ndarray, uint32, shape (slots,): bytes of each packet
    :ivar checked: ndarray, uint8, shape (slots,): 1 where the transport checksum need not be verified (received), or is left to the
        device, and the field holds the sum of the pseudo-header (to be sent); ``OWN`` (2) where a stack
        has sent it to itself: source and target may be the same
    :ivar segment_sizes: ndarray, uint16, shape (slots,): bytes of data into which the device is to cut a packet (TSO); 0: not at all
    :ivar count: packets in the ring now
    :raises ValueError: slots or capacity below 1
    """

    def __init__(self, Py_ssize_t slots=256, Py_ssize_t capacity=2048):
        cdef uint8_t[:, ::1] memory
        cdef uint32_t[::1] lengths
        cdef uint8_t[::1] checked
        cdef uint16_t[::1] sizes
        if slots < 1 or capacity < 1:
            raise ValueError("a ring needs at least one slot of at least one byte")
        self.slots = slots
        # An odd number of cache lines a row: with a power of two, the headers of all slots would share a few cache sets.
        self.stride = ((HEADROOM + capacity + 63) // 64 | 1) * 64
        self.capacity = self.stride - HEADROOM
        self.memory = np.zeros((slots + 1, self.stride), dtype=np.uint8)
        # Start on a cache line.
        cdef Py_ssize_t skip = -self.memory.ctypes.data % 64
        self.memory = self.memory.reshape(-1)[skip:skip + slots * self.stride].reshape(slots, self.stride)
        self.lengths = np.zeros(slots, dtype=np.uint32)
        self.checked = np.zeros(slots, dtype=np.uint8)
        self.segment_sizes = np.zeros(slots, dtype=np.uint16)
        memory = self.memory
        lengths = self.lengths
        checked = self.checked
        sizes = self.segment_sizes
        self.data = &memory[0, 0]
        self.length = &lengths[0]
        self.is_checked = &checked[0]
        self.segment_size = &sizes[0]
        self.count = 0

    def __len__(self):
        return self.count

    def packet(self, Py_ssize_t slot):
        """The packet in a slot, as an ndarray of uint8 that shares the ring's memory.

        :raises IndexError: the slot holds no packet
        """
        if not 0 <= slot < self.count:
            raise IndexError(f"slot {slot} of a ring that holds {self.count} packets")
        return self.memory[slot, HEADROOM:HEADROOM + self.length[slot]]

    cpdef void clear(self) noexcept:
        """Forget all packets; their memory is written again by the next batch."""
        self.count = 0

    cpdef bint append(self, const uint8_t[::1] packet) except -1:
        """Copy a packet in; False when the ring is full.

        :raises ValueError: the packet is longer than a slot
        """
        cdef Py_ssize_t n = packet.shape[0]
        if n > self.capacity:
            raise ValueError(f"packet of {n} bytes, slots hold {self.capacity}")
        if self.count == self.slots:
            return False
        if n:
            memcpy(packet_at(self, self.count), &packet[0], n)
        self.length[self.count] = n
        self.is_checked[self.count] = 0
        self.segment_size[self.count] = 0
        self.count += 1
        return True
