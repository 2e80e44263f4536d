from libc.stdint cimport uint8_t, uint16_t, uint32_t

# Bytes kept free before each packet: a device puts its own header there (virtio_net_hdr), and the packet starts a cache line.
cdef enum:
    HEADROOM = 64
    # In ``checked``: a packet from the stack itself.
    OWN = 2


cdef class Block:
    cdef uint8_t *data
    cdef Py_ssize_t size


cdef class PacketRing:
    cdef Block block
    cdef readonly object memory
    cdef readonly object lengths
    cdef uint8_t *data
    cdef readonly object checked
    cdef readonly object segment_sizes
    cdef uint32_t *length
    cdef uint8_t *is_checked
    cdef uint16_t *segment_size
    cdef readonly Py_ssize_t slots
    cdef readonly Py_ssize_t stride
    cdef readonly Py_ssize_t capacity
    cdef readonly Py_ssize_t count

    cpdef void clear(self) noexcept
    cpdef int hold(self, Py_ssize_t count) except -1
    cpdef bint append(self, const uint8_t[::1] packet) except -1


cdef inline uint32_t length_at(PacketRing ring, Py_ssize_t slot) noexcept nogil:
    """Bytes of the packet in a slot: never more than the slot has, whatever Python wrote into ``lengths``."""
    cdef uint32_t length = ring.length[slot]
    return length if length <= ring.capacity else <uint32_t>ring.capacity


cdef inline uint8_t *packet_at(PacketRing ring, Py_ssize_t slot) noexcept nogil:
    return ring.data + slot * ring.stride + HEADROOM
