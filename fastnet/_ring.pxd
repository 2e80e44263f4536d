from libc.stdint cimport uint8_t, uint16_t, uint32_t

# Bytes kept free before each packet: a device puts its own header there (virtio_net_hdr), and the packet starts a cache line.
cdef enum:
    HEADROOM = 64
    # In ``checked``: a packet from the stack itself.
    OWN = 2


cdef class PacketRing:
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
    cdef public Py_ssize_t count

    cpdef void clear(self) noexcept
    cpdef bint append(self, const uint8_t[::1] packet) except -1


cdef inline uint8_t *packet_at(PacketRing ring, Py_ssize_t slot) noexcept nogil:
    return ring.data + slot * ring.stride + HEADROOM
