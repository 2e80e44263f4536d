"""Local ports: who has which, and one that is free, at a cost that does not depend on how many are taken.

What is kept: a count of connections for each port (and for each local address and port, where a stack has more than one address), what
sockets hold, and a bit for each port that says whether it may be given. Whether a 4-tuple is free, the demux knows; a few look-ups find
a free one while there are many. A destination to which most ports are taken has a map: a bit for each port of the range, and its
TIME-WAITs in the order in which they began. A map is made when the look-ups fail, and goes when three quarters of its ports are free.
"""

cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from fastnet._demux cimport Demux
from fastnet._flow cimport FourTuple, flow_hash_v4, flow_key0, flow_key1, is_v4
from fastnet._pairs cimport PairCounts
from fastnet._siphash cimport SipState, sip_final, sip_init, sip_word

cdef extern from *:
    """
    static inline int fn_lowest_bit(unsigned long long word) { return __builtin_ctzll(word); }
    """
    int _lowest_bit "fn_lowest_bit"(unsigned long long word) noexcept nogil

cdef enum:
    PORTS = 65536
    # Places of the range that are looked at before a map is made, and ports at each.
    PLACES = 8
    RUN = 4
    # A range of so many ports needs no map: all of it is looked at.
    SMALL = 64
    # How far behind the oldest TIME-WAIT one is looked for whose port no program has taken since.
    FAR = 64
    NONE = 0xffff

cdef uint64_t ALL = 0xffffffffffffffffU
cdef uint64_t EVEN = 0x5555555555555555U

NONE_FREE = -1
NEEDS_MAP = -2


cdef inline uint64_t _every_other(int port) noexcept nogil:
    """The bits of a word whose ports are even as this one is, or odd."""
    return EVEN << (port & 1)


cdef int _first_free(const uint64_t *taken, const uint64_t *others, Py_ssize_t base, int low, int high, uint64_t mask) noexcept nogil:
    """The lowest port from ``low`` to ``high`` that has no bit set, or -1.

    :param taken: a bit for each port; ``others``: the same from word ``base`` on, or NULL
    :param mask: the bits of each word that count
    """
    cdef Py_ssize_t first = low >> 6, last = high >> 6, word
    cdef uint64_t left
    if low > high:
        return -1
    for word in range(first, last + 1):
        left = ~taken[word] & mask
        if others != NULL:
            left &= ~others[word - base]
        if word == first:
            left &= ALL << (low & 63)
        if word == last:
            left &= ALL >> (63 - (high & 63))
        if left:
            return <int>(word * 64) + _lowest_bit(left)
    return -1


cdef int _next_free(
    const uint64_t *taken, const uint64_t *others, Py_ssize_t base, int low, int high, int start, uint64_t mask,
) noexcept nogil:
    """The same, from ``start`` to the end of the range and then from its beginning."""
    cdef int port = _first_free(taken, others, base, start, high, mask)
    if port < 0:
        port = _first_free(taken, others, base, low, start - 1, mask)
    return port


cdef inline uint64_t _scatter(uint64_t number) noexcept nogil:
    """Steele's and Vigna's finalizer of SplitMix: neighbours end up far apart."""
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9U
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebU
    return number ^ (number >> 31)


cdef uint32_t _address_of(FourTuple flow) noexcept nogil:
    """The local address; of IPv6, 32 bits of a keyed hash."""
    cdef SipState s
    if is_v4(flow.local_hi, flow.local_lo):
        return <uint32_t>flow.local_lo
    sip_init(&s, flow_key0, flow_key1)
    sip_word(&s, flow.local_hi, 1)
    sip_word(&s, flow.local_lo, 1)
    return <uint32_t>sip_final(&s, 3)


cdef bint _is_wildcard(str address):
    return address in ("0.0.0.0", "::")


@cython.final
cdef class PortMap:
    """Which ports of a range are taken, and which of those wait: TIME-WAITs, oldest first.

    :param low: lowest port; ``high``: highest
    """

    def __cinit__(self, int low, int high):
        self.low = low
        self.high = high
        self.base = low >> 6
        self.first = NONE
        self.last = NONE
        self.bits = <uint64_t *>calloc((high >> 6) - self.base + 1, sizeof(uint64_t))
        if self.bits == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.bits)
        free(self.following)
        free(self.preceding)

    cdef void _take(self, int port) noexcept nogil:
        cdef uint64_t bit = <uint64_t>1 << (port & 63)
        cdef uint64_t *word = &self.bits[(port >> 6) - self.base]
        if not word[0] & bit:
            word[0] |= bit
            self.used += 1

    cdef void _free(self, int port) noexcept nogil:
        cdef uint64_t bit = <uint64_t>1 << (port & 63)
        cdef uint64_t *word = &self.bits[(port >> 6) - self.base]
        if word[0] & bit:
            word[0] &= ~bit
            self.used -= 1
        self._unlink(port)

    cdef int _wait(self, int port) except -1:
        """The port's connection has gone into TIME-WAIT: it is the last in the row."""
        cdef Py_ssize_t size = self.high - self.low + 1, i
        cdef int place = port - self.low
        if self.following == NULL:
            self.following = <uint16_t *>malloc(size * sizeof(uint16_t))
            self.preceding = <uint16_t *>malloc(size * sizeof(uint16_t))
            if self.following == NULL or self.preceding == NULL:
                free(self.following)
                free(self.preceding)
                self.following = NULL
                self.preceding = NULL
                raise MemoryError()
            for i in range(size):
                # One that follows itself is not in the row.
                self.following[i] = <uint16_t>i
        self._unlink(port)
        self.following[place] = NONE
        self.preceding[place] = <uint16_t>self.last
        if self.last == NONE:
            self.first = place
        else:
            self.following[self.last] = <uint16_t>place
        self.last = place
        return 0

    cdef void _unlink(self, int port) noexcept nogil:
        cdef int place = port - self.low
        cdef int after, before
        if self.following == NULL or self.following[place] == place:
            return
        after = self.following[place]
        before = self.preceding[place]
        if before == NONE:
            self.first = after
        else:
            self.following[before] = <uint16_t>after
        if after == NONE:
            self.last = before
        else:
            self.preceding[after] = <uint16_t>before
        self.following[place] = <uint16_t>place


@cython.final
cdef class LocalPorts:
    """The local ports of one stack.

    :param demux: knows which 4-tuples are taken
    :param apart: the stack has more than one address: what is taken is counted for each
    """

    def __cinit__(self, Demux demux not None, bint apart):
        self.demux = demux
        self.apart = apart
        self.connections = <uint32_t *>calloc(PORTS, sizeof(uint32_t))
        self.connections_v6 = <uint32_t *>calloc(PORTS, sizeof(uint32_t))
        self.held = <uint32_t *>calloc(PORTS, sizeof(uint32_t))
        self.owned = <uint32_t *>calloc(PORTS, sizeof(uint32_t))
        self.wild = <uint32_t *>calloc(PORTS, sizeof(uint32_t))
        if self.connections == NULL or self.connections_v6 == NULL or self.held == NULL or self.owned == NULL or self.wild == NULL:
            raise MemoryError()
        self.connected = PairCounts()
        self.holders = PairCounts()
        self.maps = {}
        self.low = 1
        self.high = 0
        self.scratch = FourTuple("0.0.0.0", 0, "0.0.0.0", 0)

    def __dealloc__(self):
        free(self.connections)
        free(self.connections_v6)
        free(self.held)
        free(self.owned)
        free(self.wild)

    @property
    def maps_made(self) -> int:
        """Destinations, and local addresses, that have a map now."""
        return len(self.maps)

    @property
    def memory(self) -> int:
        """Bytes allocated, the counts for each port left out."""
        cdef Py_ssize_t total = self.connected.memory + self.holders.memory
        cdef PortMap ports
        for ports in self.maps.values():
            total += ((ports.high >> 6) - ports.base + 1) * sizeof(uint64_t)
            if ports.following != NULL:
                total += (ports.high - ports.low + 1) * 2 * sizeof(uint16_t)
        return total

    cdef bint _within(self, int port) noexcept nogil:
        return self.low <= port <= self.high

    cdef PortMap _map_of(self, FourTuple flow, bint local):
        """The map of a destination, or of a local address."""
        cdef FourTuple name = self.scratch
        if local:
            name.set(flow.local_hi, flow.local_lo, 0, 0, 0, 0)
        else:
            name.set(flow.local_hi, flow.local_lo, flow.remote_hi, flow.remote_lo, 0, flow.remote_port)
        return self.maps.get(name)

    cdef void _look_at(self, int low, int high) noexcept:
        """Maps are of one range of ports; for another one they are no use."""
        if low != self.low or high != self.high:
            self.maps.clear()
            self.low = low
            self.high = high

    cdef void _mark(self, FourTuple flow, bint local, bint take) noexcept:
        cdef PortMap ports = self._map_of(flow, local)
        if ports is None:
            return
        if take:
            ports._take(flow.local_port)
            return
        ports._free(flow.local_port)
        if ports.used * 4 <= ports.made:
            # ``scratch`` is still what it was found by.
            del self.maps[self.scratch]

    cdef void _show(self, int port) noexcept nogil:
        """Set a port's bits by its counts."""
        cdef uint64_t bit = <uint64_t>1 << (port & 63)
        cdef Py_ssize_t word = port >> 6
        cdef bint reserved = self.reserved[word] & bit != 0
        if self.connections[port] or self.held[port] or reserved:
            self.busy[word] |= bit
        else:
            self.busy[word] &= ~bit
        if self.owned[port] or reserved:
            self.closed[word] |= bit
        else:
            self.closed[word] &= ~bit
        if self.wild[port] or reserved:
            self.blocked[word] |= bit
        else:
            self.blocked[word] &= ~bit

    # ---- what is taken ----

    cpdef void attach(self, FourTuple flow) noexcept:
        """A connection has this 4-tuple."""
        cdef uint16_t port = flow.local_port
        cdef bint first = False
        self.connections[port] += 1
        if not is_v4(flow.local_hi, flow.local_lo):
            self.connections_v6[port] += 1
        if self.connections[port] == 1:
            self._show(port)
        if self.apart:
            first = self.connected._add(_address_of(flow), port) == 1
        if self._within(port) and len(self.maps):
            self._mark(flow, False, True)
            if first:
                self._mark(flow, True, True)

    cpdef void detach(self, FourTuple flow) noexcept:
        """It has it no more."""
        cdef uint16_t port = flow.local_port
        cdef bint last = False
        cdef uint32_t address
        if self.connections[port]:
            self.connections[port] -= 1
            if not is_v4(flow.local_hi, flow.local_lo) and self.connections_v6[port]:
                self.connections_v6[port] -= 1
        if not self.connections[port]:
            self._show(port)
        if self.apart:
            address = _address_of(flow)
            last = self.connected._subtract(address, port) == 0 and self.holders._get(address, port) == 0
        if self._within(port) and len(self.maps):
            self._mark(flow, False, False)
            if last:
                self._mark(flow, True, False)

    cpdef void wait(self, FourTuple flow) noexcept:
        """It has gone into TIME-WAIT, in which its port might be taken over."""
        cdef PortMap ports
        if self._within(flow.local_port) and len(self.maps):
            ports = self._map_of(flow, False)
            if ports is not None:
                ports._wait(flow.local_port)

    cpdef int hold(self, str address, uint16_t port, bint owned) except -1:
        """A socket, or a listener, has a local address ("0.0.0.0": any) and port.

        :param owned: a program asked for the port, so no connection gets it that did not
        :raises OSError: not an address
        """
        cdef FourTuple flow = FourTuple(address, port, address, 0)
        self.held[port] += 1
        if owned:
            self.owned[port] += 1
        if _is_wildcard(address):
            self.wild[port] += 1
        elif self.apart and self.holders._add(_address_of(flow), port) == 1 and self._within(port) and len(self.maps):
            self._mark(flow, True, True)
        self._show(port)
        return 0

    cpdef int release(self, str address, uint16_t port, bint owned) except -1:
        """What ``hold`` did, undone: the same arguments.

        :raises ValueError: nobody holds it so
        """
        cdef FourTuple flow = FourTuple(address, port, address, 0)
        cdef uint32_t where
        cdef bint wildcard = _is_wildcard(address)
        if not self.held[port] or owned and not self.owned[port] or wildcard and not self.wild[port]:
            raise ValueError(f"nobody holds {address} port {port}")
        self.held[port] -= 1
        if owned:
            self.owned[port] -= 1
        if wildcard:
            self.wild[port] -= 1
        elif self.apart:
            where = _address_of(flow)
            if self.holders._subtract(where, port) == 0 and self.connected._get(where, port) == 0 \
                    and self._within(port) and len(self.maps):
                self._mark(flow, True, False)
        self._show(port)
        return 0

    def reserve(self, list ranges) -> None:
        """Ports that only a program which names them gets: the ranges (first, last), and no others.

        :raises ValueError: a port is not 1 to 65535
        """
        cdef int port
        for first, last in ranges:
            if not 1 <= first <= last <= 65535:
                raise ValueError(f"ports are 1 to 65535, not {first} to {last}")
        memset(self.reserved, 0, sizeof(self.reserved))
        for first, last in ranges:
            for port in range(first, last + 1):
                self.reserved[port >> 6] |= <uint64_t>1 << (port & 63)
        for port in range(PORTS):
            self._show(port)

    # ---- questions ----

    cpdef bint has_connection(self, str address, uint16_t port) except -1:
        """Does a connection, or a TIME-WAIT, have this local address ("0.0.0.0": any of IPv4, "::": any of IPv6) and port?

        :raises OSError: not an address
        """
        cdef uint32_t found = self.connections_v6[port]
        if ":" not in address:
            found = self.connections[port] - found
        if not self.apart or not found or _is_wildcard(address):
            return found != 0
        return self.connected._get(_address_of(FourTuple(address, port, address, 0)), port) != 0

    def is_owned(self, uint16_t port) -> bool:
        """Has a program taken the port for itself, or is it reserved?"""
        return self.closed[port >> 6] & (<uint64_t>1 << (port & 63)) != 0

    @property
    def owned_ports(self) -> int:
        """How many ports programs have taken for themselves."""
        cdef Py_ssize_t port, total = 0
        for port in range(PORTS):
            total += self.owned[port] != 0
        return total

    # ---- choice ----

    cpdef int choose(self, FourTuple flow, uint32_t start, int low, int high) except -3:
        """Give a 4-tuple a local port that makes it nobody's, and that no program has taken; which one.

        Ports as even (or odd) as ``low`` come first, from a place of the range on and then from its beginning.

        :param flow: its local port is set
        :param start: the place: modulo the ports of the range
        :param low: lowest port; ``high``: highest
        :returns: the port; NONE_FREE; NEEDS_MAP: call ``make_map`` and again
        :raises ValueError: not a range of ports
        """
        cdef int count = high - low + 1
        cdef int place, port, other, i, _step
        cdef uint64_t seed = flow.hash ^ start
        cdef uint64_t mask
        cdef PortMap ports
        cdef uint64_t *bits = NULL
        cdef Py_ssize_t base = 0
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"ports are 1 to 65535, not {low} to {high}")
        place = low + <int>(start % <uint32_t>count & ~1)
        self._look_at(low, high)
        ports = self._map_of(flow, False) if len(self.maps) else None
        if ports is None:
            mask = _every_other(low)
            if count > SMALL:
                # If programs have taken one half, the other one is all there is.
                if _first_free(self.closed, NULL, 0, low, high, mask) < 0:
                    mask = _every_other(low + 1)
                    if _first_free(self.closed, NULL, 0, low, high, mask) < 0:
                        return NONE_FREE
                for i in range(PLACES):
                    port = place if i == 0 else low + <int>(_scatter(seed + i) % <uint64_t>count & ~1)
                    for _step in range(RUN):
                        port = _next_free(self.closed, NULL, 0, low, high, port, mask)
                        if self._is_free(flow, port):
                            return port
                        port = port + 1 if port < high else low
                return NEEDS_MAP
            port = place
            for _step in range((count + 1) // 2):
                port = _next_free(self.closed, NULL, 0, low, high, port, mask)
                if port < 0:
                    break
                if self._is_free(flow, port):
                    return port
                port = port + 2 if port + 2 <= high else low
            # The other half of a small range.
            port = low + 1
            while port <= high:
                other = _first_free(self.closed, NULL, 0, port, high, _every_other(low + 1))
                if other < 0:
                    break
                if self._is_free(flow, other):
                    return other
                port = other + 2
            return NONE_FREE
        bits = ports.bits
        base = ports.base
        port = _next_free(self.closed, bits, base, low, high, place, _every_other(low))
        if port < 0:
            port = _next_free(self.closed, bits, base, low, high, place, _every_other(low + 1))
        if port < 0:
            return NONE_FREE
        flow.set(flow.local_hi, flow.local_lo, flow.remote_hi, flow.remote_lo, <uint16_t>port, flow.remote_port)
        return port

    cdef bint _is_free(self, FourTuple flow, int port) noexcept nogil:
        flow.set(flow.local_hi, flow.local_lo, flow.remote_hi, flow.remote_lo, <uint16_t>port, flow.remote_port)
        return self.demux._find(flow) < 0

    cpdef list make_map(self, FourTuple flow, int low, int high, bint tell):
        """Make the map of a destination; the demux's numbers of what has its ports now.

        :param tell: False: no numbers, as there are no TIME-WAITs, which would still have to be told (``wait``), oldest first
        :raises MemoryError: no memory; nothing has changed
        """
        cdef PortMap ports = PortMap(low, high)
        cdef FourTuple other = flow.copy()
        cdef list numbers = []
        cdef uint64_t hashes[64]
        cdef Py_ssize_t number
        cdef int first, port, end
        for first in range(low, high + 1, 64):
            end = min(first + 64, high + 1)
            if is_v4(flow.local_hi, flow.local_lo):
                for port in range(first, end):
                    hashes[port - first] = flow_hash_v4(<uint32_t>flow.local_lo, <uint32_t>flow.remote_lo, <uint16_t>port, flow.remote_port)
            else:
                for port in range(first, end):
                    other.set(flow.local_hi, flow.local_lo, flow.remote_hi, flow.remote_lo, <uint16_t>port, flow.remote_port)
                    hashes[port - first] = other.hash
            # So that the cache misses of many look-ups overlap.
            self.demux.prefetch(hashes, end - first)
            for port in range(first, end):
                other.local_port = <uint16_t>port
                other.hash = hashes[port - first]
                number = self.demux._find(other)
                if number >= 0:
                    ports._take(port)
                    if tell:
                        numbers.append(number)
        ports.made = ports.used
        other.set(flow.local_hi, flow.local_lo, flow.remote_hi, flow.remote_lo, 0, flow.remote_port)
        self._look_at(low, high)
        self.maps[other] = ports
        return numbers

    cpdef int oldest_waiting(self, FourTuple flow) except -2:
        """Of a destination that has a map, the port that has been in TIME-WAIT for longest and that no program has taken; -1: none."""
        cdef PortMap ports = self._map_of(flow, False) if len(self.maps) else None
        cdef int place, port, _step
        if ports is None:
            return -1
        place = ports.first
        for _step in range(FAR):
            if place == NONE:
                break
            port = place + ports.low
            if not self.closed[port >> 6] & (<uint64_t>1 << (port & 63)):
                return port
            place = ports.following[place]
        return -1

    cpdef int choose_to_bind(self, str address, uint32_t start, int low, int high) except -2:
        """A port for a socket on a local address ("0.0.0.0": any) that asked for none.

        Ports that nobody has come first, and of those what ``choose`` gives last; then, for a single address, those that are taken on
        others only.

        :param start: the place of the range to begin at: modulo its ports
        :returns: the port, NONE_FREE when there is none
        :raises ValueError: not a range of ports
        :raises OSError: not an address
        """
        cdef int count = high - low + 1
        cdef int place, port, i, _step
        cdef FourTuple flow
        cdef PortMap ports
        cdef uint32_t where
        cdef uint64_t seed
        if not 1 <= low <= high <= 65535:
            raise ValueError(f"ports are 1 to 65535, not {low} to {high}")
        place = low + <int>(start % <uint32_t>count)
        port = _next_free(self.busy, NULL, 0, low, high, place, _every_other(low + 1))
        if port < 0:
            port = _next_free(self.busy, NULL, 0, low, high, place, _every_other(low))
        if port >= 0 or not self.apart or _is_wildcard(address):
            return port
        flow = FourTuple(address, 0, address, 0)
        where = _address_of(flow)
        self._look_at(low, high)
        ports = self._map_of(flow, True) if len(self.maps) else None
        if ports is None:
            seed = flow.hash ^ start
            for i in range(PLACES):
                port = place if i == 0 else low + <int>(_scatter(seed + i) % <uint64_t>count)
                for _step in range(RUN):
                    port = _next_free(self.blocked, NULL, 0, low, high, port, ALL)
                    if port < 0:
                        return NONE_FREE
                    if not self.connected._get(where, <uint16_t>port) and not self.holders._get(where, <uint16_t>port):
                        return port
                    port = port + 1 if port < high else low
            ports = PortMap(low, high)
            for port in range(low, high + 1):
                if self.connected._get(where, <uint16_t>port) or self.holders._get(where, <uint16_t>port):
                    ports._take(port)
            ports.made = ports.used
            flow.set(flow.local_hi, flow.local_lo, 0, 0, 0, 0)
            self.maps[flow] = ports
        return _next_free(self.blocked, ports.bits, ports.base, low, high, place, ALL)
