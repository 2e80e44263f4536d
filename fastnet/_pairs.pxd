from libc.stdint cimport uint16_t, uint32_t


cdef packed struct Pair:
    uint32_t address
    # Zero: an empty slot.
    uint32_t count
    uint16_t port


cdef struct Shard:
    Pair *slots
    uint32_t mask
    uint32_t used


cdef class PairCounts:
    cdef Shard shards[256]
    cdef readonly bint lost

    cdef uint32_t _add(self, uint32_t address, uint16_t port) noexcept nogil
    cdef uint32_t _subtract(self, uint32_t address, uint16_t port) noexcept nogil
    cdef uint32_t _get(self, uint32_t address, uint16_t port) noexcept nogil
    cdef bint _resize(self, Shard *shard, uint32_t size) noexcept nogil
