"""Demultiplexing: from a 4-tuple to the small number under which its connection is kept.

Open addressing with linear probing. A slot has 16 bytes and holds the whole of an IPv4 4-tuple, so that a look-up among millions is one
miss of the cache; IPv6 addresses lie beside, in chunks that never move, and the slot has the hash. Deletion shifts the rest of its run
back, so there are no tombstones and no decay. The table doubles without a pause: the old slots stay readable while each insertion
moves a few of them. The hash is the 4-tuple's keyed one (``_flow``), so that nobody outside can make a run long.

Listeners have two tables of their own. One has an entry for each port: who listens there on any IPv4 address, and whether anybody listens
on one address, which is most often nobody. Those on one address are in the other, a hash table by address and port.
"""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from fastnet._flow cimport V4_PREFIX, FourTuple, flow_hash_v4, is_v4

cdef extern from *:
    """
    static inline void fn_prefetch(const void *p) { __builtin_prefetch(p); }
    """
    void _prefetch "fn_prefetch"(const void *p) noexcept nogil

cdef enum:
    NONE = -1
    FIRST_SLOTS = 1024
    CHUNK_BITS = 10
    CHUNK = 1 << CHUNK_BITS
    # Old slots moved by an insertion: the old table is empty long before the new one is full.
    STEPS = 8
    PORTS = 65536
    FIRST_PLACES = 16

cdef uint32_t IS_V6 = 0x80000000U
# In an old slot: its entry is gone. The old table is never inserted into, so this costs nothing.
cdef uint32_t GONE = 0xffffffffU


cdef inline uint64_t _name(FourTuple flow) noexcept nogil:
    if is_v4(flow.remote_hi, flow.remote_lo) and is_v4(flow.local_hi, flow.local_lo):
        return (flow.local_lo << 32) | (flow.remote_lo & 0xffffffffU)
    return flow.hash


cdef inline uint32_t _ports(FourTuple flow) noexcept nogil:
    return (<uint32_t>flow.local_port << 16) | flow.remote_port


cdef inline uint32_t _family(FourTuple flow) noexcept nogil:
    """IS_V6, or 0 for IPv4."""
    return 0 if is_v4(flow.remote_hi, flow.remote_lo) and is_v4(flow.local_hi, flow.local_lo) else IS_V6


cdef inline bint _is_any_v4(FourTuple flow) noexcept nogil:
    return flow.local_hi == 0 and flow.local_lo == <uint64_t>V4_PREFIX << 32


cdef inline uint64_t _place_hash(uint64_t hi, uint64_t lo, uint16_t port) noexcept nogil:
    """The program chooses where it listens, nobody outside does: the hash needs no key."""
    cdef uint64_t x = (lo ^ (hi * 0x9e3779b97f4a7c15ULL)) + (<uint64_t>port << 40)
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL
    return x ^ (x >> 31)


cdef inline bint _same(Key *key, FourTuple flow) noexcept nogil:
    return (
        key.remote_lo == flow.remote_lo and key.local_lo == flow.local_lo
        and key.remote_hi == flow.remote_hi and key.local_hi == flow.local_hi
    )


@cython.final
cdef class Demux:
    """4-tuples and listeners -> numbers from 0 on.

    The number of what is removed is given again, but not before ``settle()``: whoever looked up a whole batch at its beginning can
    rely on a number standing for the same 4-tuple, or for nobody, until the batch is over.

    Look-up order: ``find`` (the exact 4-tuple), then ``find_listener``: (local address, port), then (any, port).
    """

    def __cinit__(self):
        self.chunks = NULL
        self.links = NULL
        self.allocated = 0
        self.free = NONE
        self.limbo = NONE
        self.limbo_tail = NONE
        self.used = 0
        self.count = 0
        self.old = NULL
        self.slots = <Slot *>calloc(FIRST_SLOTS, sizeof(Slot))
        self.mask = FIRST_SLOTS - 1
        self.ports = <Port *>calloc(PORTS, sizeof(Port))
        self.places = NULL
        self.places_mask = 0
        self.places_count = 0
        if self.slots == NULL or self.ports == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.allocated >> CHUNK_BITS):
            free(self.chunks[i])
        free(self.chunks)
        free(self.links)
        free(self.slots)
        free(self.old)
        free(self.ports)
        free(self.places)

    def __len__(self):
        return self.count

    def __contains__(self, FourTuple flow not None):
        return self._find(flow) >= 0

    @property
    def capacity(self) -> int:
        """Slots of the table, of which at most 5/8 are used."""
        return self.mask + 1

    @property
    def memory(self) -> int:
        """Bytes allocated."""
        cdef Py_ssize_t i
        cdef size_t total = (self.mask + 1) * sizeof(Slot) + PORTS * sizeof(Port)
        if self.places != NULL:
            total += (self.places_mask + 1) * sizeof(int32_t)
        if self.old != NULL:
            total += (self.old_mask + 1) * sizeof(Slot)
        total += self.allocated * sizeof(int32_t) + (self.allocated >> CHUNK_BITS) * sizeof(Key *)
        for i in range(self.allocated >> CHUNK_BITS):
            if self.chunks[i] != NULL:
                total += CHUNK * sizeof(Key)
        return total

    @property
    def furthest_listener(self) -> int:
        """Steps from where a listener on one address should be to where it is: of the furthest."""
        cdef uint64_t i, home, furthest = 0
        cdef Key *key
        for i in range(self.places_mask + 1 if self.places != NULL else 0):
            if self.places[i]:
                key = self._key(self.places[i] - 1)
                home = _place_hash(key.local_hi, key.local_lo, <uint16_t>key.remote_lo)
                furthest = max(furthest, (i - home) & self.places_mask)
        return furthest

    cdef Key *_key(self, uint32_t number) noexcept nogil:
        return &self.chunks[number >> CHUNK_BITS][number & (CHUNK - 1)]

    cdef Key *_make_key(self, uint32_t number) except NULL:
        """The place of a number's addresses; most numbers never need one."""
        cdef Py_ssize_t chunk = number >> CHUNK_BITS
        if self.chunks[chunk] == NULL:
            self.chunks[chunk] = <Key *>malloc(CHUNK * sizeof(Key))
            if self.chunks[chunk] == NULL:
                raise MemoryError(f"no memory for {CHUNK} keys")
        return self._key(number)

    cdef uint64_t _hash_of(self, Slot *slot) noexcept nogil:
        if slot.entry & IS_V6:
            return slot.name
        return flow_hash_v4(
            <uint32_t>(slot.name >> 32), <uint32_t>slot.name, <uint16_t>(slot.ports >> 16), <uint16_t>slot.ports
        )

    cdef Py_ssize_t _probe(self, Slot *slots, uint64_t mask, FourTuple flow) noexcept nogil:
        """The slot of a 4-tuple, or NONE."""
        cdef uint64_t name = _name(flow)
        cdef uint32_t ports = _ports(flow)
        cdef uint32_t family = _family(flow)
        cdef uint64_t at = flow.hash & mask
        cdef Slot *slot = &slots[at]
        while slot.entry:
            if slot.name == name and slot.ports == ports and (slot.entry & IS_V6) == family and slot.entry != GONE \
                    and (not family or _same(self._key((slot.entry & ~IS_V6) - 1), flow)):
                return at
            at = (at + 1) & mask
            slot = &slots[at]
        return NONE

    cdef Py_ssize_t _find(self, FourTuple flow) noexcept nogil:
        cdef Py_ssize_t at = self._probe(self.slots, self.mask, flow)
        if at >= 0:
            return (self.slots[at].entry & ~IS_V6) - 1
        if self.old != NULL:
            at = self._probe(self.old, self.old_mask, flow)
            if at >= 0:
                return (self.old[at].entry & ~IS_V6) - 1
        return NONE

    cdef void _put(self, uint64_t hash, Slot slot) noexcept nogil:
        cdef uint64_t at = hash & self.mask
        while self.slots[at].entry:
            at = (at + 1) & self.mask
        self.slots[at] = slot

    cdef void _delete(self, uint64_t at) noexcept nogil:
        """Empty a slot, and move back whatever was displaced past it."""
        cdef uint64_t hole = at
        cdef uint64_t home
        while True:
            at = (at + 1) & self.mask
            if not self.slots[at].entry:
                break
            home = self._hash_of(&self.slots[at]) & self.mask
            # It may move into the hole if the hole lies between its home and where it is.
            if ((at - home) & self.mask) >= ((at - hole) & self.mask):
                self.slots[hole] = self.slots[at]
                hole = at
        self.slots[hole].entry = 0

    cdef void _migrate(self, int steps) noexcept nogil:
        """Copy a few old slots into the new table; they stay in the old one, so that runs there keep their shape."""
        cdef Slot *slot
        while steps and self.old != NULL:
            slot = &self.old[self.migrated]
            if slot.entry and slot.entry != GONE:
                self._put(self._hash_of(slot), slot[0])
            if self.migrated == self.old_mask:
                free(self.old)
                self.old = NULL
            self.migrated += 1
            steps -= 1

    cdef int _grow(self) except -1:
        cdef uint64_t size = 2 * (self.mask + 1)
        cdef Slot *slots
        self._migrate(-1)
        slots = <Slot *>calloc(size, sizeof(Slot))
        if slots == NULL:
            raise MemoryError(f"no memory for {size} slots")
        self.old = self.slots
        self.old_mask = self.mask
        self.migrated = 0
        self.slots = slots
        self.mask = size - 1
        return 0

    cdef int32_t _take_number(self) except -1:
        cdef int32_t number = self.free
        cdef int32_t *links
        cdef Key **chunks
        cdef Py_ssize_t size
        if number != NONE:
            self.free = self.links[number]
            return number
        if self.used == self.allocated:
            size = max(CHUNK, 2 * self.allocated)
            links = <int32_t *>realloc(self.links, size * sizeof(int32_t))
            if links == NULL:
                raise MemoryError(f"no memory for {size} numbers")
            self.links = links
            chunks = <Key **>realloc(self.chunks, (size >> CHUNK_BITS) * sizeof(Key *))
            if chunks == NULL:
                raise MemoryError(f"no memory for {size} numbers")
            memset(&chunks[self.allocated >> CHUNK_BITS], 0, ((size - self.allocated) >> CHUNK_BITS) * sizeof(Key *))
            self.chunks = chunks
            self.allocated = size
        self.used += 1
        return <int32_t>(self.used - 1)

    cdef void prefetch(self, const uint64_t *hashes, Py_ssize_t n) noexcept nogil:
        """Ask for the memory that the look-ups of a batch will touch, so that its cache misses overlap."""
        cdef Py_ssize_t i
        for i in range(n):
            _prefetch(&self.slots[hashes[i] & self.mask])

    cpdef Py_ssize_t find(self, FourTuple flow) except -2:
        """The number of a 4-tuple, or -1."""
        if flow is None:
            raise TypeError("flow cannot be None")
        return self._find(flow)

    cpdef Py_ssize_t insert(self, FourTuple flow) except -1:
        """Give a 4-tuple a number.

        :raises ValueError: it has one
        :raises MemoryError: no memory; nothing has changed
        """
        if flow is None:
            raise TypeError("flow cannot be None")
        cdef int32_t number
        cdef Key *key
        cdef Slot slot
        if self._find(flow) >= 0:
            raise ValueError(f"{flow} has a number already")
        if self.count * 8 >= <Py_ssize_t>(self.mask + 1) * 5:
            self._grow()
        number = self._take_number()
        slot.name = _name(flow)
        slot.ports = _ports(flow)
        slot.entry = (<uint32_t>number + 1) | _family(flow)
        if slot.entry & IS_V6:
            key = self._make_key(number)
            key.local_hi = flow.local_hi
            key.local_lo = flow.local_lo
            key.remote_hi = flow.remote_hi
            key.remote_lo = flow.remote_lo
        self._put(flow.hash, slot)
        self.count += 1
        if self.old != NULL:
            self._migrate(STEPS)
        return number

    cpdef Py_ssize_t remove(self, FourTuple flow) except -2:
        """Forget a 4-tuple; the number it had, or -1."""
        if flow is None:
            raise TypeError("flow cannot be None")
        cdef Py_ssize_t number = NONE
        cdef Py_ssize_t at = self._probe(self.slots, self.mask, flow)
        if at >= 0:
            number = (self.slots[at].entry & ~IS_V6) - 1
            self._delete(at)
        if self.old != NULL:
            at = self._probe(self.old, self.old_mask, flow)
            if at >= 0:
                number = (self.old[at].entry & ~IS_V6) - 1
                self.old[at].entry = GONE
        if number >= 0:
            self._let_go(number)
            self.count -= 1
        return number

    cdef void _let_go(self, int32_t number) noexcept nogil:
        self.links[number] = self.limbo
        if self.limbo == NONE:
            self.limbo_tail = number
        self.limbo = number

    cpdef void settle(self) noexcept:
        """A batch is over: numbers that were let go may be given again."""
        if self.limbo != NONE:
            self.links[self.limbo_tail] = self.free
            self.free = self.limbo
            self.limbo = NONE

    cdef Py_ssize_t _probe_place(self, uint64_t hi, uint64_t lo, uint16_t port) noexcept nogil:
        """Where in ``places`` a local address and port are, or NONE."""
        cdef uint64_t at
        cdef Key *key
        if self.places == NULL:
            return NONE
        at = _place_hash(hi, lo, port) & self.places_mask
        while self.places[at]:
            key = self._key(self.places[at] - 1)
            if key.local_lo == lo and key.local_hi == hi and key.remote_lo == port:
                return at
            at = (at + 1) & self.places_mask
        return NONE

    cdef void _put_place(self, int32_t entry) noexcept nogil:
        cdef Key *key = self._key(entry - 1)
        cdef uint64_t at = _place_hash(key.local_hi, key.local_lo, <uint16_t>key.remote_lo) & self.places_mask
        while self.places[at]:
            at = (at + 1) & self.places_mask
        self.places[at] = entry

    cdef void _delete_place(self, uint64_t at) noexcept nogil:
        """Empty a place, and move back whatever was displaced past it."""
        cdef uint64_t hole = at
        cdef uint64_t home
        cdef Key *key
        while True:
            at = (at + 1) & self.places_mask
            if not self.places[at]:
                break
            key = self._key(self.places[at] - 1)
            home = _place_hash(key.local_hi, key.local_lo, <uint16_t>key.remote_lo) & self.places_mask
            if ((at - home) & self.places_mask) >= ((at - hole) & self.places_mask):
                self.places[hole] = self.places[at]
                hole = at
        self.places[hole] = 0

    cdef int _room_for_a_place(self) except -1:
        """At most half of ``places`` is used."""
        cdef int32_t *old = self.places
        cdef uint64_t i, size = self.places_mask + 1 if old != NULL else 0
        cdef uint64_t larger = max(<uint64_t>FIRST_PLACES, 2 * size)
        if 2 * (self.places_count + 1) <= <Py_ssize_t>size:
            return 0
        self.places = <int32_t *>calloc(larger, sizeof(int32_t))
        if self.places == NULL:
            self.places = old
            raise MemoryError(f"no memory for {larger} listeners")
        self.places_mask = larger - 1
        for i in range(size):
            if old[i]:
                self._put_place(old[i])
        free(old)
        return 0

    cpdef Py_ssize_t listen(self, str address, uint16_t port) except -1:
        """Give a local address and port a number. "0.0.0.0" stands for any IPv4 address, "::" for any IPv6 address (and no IPv4).

        :raises ValueError: they have one
        :raises OSError: not an address
        :raises MemoryError: no memory; nothing has changed
        """
        cdef FourTuple flow = FourTuple(address, port, address, 0)
        cdef bint everywhere = _is_any_v4(flow)
        cdef int32_t taken
        cdef Key *key
        if self.ports[port].anywhere if everywhere else self._probe_place(flow.local_hi, flow.local_lo, port) >= 0:
            raise ValueError(f"{address} port {port} has a number already")
        if not everywhere:
            self._room_for_a_place()
        taken = self._take_number()
        if everywhere:
            self.ports[port].anywhere = taken + 1
            return taken
        try:
            key = self._make_key(taken)
        except MemoryError:
            self._let_go(taken)
            raise
        key.local_hi = flow.local_hi
        key.local_lo = flow.local_lo
        key.remote_hi = 0
        key.remote_lo = port
        self._put_place(taken + 1)
        self.places_count += 1
        self.ports[port].places += 1
        return taken

    cpdef Py_ssize_t unlisten(self, str address, uint16_t port) except -1:
        """Forget a local address and port; the number they had.

        :raises KeyError: they have none
        """
        cdef FourTuple flow = FourTuple(address, port, address, 0)
        cdef int32_t number = NONE
        cdef Py_ssize_t at
        if _is_any_v4(flow):
            number = self.ports[port].anywhere - 1
            self.ports[port].anywhere = 0
        else:
            at = self._probe_place(flow.local_hi, flow.local_lo, port)
            if at >= 0:
                number = self.places[at] - 1
                self._delete_place(at)
                self.places_count -= 1
                self.ports[port].places -= 1
        if number == NONE:
            raise KeyError(f"{address} port {port}")
        self._let_go(number)
        return number

    cpdef Py_ssize_t find_listener(self, FourTuple flow) except -2:
        """The number of whoever listens where a 4-tuple's local side is, or -1."""
        if flow is None:
            raise TypeError("flow cannot be None")
        return self._find_listener(flow)

    cdef Py_ssize_t _find_listener(self, FourTuple flow) noexcept nogil:
        cdef Port *port = &self.ports[flow.local_port]
        cdef bint v4 = is_v4(flow.local_hi, flow.local_lo)
        cdef Py_ssize_t at
        if port.places:
            at = self._probe_place(flow.local_hi, flow.local_lo, flow.local_port)
            if at < 0 and not v4:
                at = self._probe_place(0, 0, flow.local_port)
            if at >= 0:
                return self.places[at] - 1
        return port.anywhere - 1 if v4 else NONE

    def find_all(self, list flows not None, bint prefetch=True, Py_ssize_t times=1) -> int:
        """For benchmarks: find a list of 4-tuples in batches of 64, without leaving C; how many were found.

        :param times: go over the list so often, at most a million times
        :raises ValueError: more often
        """
        if times > 1_000_000:
            raise ValueError(f"{times} times")
        cdef Py_ssize_t i, _turn, first, n = len(flows), found = 0
        cdef uint64_t hashes[64]
        cdef PyObject **items = <PyObject **>malloc(max(n, 1) * sizeof(PyObject *))
        if items == NULL:
            raise MemoryError()
        for i in range(n):
            if not isinstance(flows[i], FourTuple):
                free(items)
                raise TypeError("find_all takes a list of FourTuple")
            items[i] = <PyObject *>flows[i]
        for _turn in range(times):
            for first in range(0, n, 64):
                for i in range(min(64, n - first)):
                    hashes[i] = (<FourTuple>items[first + i]).hash
                if prefetch:
                    self.prefetch(hashes, min(64, n - first))
                for i in range(min(64, n - first)):
                    found += self._find(<FourTuple>items[first + i]) >= 0
        free(items)
        return found
