"""Linux TUN: packets without a link layer, read and written in GIL-free loops (Documentation/networking/tuntap.rst)."""

import errno as errno_module
import os
from dataclasses import replace

cimport cython
from libc.errno cimport EAGAIN, EBADF, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memset

from fastnet._ring cimport PacketRing, length_at, packet_at

from fastnet._capabilities import Capabilities


cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <poll.h>
    #include <string.h>
    #include <sys/eventfd.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>
    #include <sys/types.h>
    #include <net/if.h>
    #include <linux/if_tun.h>
    #include <linux/virtio_net.h>
    #include <time.h>
    #include <unistd.h>

    /* Attach to a device, or make it: 0 and its name, or an errno. */
    static int fn_tun_attach(int fd, char *name, int flags) {
        struct ifreq request;
        memset(&request, 0, sizeof request);
        memcpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_flags = (short)flags;
        if (ioctl(fd, TUNSETIFF, &request) < 0) return errno;
        memcpy(name, request.ifr_name, IFNAMSIZ);
        return 0;
    }

    static int fn_set_mtu(const char *name, int mtu) {
        struct ifreq request;
        int failed, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return errno;
        memset(&request, 0, sizeof request);
        memcpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_mtu = mtu;
        failed = ioctl(fd, SIOCSIFMTU, &request) < 0 ? errno : 0;
        close(fd);
        return failed;
    }

    /* struct virtio_net_hdr (Documentation/networking/tuntap.rst, virtio 1.2 section 5.1.6), in the machine's byte order. */
    static void fn_vnet_header(unsigned char *header, const unsigned char *packet, int partial, unsigned segment_size) {
        struct virtio_net_hdr h;
        int is_ipv6 = packet[0] >> 4 == 6;
        unsigned ip = is_ipv6 ? 40 : (packet[0] & 15) * 4;
        memset(&h, 0, sizeof h);
        if (partial) {
            h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
            h.csum_start = ip;
            h.csum_offset = 16;
        }
        if (segment_size) {
            h.gso_type = is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
            h.hdr_len = ip + (packet[ip + 12] >> 4) * 4;
            h.gso_size = segment_size;
        }
        memcpy(header, &h, sizeof h);
    }

    /* Has the kernel vouched for the transport checksum? */
    static int fn_is_checked(const unsigned char *header) {
        return (header[0] & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) != 0;
    }

    /* Bytes of data in each of the segments that the kernel has put together, or not yet cut; 0: the packet is one. */
    static unsigned fn_segment_size(const unsigned char *header) {
        struct virtio_net_hdr h;
        memcpy(&h, header, sizeof h);
        return h.gso_type == VIRTIO_NET_HDR_GSO_NONE ? 0 : h.gso_size;
    }

    static int fn_set_offload(int fd) {
        return ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0 ? errno : 0;
    }

    /* Wait for either descriptor: bit 0 for the first, bit 1 for the second, 0 when time is up, -1 with errno. */
    static int fn_wait(int first, int second, long long ns) {
        struct pollfd fds[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
        struct timespec timeout = {ns / 1000000000, ns % 1000000000};
        int n = ppoll(fds, 2, ns < 0 ? NULL : &timeout, NULL);
        if (n < 0) return errno == EINTR ? 0 : -1;
        return (fds[0].revents ? 1 : 0) | (fds[1].revents ? 2 : 0);
    }
    """
    int EBADFD, IFF_TUN, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE, IFNAMSIZ
    int EFD_NONBLOCK, EFD_CLOEXEC
    int _attach "fn_tun_attach"(int fd, char *name, int flags) nogil
    int _set_mtu "fn_set_mtu"(const char *name, int mtu) nogil
    int _wait "fn_wait"(int first, int second, long long ns) nogil
    void _vnet_header "fn_vnet_header"(uint8_t *header, const uint8_t *packet, bint partial, unsigned segment_size) nogil
    bint _is_checked "fn_is_checked"(const uint8_t *header) nogil
    unsigned _segment_size "fn_segment_size"(const uint8_t *header) nogil
    int _set_offload "fn_set_offload"(int fd) nogil
    int eventfd(unsigned int count, int flags) nogil
    Py_ssize_t c_read "read"(int fd, void *buffer, size_t size) nogil
    Py_ssize_t c_write "write"(int fd, const void *buffer, size_t size) nogil

cdef enum:
    # struct virtio_net_hdr: what IFF_VNET_HDR puts before each packet. It lies in the ring's headroom.
    VNET_HEADER = 10
    # Times that a write to a full device is tried again before the packet is given up.
    RETRIES = 64
    # Bytes read in one batch: what the cache keeps until the stack has worked it off.
    BATCH_BYTES = 0x40000

MOST_QUEUES = 256
"""Linux: MAX_TAP_QUEUES."""
MTU_MIN = 68
MTU_MAX = 65535
DEVICE = "/dev/net/tun"


def _open_failure(number: int, name: str) -> OSError:
    """An error that says in one line what is wrong and what to do."""
    hint = {
        errno_module.ENOENT: f"there is no {DEVICE}: load the module (modprobe tun), or hand the device to the container",
        errno_module.ENODEV: f"{DEVICE} has no driver behind it: load the module (modprobe tun)",
        errno_module.EACCES: f"no permission to open {DEVICE}: run as root, or let your user open it (chmod 666, which most systems have)",
        errno_module.EPERM: f"no permission to make {name or 'a TUN device'}: it takes root or CAP_NET_ADMIN in this network namespace",
        errno_module.EBUSY: f"{name} is in use by another program: choose another name, or end that program",
        errno_module.EINVAL: f"{name} is there already and is no TUN device of the wanted kind: choose another name",
    }.get(number, os.strerror(number))
    return OSError(number, hint)


@cython.final
cdef class Tun:
    """A TUN device, non-blocking.

    :param name: name of the interface, or "" to let the kernel choose; made if it is not there
    :param mtu: bytes of the longest packet, 68 to 65535; set on the interface
    :param multi_queue: attach one more queue to the device (IFF_MULTI_QUEUE)
    :param offload: IFF_VNET_HDR with TUNSETOFFLOAD: packets of up to 65,535 bytes in both directions, of whole segments that the kernel
        has put together or is to cut, and without transport checksums where the kernel vouches for them or is to compute them
    :ivar capabilities: what it can do; its descriptor is None once it is closed
    :ivar tx_errors: packets that the kernel refused; ``last_errno``: why the last of them
    :raises ValueError: MTU or name out of range
    :raises OSError: ENOENT, EACCES, EPERM, EBUSY, EINVAL, with a line that says what to do
    """

    def __cinit__(self, str name="", int mtu=1500, bint multi_queue=False, bint offload=False):
        cdef char buffer[64]
        cdef bytes encoded
        cdef int flags = IFF_TUN | IFF_NO_PI
        cdef int failed
        self.fd = self.event = -1
        self.begun = True
        encoded = name.encode()
        if not MTU_MIN <= mtu <= MTU_MAX:
            raise ValueError(f"an MTU is {MTU_MIN} to {MTU_MAX} bytes, not {mtu}")
        if len(encoded) >= IFNAMSIZ or "/" in name or " " in name:
            raise ValueError(f"an interface name has at most {IFNAMSIZ - 1} bytes, without blanks and slashes: {name!r}")
        memset(buffer, 0, sizeof(buffer))
        buffer[:len(encoded)] = encoded
        if multi_queue:
            flags |= IFF_MULTI_QUEUE
        if offload:
            flags |= IFF_VNET_HDR
        try:
            self.fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _open_failure(error.errno, name) from None
        failed = _attach(self.fd, buffer, flags)
        if failed:
            raise _open_failure(failed, name)
        if offload:
            failed = _set_offload(self.fd)
            if failed:
                raise OSError(failed, f"this kernel's TUN cannot offload: {os.strerror(failed)}")
        failed = _set_mtu(buffer, mtu)
        if failed:
            raise _open_failure(failed, name)
        self.event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.event < 0:
            raise OSError(errno, os.strerror(errno))
        self.name = (<bytes>buffer).decode()
        self.capabilities = Capabilities(mtu, offload=offload, descriptor=self.fd, queues=MOST_QUEUES if multi_queue else 1)
        self.header = VNET_HEADER if offload else 0
        self.tx_errors = 0

    def __dealloc__(self):
        # Arguments of wrong types: nothing was opened, and 0 is somebody's descriptor.
        if not self.begun:
            return
        if self.fd >= 0:
            os.close(self.fd)
        if self.event >= 0:
            os.close(self.event)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    cpdef int fileno(self) except -1:
        """The device's descriptor.

        :raises ValueError: closed
        """
        if self.fd < 0:
            self.check()
            raise ValueError("the device is closed")
        return self.fd

    cpdef int close(self) except -1:
        """Let go of the device; the interface goes with its last user. A ``wait`` in another thread ends."""
        if self.event >= 0:
            self.wake()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.capabilities = replace(self.capabilities, descriptor=None)
        if self.event >= 0:
            os.close(self.event)
            self.event = -1
        return 0

    cpdef int after_fork(self, error) except -1:
        """In a child, for a device that a stack of the parent has: only the parent's descriptors are left.

        :param error: what every call but ``close`` raises from now on
        """
        self.gone = error
        for descriptor in (self.fd, self.event):
            if descriptor >= 0:
                os.close(descriptor)
        self.fd = self.event = -1
        self.capabilities = replace(self.capabilities, descriptor=None)
        return 0

    cdef int check(self) except -1:
        """What is closed says so by its errors; what is another process's, by that one's."""
        if self.gone is not None:
            raise self.gone()
        return 0

    cpdef int receive(self, PacketRing ring) except -1:
        """Append packets to a ring until none waits, it is full, or there is enough for a batch; how many were appended.

        An error behind some packets is raised by the next call.

        :raises OSError: EBADFD, the interface was deleted; EBADF, the device was closed
        """
        if ring is None:
            raise TypeError("ring cannot be None")
        cdef Py_ssize_t slot = ring.count, n = 0, total = 0
        cdef int failed = 0
        if self.fd < 0:
            self.check()
        with nogil:
            while slot < ring.slots and total < BATCH_BYTES:
                n = c_read(self.fd, packet_at(ring, slot) - self.header, ring.capacity + self.header)
                if n < 0:
                    if errno == EINTR:
                        continue
                    failed = errno
                    break
                if n <= self.header:
                    continue
                if self.header:
                    ring.is_checked[slot] = _is_checked(packet_at(ring, slot) - self.header)
                    ring.segment_size[slot] = <uint16_t>_segment_size(packet_at(ring, slot) - self.header)
                ring.length[slot] = <unsigned int>(n - self.header)
                total += n
                slot += 1
        n = slot - ring.count
        ring.count = slot
        if failed and failed != EAGAIN and n == 0:
            raise self._failure(failed, "reading from")
        return <int>n

    def _failure(self, int number, doing):
        why = {
            errno_module.EBADFD: "the interface was deleted",
            errno_module.EBADF: "it was closed",
        }.get(number, os.strerror(number))
        return OSError(number, f"{doing} {self.name}: {why}")

    cpdef int transmit(self, PacketRing ring) except -1:
        """Write all packets of a ring, which is empty afterwards; how many the kernel took.

        What it refuses is counted, not raised: EIO, the interface is down, and may be up again in a moment; ENOBUFS and ENOMEM, it has no
        room; EINVAL, it does not like the packet.

        :raises OSError: EBADFD, the interface was deleted; EBADF, the device was closed
        """
        if ring is None:
            raise TypeError("ring cannot be None")
        cdef Py_ssize_t slot = 0, n
        cdef int tries = 0, sent = 0, gone = 0
        if self.fd < 0:
            self.check()
        with nogil:
            while slot < ring.count:
                if self.header:
                    _vnet_header(
                        packet_at(ring, slot) - self.header, packet_at(ring, slot), ring.is_checked[slot], ring.segment_size[slot]
                    )
                n = c_write(self.fd, packet_at(ring, slot) - self.header, length_at(ring, slot) + self.header)
                if n < 0:
                    if errno == EINTR or errno == EAGAIN and tries < RETRIES:
                        tries += 1
                        continue
                    self.last_errno = errno
                    self.tx_errors += 1
                    if errno == EBADFD or errno == EBADF:
                        gone = errno
                        break
                else:
                    sent += 1
                tries = 0
                slot += 1
        ring.count = 0
        if gone:
            raise self._failure(gone, "writing to")
        return sent

    cpdef bint wait(self, int64_t timeout) except -1:
        """Sleep until packets wait or ``wake`` is called, at most ``timeout`` ns (below 0: for ever); True when packets wait.

        :raises OSError: the device is closed
        """
        cdef int ready
        cdef uint64_t count
        if self.fd < 0:
            self.check()
        with nogil:
            ready = _wait(self.fd, self.event, timeout)
            if ready > 0 and ready & 2:
                c_read(self.event, &count, sizeof(count))
        if ready < 0:
            raise OSError(errno, os.strerror(errno))
        return ready & 1

    cpdef int wake(self) except -1:
        """End a ``wait``, from any thread; one that has not begun yet ends at once."""
        cdef uint64_t one = 1
        if self.event < 0:
            self.check()
        if c_write(self.event, &one, sizeof(one)) < 0 and errno != EAGAIN:
            raise OSError(errno, os.strerror(errno))
        return 0

    cpdef int due(self):
        """Nothing is due that the descriptor does not show."""
        return -1
