"""A raw handshake client: thousands of source addresses over one TUN device, a bounded number of handshakes under way.

It keeps no TCP, only what a handshake takes: SYN (with the options that Linux sends), SYN-ACK checked, ACK, and an end. So it costs
little, the same for every server that it is pointed at.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastnet._bytes cimport load16, load32, store16, store16_raw, store32, swap16
from fastnet._checksum cimport checksum_add, checksum_fold
from fastnet._tun cimport Tun

cdef extern from *:
    """
    #include <poll.h>
    #include <time.h>
    #include <unistd.h>
    #include <stdint.h>
    static int64_t fn_now(clockid_t clock) {
        struct timespec t;
        clock_gettime(clock, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static void fn_poll(int fd, int ms) {
        struct pollfd p = {fd, POLLIN, 0};
        poll(&p, 1, ms);
    }
    static inline int fn_bucket(uint64_t ns) {
        int top;
        if (ns < 32) return (int)ns;
        top = 63 - __builtin_clzll(ns);
        return (top - 4) * 32 + (int)((ns >> (top - 5)) & 31);
    }
    """
    ctypedef int clockid_t
    clockid_t CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID
    int64_t _now "fn_now"(clockid_t clock) nogil
    void _poll "fn_poll"(int fd, int ms) nogil
    int _bucket "fn_bucket"(uint64_t ns) nogil
    Py_ssize_t c_read "read"(int fd, void *buffer, size_t size) nogil
    Py_ssize_t c_write "write"(int fd, const void *buffer, size_t size) nogil

cdef enum:
    PACKET = 2048
    BATCH = 64
    BUCKETS = 2048
    FIRST_PORT = 1024
    PORT_BITS = 15
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10

# What a slot waits for.
cdef enum:
    IDLE
    SYN_SENT
    ENDING

# How a handshake ends after the ACK.
cdef enum:
    BY_SERVER
    BY_RESET
    BY_CLOSE

ENDINGS = {"server": BY_SERVER, "reset": BY_RESET, "close": BY_CLOSE}

cdef int64_t FIRST_TIMEOUT = 200_000_000
cdef int64_t SCAN = 20_000_000
cdef int MAX_RETRIES = 5


cdef struct Attempt:
    uint32_t number
    uint32_t iss
    uint32_t irs
    uint32_t ts_peer
    int64_t sent
    uint8_t state
    uint8_t retries


cdef class HandshakeClient:
    """Completes handshakes with one server.

    :param tun: where it sends; the kernel (or the test) routes its sources there
    :param target: the server's IPv4 address as a number; ``port``: its port
    :param first_source: the first source address as a number; ``sources``: how many follow each other
    :param in_flight: handshakes under way at most
    :param ending: "server" (wait for the server's RST or FIN), "reset" (RST at once), "close" (FIN, and wait for the server's)
    :param seed: where sequence numbers and ports begin, so that runs in a row do not reuse 4-tuples
    :ivar completed: handshakes that came to their end; ``refused``: SYNs answered with a RST; ``timed_out``: given up
    :ivar retransmitted: SYNs and ACKs sent again; ``strays``: packets that belong to no attempt; ``invalid``: with a bad checksum
        or acknowledgment number; ``unsent``: packets that the device did not take
    :ivar seconds: length of the last run; ``cpu``: this process's CPU time in it, seconds
    """

    cdef Tun tun
    cdef uint32_t target
    cdef uint16_t port
    cdef uint32_t first_source
    cdef uint32_t sources
    cdef uint32_t in_flight
    cdef int ending
    cdef uint32_t seed
    cdef uint32_t tuples
    cdef uint32_t next_number
    cdef Attempt *attempts
    cdef uint32_t mask
    cdef uint32_t active
    cdef uint64_t histogram[BUCKETS]
    cdef readonly long long started
    cdef readonly long long completed
    cdef readonly long long refused
    cdef readonly long long timed_out
    cdef readonly long long retransmitted
    cdef readonly long long strays
    cdef readonly long long invalid
    cdef readonly long long unsent
    cdef readonly double seconds
    cdef readonly double cpu

    def __cinit__(
        self, Tun tun not None, uint32_t target, uint16_t port, uint32_t first_source, uint32_t sources=4096,
        uint32_t in_flight=128, str ending="server", uint32_t seed=0,
    ):
        cdef uint32_t size = 1024
        if ending not in ENDINGS:
            raise ValueError(f"ending is one of {', '.join(ENDINGS)}, not {ending!r}")
        if not 1 <= in_flight <= 8192 or not 1 <= sources <= 65536:
            raise ValueError("in_flight is 1 to 8192, sources is 1 to 65536")
        while size < 4 * in_flight:
            size *= 2
        self.tun = tun
        self.target = target
        self.port = port
        self.first_source = first_source
        self.sources = sources
        self.in_flight = in_flight
        self.ending = ENDINGS[ending]
        self.seed = seed
        self.tuples = sources << PORT_BITS
        self.next_number = seed % self.tuples
        self.mask = size - 1
        self.attempts = <Attempt *>calloc(size, sizeof(Attempt))
        if self.attempts == NULL:
            raise MemoryError()
        memset(self.histogram, 0, sizeof(self.histogram))

    def __dealloc__(self):
        free(self.attempts)

    def run(self, double duration, long long count=0) -> int:
        """Handshakes for some seconds, or until ``count`` have come to an end (0: no such bound); then what is under way is ended.

        :returns: handshakes completed in this run
        """
        cdef int64_t started = _now(CLOCK_MONOTONIC)
        cdef int64_t cpu = _now(CLOCK_PROCESS_CPUTIME_ID)
        cdef long long before = self.completed
        cdef int64_t stopped
        with nogil:
            stopped = self._run(started + <int64_t>(duration * 1e9), count)
        self.seconds = (stopped - started) / 1e9
        self.cpu = (_now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9
        return self.completed - before

    def percentile(self, double share) -> float:
        """Time from SYN to SYN-ACK that a share (0 to 1) of the handshakes did not exceed, seconds, to within 3 %; 0 without any."""
        cdef int i
        cdef uint64_t total = 0, wanted, seen = 0
        for i in range(BUCKETS):
            total += self.histogram[i]
        if total == 0:
            return 0.0
        wanted = max(<uint64_t>1, <uint64_t>(share * total + 0.5))
        for i in range(BUCKETS):
            seen += self.histogram[i]
            if seen >= wanted:
                break
        if i < 32:
            return i / 1e9
        # The middle of the bucket.
        return ((32 + i % 32) + 0.5) * 2.0 ** (i // 32 - 1) / 1e9

    cdef int64_t _run(self, int64_t deadline, long long count) noexcept nogil:
        """The loop: fill up to ``in_flight``, read a batch, answer it. Returns the time at which new handshakes stopped."""
        cdef uint8_t buffer[PACKET]
        cdef int fd = self.tun.fd
        cdef int64_t now = _now(CLOCK_MONOTONIC)
        cdef int64_t scanned = now
        cdef int64_t stopped = 0
        cdef long long first = self.completed + self.refused + self.timed_out
        cdef int64_t grace = 0
        cdef int i, _turn
        cdef Py_ssize_t n
        while True:
            if stopped == 0 and (
                now >= deadline or count and self.completed + self.refused + self.timed_out - first + self.active >= count
            ):
                if now >= deadline or self.active == 0:
                    stopped = now
                    grace = now + 500_000_000
            if stopped:
                if self.active == 0 or now >= grace:
                    break
            elif not (count and self.completed + self.refused + self.timed_out - first + self.active >= count):
                while self.active < self.in_flight:
                    if count and self.completed + self.refused + self.timed_out - first + self.active >= count:
                        break
                    self._begin()
            n = 0
            now = _now(CLOCK_MONOTONIC)
            for _turn in range(BATCH):
                n = c_read(fd, buffer, PACKET)
                if n <= 0:
                    break
                self._arrive(buffer, <uint32_t>n, now)
            now = _now(CLOCK_MONOTONIC)
            if now - scanned > SCAN:
                self._scan(now)
                scanned = now
            if n < 0 and (self.active >= self.in_flight or stopped or count):
                _poll(fd, 5)
                now = _now(CLOCK_MONOTONIC)
        for i in range(<int>self.mask + 1):
            self.attempts[i].state = IDLE
        self.active = 0
        return stopped

    cdef void _begin(self) noexcept nogil:
        # The slot of a number is its lowest bits; there are four times as many slots as attempts, so a free one is near. Numbers
        # stand for 4-tuples: sources count first, so that neighbours in time differ in their address.
        cdef Attempt *attempt = &self.attempts[self.next_number & self.mask]
        while attempt.state != IDLE:
            self.next_number = (self.next_number + 1) % self.tuples
            attempt = &self.attempts[self.next_number & self.mask]
        attempt.number = self.next_number
        attempt.iss = self.next_number * 2654435761U + self.seed
        # Its own reading of the clock: the kernel's stack answers within the write, before the batch is over.
        attempt.sent = _now(CLOCK_MONOTONIC)
        attempt.retries = 0
        attempt.state = SYN_SENT
        attempt.irs = 0
        self.next_number = (self.next_number + 1) % self.tuples
        self.active += 1
        self.started += 1
        self._send(attempt, attempt.iss, 0, SYN, attempt.sent)

    cdef void _arrive(self, uint8_t *packet, uint32_t n, int64_t now) noexcept nogil:
        """A packet from the wire: is it of one of our attempts, and what does it ask for?"""
        cdef uint32_t source, number, header, tcp, length
        cdef Attempt *attempt
        cdef uint8_t flags
        if n < 40 or packet[0] != 0x45 or packet[9] != 6:
            self.strays += 1
            return
        length = load16(packet + 2)
        header = (packet[32] >> 4) * 4
        if length > n or length < 20 + header or header < 20:
            self.invalid += 1
            return
        tcp = length - 20
        source = load32(packet + 16) - self.first_source
        number = <uint32_t>(load16(packet + 22) - FIRST_PORT) * self.sources + source
        attempt = &self.attempts[number & self.mask]
        if attempt.state == IDLE or attempt.number != number or load32(packet + 12) != self.target \
                or load16(packet + 20) != self.port:
            self.strays += 1
            return
        if checksum_fold(checksum_add(packet + 20, tcp, checksum_add(packet + 12, 8, swap16(6) + <uint64_t>swap16(<uint16_t>tcp)))) \
                != 0xffff:
            self.invalid += 1
            return
        flags = packet[33]
        if attempt.state == SYN_SENT:
            if flags & RST:
                if flags & ACK and load32(packet + 28) == attempt.iss + 1:
                    self.refused += 1
                    self._end(attempt)
                else:
                    self.invalid += 1
                return
            if flags & (SYN | ACK) != SYN | ACK or load32(packet + 28) != attempt.iss + 1:
                self.invalid += 1
                return
            attempt.irs = load32(packet + 24)
            attempt.ts_peer = load32(packet + 48) if header >= 40 and packet[46] == 8 else 0
            if attempt.retries == 0:
                self.histogram[min(_bucket(<uint64_t>max(0, now - attempt.sent)), BUCKETS - 1)] += 1
            self._send(attempt, attempt.iss + 1, attempt.irs + 1, ACK, now)
            if self.ending == BY_RESET:
                self._send(attempt, attempt.iss + 1, attempt.irs + 1, RST, now)
                self.completed += 1
                self._end(attempt)
                return
            if self.ending == BY_CLOSE:
                self._send(attempt, attempt.iss + 1, attempt.irs + 1, FIN | ACK, now)
            attempt.state = ENDING
            attempt.sent = now
            attempt.retries = 0
            return
        # The end: the server's RST or FIN; a FIN is acknowledged, and when it was first, answered with a RST to leave nothing behind.
        if flags & RST:
            self.completed += 1
            self._end(attempt)
        elif flags & FIN:
            if self.ending == BY_CLOSE:
                self._send(attempt, attempt.iss + 2, load32(packet + 24) + (tcp - header) + 1, ACK, now)
            else:
                self._send(attempt, attempt.iss + 1, load32(packet + 24) + (tcp - header) + 1, RST | ACK, now)
            self.completed += 1
            self._end(attempt)

    cdef void _end(self, Attempt *attempt) noexcept nogil:
        attempt.state = IDLE
        self.active -= 1

    cdef void _scan(self, int64_t now) noexcept nogil:
        """Send again what was not answered, and give up what was not answered often."""
        cdef uint32_t i
        cdef Attempt *attempt
        for i in range(self.mask + 1):
            attempt = &self.attempts[i]
            if attempt.state == IDLE or now - attempt.sent < FIRST_TIMEOUT << attempt.retries:
                continue
            if attempt.retries >= MAX_RETRIES:
                self.timed_out += 1
                self._end(attempt)
                continue
            attempt.retries += 1
            self.retransmitted += 1
            if attempt.state == SYN_SENT:
                self._send(attempt, attempt.iss, 0, SYN, now)
            elif self.ending == BY_CLOSE:
                self._send(attempt, attempt.iss + 1, attempt.irs + 1, FIN | ACK, now)
            else:
                self._send(attempt, attempt.iss + 1, attempt.irs + 1, ACK, now)

    cdef void _send(self, Attempt *attempt, uint32_t seq, uint32_t ack, int flags, int64_t now) noexcept nogil:
        cdef uint8_t packet[64]
        cdef uint32_t total, header = 20
        cdef uint8_t *option = packet + 40
        cdef uint64_t pseudo
        if flags & SYN:
            # MSS, SACK-permitted, timestamps, NOP, window scale 7: the order in which Linux has them.
            store32(option, 0x020405b4U)
            store32(option + 4, 0x0402080aU)
            store32(option + 8, <uint32_t>(now // 1_000_000))
            store32(option + 12, 0)
            store32(option + 16, 0x01030307U)
            header = 40
        elif attempt.ts_peer and not flags & RST:
            store32(option, 0x0101080aU)
            store32(option + 4, <uint32_t>(now // 1_000_000))
            store32(option + 8, attempt.ts_peer)
            header = 32
        total = 20 + header
        store32(packet, 0x45000000U | total)
        store32(packet + 4, 0x00004000U)
        store32(packet + 8, 0x40060000U)
        store32(packet + 12, self.first_source + attempt.number % self.sources)
        store32(packet + 16, self.target)
        store16_raw(packet + 10, ~checksum_fold(checksum_add(packet, 20, 0)))
        store16(packet + 20, <uint16_t>(FIRST_PORT + attempt.number // self.sources))
        store16(packet + 22, self.port)
        store32(packet + 24, seq)
        store32(packet + 28, ack)
        store32(packet + 32, (header << 26) | <uint32_t>(flags << 16) | (64240 if flags & SYN else 502))
        store32(packet + 36, 0)
        pseudo = checksum_add(packet + 12, 8, swap16(6) + <uint64_t>swap16(<uint16_t>header))
        store16_raw(packet + 36, ~checksum_fold(checksum_add(packet + 20, header, pseudo)))
        if c_write(self.tun.fd, packet, total) < 0:
            self.unsent += 1
