"""How many of something there are for each local address and port: connections, and sockets that hold one."""

cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastnet._flow cimport flow_key0, flow_key1
from fastnet._siphash cimport SipState, sip_final, sip_init, sip_word

cdef enum:
    SHARDS = 256
    FIRST_SLOTS = 8


@cython.final
cdef class PairCounts:
    """How many of something there are for each (address, port).

    Open addressing in 256 small tables, each of which grows and shrinks alone: none takes long. Ten bytes a slot.

    :ivar lost: memory was short once: what is counted is too little from then on
    """

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(SHARDS):
            free(self.shards[i].slots)

    def __len__(self):
        cdef Py_ssize_t i, total = 0
        for i in range(SHARDS):
            total += self.shards[i].used
        return total

    @property
    def memory(self) -> int:
        """Bytes allocated."""
        cdef Py_ssize_t i, total = 0
        for i in range(SHARDS):
            if self.shards[i].slots != NULL:
                total += (<Py_ssize_t>self.shards[i].mask + 1) * sizeof(Pair)
        return total

    def add(self, uint32_t address, uint16_t port) -> int:
        """One more; how many there are now."""
        return self._add(address, port)

    def subtract(self, uint32_t address, uint16_t port) -> int:
        """One less; how many there are now."""
        return self._subtract(address, port)

    def get(self, uint32_t address, uint16_t port) -> int:
        """How many."""
        return self._get(address, port)

    cdef uint32_t _add(self, uint32_t address, uint16_t port) noexcept nogil:
        cdef uint64_t hash = _pair_hash(address, port)
        cdef Shard *shard = &self.shards[hash >> 56]
        cdef uint32_t at
        if shard.slots == NULL and not self._resize(shard, FIRST_SLOTS):
            return 1
        at = <uint32_t>hash & shard.mask
        while shard.slots[at].count:
            if shard.slots[at].address == address and shard.slots[at].port == port:
                shard.slots[at].count += 1
                return shard.slots[at].count
            at = (at + 1) & shard.mask
        if (shard.used + 1) * 4 > (shard.mask + 1) * 3:
            if not self._resize(shard, 2 * (shard.mask + 1)):
                return 1
            at = <uint32_t>hash & shard.mask
            while shard.slots[at].count:
                at = (at + 1) & shard.mask
        shard.slots[at].address = address
        shard.slots[at].port = port
        shard.slots[at].count = 1
        shard.used += 1
        return 1

    cdef uint32_t _subtract(self, uint32_t address, uint16_t port) noexcept nogil:
        cdef uint64_t hash = _pair_hash(address, port)
        cdef Shard *shard = &self.shards[hash >> 56]
        cdef uint32_t at, hole, home
        if shard.slots == NULL:
            return 0
        at = <uint32_t>hash & shard.mask
        while shard.slots[at].address != address or shard.slots[at].port != port or not shard.slots[at].count:
            if not shard.slots[at].count:
                return 0
            at = (at + 1) & shard.mask
        shard.slots[at].count -= 1
        if shard.slots[at].count:
            return shard.slots[at].count
        # Move back whatever was displaced past it.
        hole = at
        while True:
            at = (at + 1) & shard.mask
            if not shard.slots[at].count:
                break
            home = <uint32_t>_pair_hash(shard.slots[at].address, shard.slots[at].port) & shard.mask
            if ((at - home) & shard.mask) >= ((at - hole) & shard.mask):
                shard.slots[hole] = shard.slots[at]
                hole = at
        shard.slots[hole].count = 0
        shard.used -= 1
        if shard.used == 0:
            free(shard.slots)
            shard.slots = NULL
        elif shard.mask >= 2 * FIRST_SLOTS and shard.used * 8 < shard.mask:
            self._resize(shard, (shard.mask + 1) // 2)
        return 0

    cdef uint32_t _get(self, uint32_t address, uint16_t port) noexcept nogil:
        cdef uint64_t hash = _pair_hash(address, port)
        cdef Shard *shard = &self.shards[hash >> 56]
        cdef uint32_t at
        if shard.slots != NULL:
            at = <uint32_t>hash & shard.mask
            while shard.slots[at].count:
                if shard.slots[at].address == address and shard.slots[at].port == port:
                    return shard.slots[at].count
                at = (at + 1) & shard.mask
        # Where something was not counted, nothing is known to be free.
        return 1 if self.lost else 0

    cdef bint _resize(self, Shard *shard, uint32_t size) noexcept nogil:
        cdef Pair *old = shard.slots
        cdef Pair *slots = <Pair *>calloc(size, sizeof(Pair))
        cdef uint32_t at, i
        if slots == NULL:
            if old == NULL or size > shard.mask:
                self.lost = True
            return False
        if old != NULL:
            for i in range(shard.mask + 1):
                if old[i].count:
                    at = <uint32_t>_pair_hash(old[i].address, old[i].port) & (size - 1)
                    while slots[at].count:
                        at = (at + 1) & (size - 1)
                    slots[at] = old[i]
        free(old)
        shard.slots = slots
        shard.mask = size - 1
        return True


cdef uint64_t _pair_hash(uint32_t address, uint16_t port) noexcept nogil:
    """SipHash-1-3 under the key of the 4-tuples' hash; the length says that it is none of those."""
    cdef SipState s
    sip_init(&s, flow_key0, flow_key1)
    sip_word(&s, (<uint64_t>6 << 56) | (<uint64_t>address << 16) | port, 1)
    return sip_final(&s, 3)
