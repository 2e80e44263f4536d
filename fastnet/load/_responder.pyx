"""The floor of the wire: a responder that answers handshakes without remembering anything.

What a real stack takes more than this is the price of being one.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from fastnet._bytes cimport load16, load32, store16_raw, store32, swap16
from fastnet._checksum cimport checksum_add, checksum_fold
from fastnet._tun cimport Tun

cdef extern from *:
    """
    #include <unistd.h>
    """
    Py_ssize_t c_read "read"(int fd, void *buffer, size_t size) nogil
    Py_ssize_t c_write "write"(int fd, const void *buffer, size_t size) nogil

cdef enum:
    PACKET = 2048
    BATCH = 64
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    ACK = 0x10


cdef inline uint32_t _answer(uint8_t *packet, bint reset) noexcept nogil:
    """Turn a packet into its answer, in place; the answer's length, 0 for none."""
    cdef uint32_t seq, ack, flags, header, total, ts
    cdef uint32_t source, target, ports, payload
    cdef uint64_t pseudo
    total = load16(packet + 2)
    header = (packet[32] >> 4) * 4
    flags = packet[33]
    if flags & RST or header < 20 or 20 + header > total:
        return 0
    payload = total - 20 - header
    seq = load32(packet + 24)
    ack = load32(packet + 28)
    source = load32(packet + 12)
    target = load32(packet + 16)
    ports = load32(packet + 20)
    if flags & SYN:
        # Any number will do for the ISN; the client takes it from here.
        ts = load32(packet + 48) if header == 40 else 0
        store32(packet + 24, seq ^ source ^ ports)
        store32(packet + 28, seq + 1)
        store32(packet + 40, 0x020405b4U)
        store32(packet + 44, 0x0402080aU)
        store32(packet + 48, 1)
        store32(packet + 52, ts)
        store32(packet + 56, 0x01030307U)
        header = 40
        flags = SYN | ACK
    elif flags & FIN:
        store32(packet + 24, ack)
        store32(packet + 28, seq + payload + 1)
        header = 20
        flags = FIN | ACK
    elif reset:
        store32(packet + 24, ack)
        store32(packet + 28, 0)
        header = 20
        flags = RST
    else:
        return 0
    total = 20 + header
    store32(packet, 0x45000000U | total)
    store32(packet + 4, 0x00004000U)
    store32(packet + 8, 0x40060000U)
    store32(packet + 12, target)
    store32(packet + 16, source)
    store16_raw(packet + 10, ~checksum_fold(checksum_add(packet, 20, 0)))
    store32(packet + 20, (ports << 16) | (ports >> 16))
    store32(packet + 32, (header << 26) | (flags << 16) | 64240)
    store32(packet + 36, 0)
    pseudo = checksum_add(packet + 12, 8, swap16(6) + <uint64_t>swap16(<uint16_t>header))
    store16_raw(packet + 36, ~checksum_fold(checksum_add(packet + 20, header, pseudo)))
    return total


def respond(Tun tun not None, int64_t timeout, bint reset=True) -> int:
    """Answer whatever waits, and wait at most ``timeout`` ns for more; call again for ever.

    SYN: a SYN-ACK. FIN: a FIN. An ACK alone: a RST, or nothing where ``reset`` is False.

    :returns: packets read
    """
    cdef uint8_t packet[PACKET]
    cdef Py_ssize_t n
    cdef uint32_t total
    cdef int read = 0, _turn
    cdef int fd = tun.fd
    if not tun.wait(timeout):
        return 0
    with nogil:
        for _turn in range(BATCH):
            n = c_read(fd, packet, PACKET)
            if n <= 0:
                break
            read += 1
            if n < 40 or packet[0] != 0x45 or packet[9] != 6 or load16(packet + 2) > n:
                continue
            total = _answer(packet, reset)
            if total:
                c_write(fd, packet, total)
    return read
