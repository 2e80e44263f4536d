"""A queue of bytes: what a connection has still to send, and what its reader has still to read."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

# The first allocation, bytes; doubled as needed. The bound is the caller's: tcp_wmem, tcp_rmem.
# Beyond MAX_SIZE no sequence number could tell the bytes apart.
cdef enum:
    FIRST_SIZE = 4096
    MAX_SIZE = 0x40000000
    # A block no larger than this is given back whenever the queue is empty: most connections are idle most of the time. Larger ones
    # are kept until release(), since whoever needed one will need it again in a moment.
    SMALL = 16384


@cython.final
cdef class Pool:
    """The memory behind many queues, counted where one takes a block or gives it back.

    :ivar allocated: bytes
    :ivar thrifty: True: a block is given back whenever its queue is empty, whatever its size
    """


# A pool refers to nobody, so a queue cannot be part of a cycle; and its pool is still there when it is let go.
@cython.no_gc
@cython.final
cdef class ByteRing:
    """Bytes in, bytes out, first in first out, in one circular block that doubles when full.

    Bytes may also be placed ahead of the tail, with a gap before them; they belong to the queue once they are committed.

    :param pool: where its memory is counted; a pool of its own without
    :ivar length: bytes held
    :ivar allocated: bytes of memory behind the queue
    """

    def __cinit__(self, Pool pool=None):
        self.pool = Pool.__new__(Pool) if pool is None else pool
        self.data = NULL
        self.allocated = self.start = self.length = self.reach = 0

    def __dealloc__(self):
        free(self.data)
        # A queue that was refused a wrong pool has none.
        if self.allocated:
            self.pool.allocated -= self.allocated

    def __len__(self):
        return self.length

    cpdef Py_ssize_t block_for(self, Py_ssize_t wanted) except -1:
        """Bytes of the block that so many bytes would take.

        :raises MemoryError: more than 2**30
        """
        if wanted > MAX_SIZE:
            raise MemoryError(f"a queue of {wanted} bytes")
        cdef Py_ssize_t size = self.allocated if self.allocated else FIRST_SIZE
        while size < wanted:
            size *= 2
        return size

    cdef int _grow(self, Py_ssize_t wanted) except -1:
        cdef Py_ssize_t size
        cdef uint8_t *data
        size = self.block_for(wanted)
        data = <uint8_t *>malloc(size)
        if data == NULL:
            raise MemoryError(f"no memory for a queue of {size} bytes")
        self.load(0, data, self.reach)
        free(self.data)
        self.data = data
        self.pool.allocated += size - self.allocated
        self.allocated = <int32_t>size
        self.start = 0
        return 0

    cdef void store(self, Py_ssize_t offset, const uint8_t *source, Py_ssize_t n) noexcept nogil:
        """Write n bytes at an offset from the head; the caller has checked that they fit."""
        cdef Py_ssize_t at = (self.start + offset) & (self.allocated - 1)
        cdef Py_ssize_t first = min(n, self.allocated - at)
        if n > 0:
            memcpy(self.data + at, source, first)
            if n > first:
                memcpy(self.data, source + first, n - first)

    cdef void load(self, Py_ssize_t offset, uint8_t *target, Py_ssize_t n) noexcept nogil:
        """Read n bytes at an offset from the head; the caller has checked that they are there."""
        cdef Py_ssize_t at = (self.start + offset) & (self.allocated - 1)
        cdef Py_ssize_t first = min(n, self.allocated - at)
        if n > 0:
            memcpy(target, self.data + at, first)
            if n > first:
                memcpy(target + first, self.data, n - first)

    cdef int write(self, const uint8_t *source, Py_ssize_t n) except -1:
        if self.length + n > self.allocated:
            self._grow(self.length + n)
        self.store(self.length, source, n)
        self.length += n
        self.reach = max(self.reach, <int32_t>self.length)
        return 0

    cdef int place(self, Py_ssize_t offset, const uint8_t *source, Py_ssize_t n) except -1:
        """Put n bytes at an offset from the head, at the tail or ahead of it; what lies there already is overwritten."""
        if offset + n > self.allocated:
            self._grow(offset + n)
        self.store(offset, source, n)
        self.reach = max(self.reach, <int32_t>(offset + n))
        return 0

    cpdef int commit(self, Py_ssize_t n) except -1:
        """Take n placed bytes behind the tail into the queue.

        :raises IndexError: so many were not placed
        """
        if n < 0 or n > self.reach - self.length:
            raise IndexError(f"{n} bytes of {self.reach - self.length} placed")
        self.length += n
        return 0

    cpdef int trim(self) except -1:
        """Forget what was placed behind the tail."""
        self.reach = self.length
        if self.length == 0:
            self.start = 0
            if self.allocated <= SMALL or self.pool.thrifty:
                self.release()
        return 0

    cpdef int append(self, const uint8_t[::1] source) except -1:
        """Add the bytes of a contiguous buffer at the tail.

        :raises MemoryError: no memory
        """
        if source is None:
            raise TypeError("source cannot be None")
        if source.shape[0]:
            self.write(&source[0], source.shape[0])
        return 0

    cpdef bytes peek(self, Py_ssize_t offset, Py_ssize_t n):
        """At most n bytes from an offset on, left in the queue."""
        cdef bytes result
        if offset < 0 or offset > self.length:
            raise IndexError(f"offset {offset} of a queue of {self.length} bytes")
        n = max(0, min(n, self.length - offset))
        result = PyBytes_FromStringAndSize(NULL, n)
        self.load(offset, <uint8_t *>PyBytes_AS_STRING(result), n)
        return result

    cpdef bytes take(self, Py_ssize_t n):
        """Remove and return at most n bytes from the head."""
        cdef bytes result = self.peek(0, n)
        self.discard(len(result))
        return result

    cpdef Py_ssize_t take_into(self, uint8_t[::1] target) except -1:
        """Move bytes from the head into a writable buffer; the number moved."""
        if target is None:
            raise TypeError("target cannot be None")
        cdef Py_ssize_t n = min(self.length, target.shape[0])
        if n:
            self.load(0, &target[0], n)
            self.discard(n)
        return n

    cpdef int discard(self, Py_ssize_t n) except -1:
        """Remove n bytes from the head.

        :raises IndexError: it holds fewer
        """
        if n < 0 or n > self.length:
            raise IndexError(f"{n} bytes of a queue of {self.length}")
        self.length -= n
        self.reach -= <int32_t>n
        if self.reach:
            self.start = <int32_t>((self.start + n) & (self.allocated - 1))
        else:
            self.start = 0
            if self.allocated <= SMALL or self.pool.thrifty:
                self.release()
        return 0

    cpdef int release(self) except -1:
        """Give the block back, if nothing is in it."""
        if self.reach == 0:
            free(self.data)
            self.data = NULL
            self.pool.allocated -= self.allocated
            self.allocated = 0
        return 0
