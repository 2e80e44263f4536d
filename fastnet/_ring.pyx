"""Packet rings: preallocated slots that devices fill and empty in one GIL-free loop.

A ring is a batch: the device appends packets, the stack walks slots 0 to ``count - 1``, and ``clear()`` makes it empty. The memory
is one numpy array of shape (slots, stride), so that any slot can be looked at as an ndarray without a copy.
"""

import numpy as np

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

# The C constants of the .pxd, for Python.
globals().update(HEADROOM=HEADROOM, OWN=OWN)


cdef enum:
    # Slots, and bytes of a slot: their product is still a size.
    LARGEST = 0x40000000


@cython.final
cdef class Block:
    """Memory that stays where it is, as large as it is, for as long as somebody looks at it."""

    def __cinit__(self, Py_ssize_t size):
        if size < 1:
            raise ValueError("a block has at least one byte")
        self.data = <uint8_t *>calloc(size, 1)
        if self.data == NULL:
            raise MemoryError(f"no memory for a ring of {size} bytes")
        self.size = size

    def __dealloc__(self):
        free(self.data)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 0, flags)


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
    :ivar segment_sizes: ndarray, uint16, shape (slots,): bytes of data into which the device is to cut a packet (TSO), or of each segment
        that it has put together into one; 0: the packet is one segment
    :ivar count: packets in the ring now
    :raises ValueError: slots or capacity below 1 or above 2**30
    :raises MemoryError: no memory
    """

    def __cinit__(self, Py_ssize_t slots=256, Py_ssize_t capacity=2048):
        cdef Py_ssize_t skip, size
        if slots < 1 or capacity < 1:
            raise ValueError("a ring needs at least one slot of at least one byte")
        if slots > LARGEST or capacity > LARGEST:
            raise ValueError(f"a ring has at most {LARGEST} slots of {LARGEST} bytes")
        self.slots = slots
        # An odd number of cache lines a row: with a power of two, the headers of all slots would share a few cache sets.
        self.stride = ((HEADROOM + capacity + 63) // 64 | 1) * 64
        self.capacity = self.stride - HEADROOM
        size = slots * self.stride
        # The arrays are views: numpy cannot resize them, and the ring holds the block itself.
        self.block = Block(size + slots * (sizeof(uint32_t) + sizeof(uint16_t) + sizeof(uint8_t)) + 64)
        # Start on a cache line.
        skip = -<Py_ssize_t>self.block.data & 63
        self.data = self.block.data + skip
        self.memory = np.frombuffer(self.block, np.uint8, size, skip).reshape(slots, self.stride)
        skip += size
        self.length = <uint32_t *>(self.block.data + skip)
        self.lengths = np.frombuffer(self.block, np.uint32, slots, skip)
        skip += slots * sizeof(uint32_t)
        self.segment_size = <uint16_t *>(self.block.data + skip)
        self.segment_sizes = np.frombuffer(self.block, np.uint16, slots, skip)
        skip += slots * sizeof(uint16_t)
        self.is_checked = self.block.data + skip
        self.checked = np.frombuffer(self.block, np.uint8, slots, skip)
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

    cpdef int hold(self, Py_ssize_t count) except -1:
        """Say how many packets the ring holds, after writing them into ``memory`` and ``lengths``, or to forget the last ones.

        :raises ValueError: not 0 to ``slots``
        """
        if not 0 <= count <= self.slots:
            raise ValueError(f"a ring of {self.slots} slots cannot hold {count} packets")
        self.count = count
        return 0

    cpdef bint append(self, const uint8_t[::1] packet) except -1:
        """Copy a packet in; False when the ring is full.

        :raises ValueError: the packet is longer than a slot
        """
        if packet is None:
            raise TypeError("packet cannot be None")
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
