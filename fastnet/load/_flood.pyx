"""Packets that nobody asked for, as fast as a device takes them or at a rate: what a server under attack has to bear.

Every packet is good as a packet (lengths, checksums); what is wrong is that there is nothing behind it. Ports, sequence and
acknowledgment numbers come from a seed, so that two servers can be given the same flood. Sources come in no order that one sees, but
each comes once before any comes again.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastnet._bytes cimport store16, store16_raw, store32, swap16
from fastnet._checksum cimport checksum_add, checksum_fold
from fastnet._ring cimport PacketRing, packet_at
from fastnet._tun cimport Tun

cdef extern from *:
    """
    #include <time.h>
    #include <unistd.h>
    #include <stdint.h>
    static int64_t fn_flood_now(clockid_t clock) {
        struct timespec t;
        clock_gettime(clock, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static void fn_flood_sleep_until(int64_t ns) {
        struct timespec t = {ns / 1000000000, ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
    """
    ctypedef int clockid_t
    clockid_t CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID
    int64_t _now "fn_flood_now"(clockid_t clock) nogil
    void _sleep_until "fn_flood_sleep_until"(int64_t ns) nogil
    Py_ssize_t c_write "write"(int fd, const void *buffer, size_t size) nogil

cdef enum:
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    FIRST_PORT = 1024
    # Bytes that the longest of them has room in; every ring's slots have as many.
    PACKET = 128
    # Data in a segment or fragment that carries some: so many bytes, all the same.
    PAYLOAD = 32
    # Packets between two looks at the clock.
    BURST = 32

# What is written.
cdef enum:
    K_SYN
    K_ACK
    K_RST
    K_FIN
    K_FRAGMENT
    K_DATA

_KINDS = {"syn": K_SYN, "ack": K_ACK, "rst": K_RST, "fin": K_FIN, "fragment": K_FRAGMENT, "data": K_DATA}
KINDS = tuple(_KINDS)

# How far behind its rate a flood may fall and still catch up, ns: what a machine that was busy elsewhere owes is not paid at once.
cdef int64_t LATE = 2_000_000


cdef class Flood:
    """A source of packets for one server.

    :param tun: where ``run`` writes them; None: only ``fill`` is wanted
    :param target: the server's IPv4 address as a number; ``port``: its port
    :param first_source: the first source address as a number; ``sources``: how many follow each other, a power of two
    :param seed: the same seed gives the same packets
    :ivar sent: packets that the device took; ``unsent``: packets that it did not
    :ivar seconds: length of the last run; ``cpu``: this process's CPU time in it, seconds
    """

    cdef Tun tun
    cdef uint32_t target
    cdef uint16_t port
    cdef uint32_t first_source
    cdef uint32_t sources
    cdef uint64_t state
    cdef uint32_t turn
    cdef uint32_t *flows
    cdef Py_ssize_t flow_count
    cdef readonly long long sent
    cdef readonly long long unsent
    cdef readonly double seconds
    cdef readonly double cpu

    def __cinit__(
        self, Tun tun or None, uint32_t target, uint16_t port, uint32_t first_source, uint32_t sources=65536, uint64_t seed=0,
    ):
        if not 1 <= sources <= 1 << 24 or sources & (sources - 1):
            raise ValueError(f"sources is a power of two up to {1 << 24}, not {sources}")
        self.tun = tun
        self.target = target
        self.port = port
        self.first_source = first_source
        self.sources = sources
        self.state = seed
        self.turn = <uint32_t>seed
        self.flows = NULL

    def __dealloc__(self):
        free(self.flows)

    def run(self, str kind, long long packets, double rate=0, flows=()) -> int:
        """Write so many packets.

        syn: SYNs with Linux's options. ack, rst, fin: segments of no connection. fragment: parts of packets that never become whole.
        data: text, FINs, RSTs and SYNs with any sequence and acknowledgment numbers, for given 4-tuples.

        :param rate: packets per second; 0: as fast as the device takes them
        :param flows: for data: the peers' addresses (as numbers) and ports
        :returns: packets that the device took
        :raises ValueError: a kind that does not exist, or data without flows
        """
        cdef int64_t started, cpu
        cdef long long before = self.sent
        cdef int what = self._prepare(kind, flows)
        if self.tun is None:
            raise ValueError("a flood without a device has nowhere to write")
        started = _now(CLOCK_MONOTONIC)
        cpu = _now(CLOCK_PROCESS_CPUTIME_ID)
        with nogil:
            self._run(what, packets, rate, started)
        self.seconds = (_now(CLOCK_MONOTONIC) - started) / 1e9
        self.cpu = (_now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9
        return self.sent - before

    def fill(self, PacketRing ring not None, str kind, flows=()) -> int:
        """Append packets to a ring until it is full, for a stack in memory; how many.

        :raises ValueError: as ``run``
        """
        cdef int what = self._prepare(kind, flows)
        cdef Py_ssize_t first = ring.count
        while ring.count < ring.slots:
            ring.length[ring.count] = self._build(what, packet_at(ring, ring.count))
            ring.is_checked[ring.count] = 0
            ring.segment_size[ring.count] = 0
            ring.count += 1
        return ring.count - first

    cdef int _prepare(self, str kind, flows) except -1:
        """The number of a kind; whom it is aimed at is noted."""
        cdef Py_ssize_t i
        if kind not in _KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
        # What runs a program comes first.
        pairs = [(int(address) & 0xffffffff, int(port) & 0xffff) for address, port in flows]
        if kind == "data" and not pairs:
            raise ValueError("data needs connections to aim at")
        cdef uint32_t *targets = <uint32_t *>malloc(2 * max(1, len(pairs)) * sizeof(uint32_t))
        if targets == NULL:
            raise MemoryError()
        for i in range(len(pairs)):
            targets[2 * i], targets[2 * i + 1] = pairs[i]
        free(self.flows)
        self.flows = targets
        self.flow_count = len(pairs)
        return _KINDS[kind]

    cdef void _run(self, int what, long long packets, double rate, int64_t due) noexcept nogil:
        cdef uint8_t packet[PACKET]
        cdef uint32_t size
        cdef long long i
        cdef int64_t now
        cdef int64_t burst = <int64_t>(BURST / rate * 1e9) if rate > 0 else 0
        for i in range(packets):
            if burst and i % BURST == 0:
                now = _now(CLOCK_MONOTONIC)
                if now < due:
                    _sleep_until(due)
                due = max(due, now - LATE) + burst
            size = self._build(what, packet)
            if c_write(self.tun.fd, packet, size) < 0:
                self.unsent += 1
            else:
                self.sent += 1

    cdef uint64_t _draw(self) noexcept nogil:
        """SplitMix64 (Steele, Lea, Flood 2014): quick, and good enough to be no pattern."""
        cdef uint64_t z
        self.state += 0x9e3779b97f4a7c15ULL
        z = self.state
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL
        return z ^ (z >> 31)

    cdef uint32_t _build(self, int what, uint8_t *packet) noexcept nogil:
        """One packet; its size."""
        cdef uint64_t chance = self._draw()
        cdef uint64_t numbers = self._draw()
        cdef uint32_t source = self.first_source + (self.turn * 2654435761U & (self.sources - 1))
        cdef uint32_t source_port = FIRST_PORT + <uint32_t>((chance >> 16) & 0xffff) % (65536 - FIRST_PORT)
        cdef uint32_t draw = <uint32_t>(chance >> 32)
        cdef uint32_t header = 20, size = 0, flags = ACK, identification = 0, offset = 0x4000
        cdef uint8_t *tcp = packet + 20
        cdef uint64_t pseudo
        self.turn += 1
        if what == K_SYN:
            flags = SYN
            # MSS, SACK-permitted, timestamps, NOP, window scale 7: the order in which Linux has them.
            store32(tcp + 20, 0x020405b4U)
            store32(tcp + 24, 0x0402080aU)
            store32(tcp + 28, draw)
            store32(tcp + 32, 0)
            store32(tcp + 36, 0x01030307U)
            header = 40
        elif what == K_RST:
            flags = RST if draw & 1 else RST | ACK
        elif what == K_FIN:
            flags = FIN if draw & 1 else FIN | ACK
        elif what == K_FRAGMENT:
            # More fragments, always: half of them first ones, half from somewhere in the middle.
            size = PAYLOAD
            identification = draw & 0xffff
            offset = 0x2000 | ((draw >> 16) % 180 if draw >> 31 else 0)
        elif what == K_DATA:
            source = self.flows[2 * (draw % self.flow_count)]
            source_port = self.flows[2 * (draw % self.flow_count) + 1]
            if draw >> 30 == 0:
                flags = RST
            elif draw >> 30 == 1:
                flags = SYN
            elif draw >> 30 == 2:
                flags = FIN | ACK
            else:
                flags = PSH | ACK
                size = PAYLOAD
        memset(tcp + header, 0x5a, size)
        store32(packet, 0x45000000U | (20 + header + size))
        store32(packet + 4, (identification << 16) | offset)
        store32(packet + 8, 0x40060000U)
        store32(packet + 12, source)
        store32(packet + 16, self.target)
        store16_raw(packet + 10, ~checksum_fold(checksum_add(packet, 20, 0)))
        store16(tcp, <uint16_t>source_port)
        store16(tcp + 2, self.port)
        store32(tcp + 4, <uint32_t>numbers)
        store32(tcp + 8, <uint32_t>(numbers >> 32) if flags & ACK else 0)
        store32(tcp + 12, (header << 26) | (flags << 16) | 64240)
        store32(tcp + 16, 0)
        pseudo = checksum_add(packet + 12, 8, swap16(6) + <uint64_t>swap16(<uint16_t>(header + size)))
        store16_raw(tcp + 16, ~checksum_fold(checksum_add(tcp, header + size, pseudo)))
        return 20 + header + size
