"""A hierarchical timing wheel (Varghese and Lauck, 1987): timers are added, moved and removed in constant time.

Eleven levels of 64 slots cover 64-bit time; level n holds timers that lie up to 64**(n+1) ticks ahead, and a slot's timers move down
a level when the wheel reaches it. One bit per slot finds the next one without a walk. Timers are numbers in preallocated arrays; only
their owners are Python objects.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, realloc

cdef extern from *:
    """
    static inline int fn_lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
    static inline int fn_highest_bit(uint64_t bits) { return 63 - __builtin_clzll(bits); }
    """
    int _lowest_bit "fn_lowest_bit"(uint64_t bits) noexcept nogil
    int _highest_bit "fn_highest_bit"(uint64_t bits) noexcept nogil

cdef enum:
    NONE = -1
    # The list of timers that are due now, behind the slots of all levels.
    DUE = LEVELS * SLOTS
    # In Timer.slot: nobody's.
    FREE = -1

cdef int64_t FOREVER = 0x7fffffffffffffffLL
# 146 years: with a later now, deadlines that are counted from it would lie in the past, and be due for ever.
cdef int64_t LATEST = 0x4000000000000000LL
NEVER = FOREVER


@cython.final
cdef class TimerWheel:
    """Timers with deadlines in ns. None fires early; each fires at most one ``resolution`` late.

    :param now: the time to begin at, ns
    :param resolution: length of a tick, ns
    :raises ValueError: resolution below 1, or now below 0
    """

    def __cinit__(self, int64_t now=0, int64_t resolution=1_000_000):
        cdef Py_ssize_t i
        if resolution < 1:
            raise ValueError("a tick lasts at least a nanosecond")
        if now < 0:
            raise ValueError("a wheel's time begins at 0 or later")
        self.timers = NULL
        self.allocated = 0
        self.owners = []
        self.free = NONE
        self.resolution = resolution
        self.tick = now // resolution
        self.count = 0
        for i in range(LEVELS * SLOTS + 1):
            self.heads[i] = self.tails[i] = NONE
        for i in range(LEVELS):
            self.occupied[i] = 0

    def __dealloc__(self):
        free(self.timers)

    def __len__(self):
        return self.count

    cdef int _grow(self) except -1:
        cdef Py_ssize_t i, size = 64 if self.allocated == 0 else 2 * self.allocated
        cdef Timer *timers = <Timer *>realloc(self.timers, size * sizeof(Timer))
        if timers == NULL:
            raise MemoryError(f"no memory for {size} timers")
        self.timers = timers
        for i in range(size - 1, self.allocated - 1, -1):
            timers[i].slot = FREE
            timers[i].next = self.free
            self.free = <int32_t>i
        self.owners.extend([None] * (size - self.allocated))
        self.allocated = size
        return 0

    cdef int64_t _tick_of(self, int64_t deadline) noexcept nogil:
        """The first tick that does not lie before the deadline."""
        if deadline <= self.tick * self.resolution:
            return self.tick
        return (deadline - 1) // self.resolution + 1

    cdef void _link(self, int32_t handle) noexcept nogil:
        """Append a timer to the slot that its tick belongs to as seen from now."""
        cdef Timer *timer = &self.timers[handle]
        cdef int level, slot
        if timer.tick <= self.tick:
            slot = DUE
        else:
            # The highest digit (base 64) in which the deadline differs from now says how far away it is.
            level = _highest_bit(<uint64_t>(timer.tick ^ self.tick)) // SLOT_BITS
            slot = (timer.tick >> (SLOT_BITS * level)) & (SLOTS - 1)
            self.occupied[level] |= <uint64_t>1 << slot
            slot += level * SLOTS
        timer.slot = slot
        timer.next = NONE
        timer.previous = self.tails[slot]
        if timer.previous == NONE:
            self.heads[slot] = handle
        else:
            self.timers[timer.previous].next = handle
        self.tails[slot] = handle

    cdef void _unlink(self, int32_t handle) noexcept nogil:
        cdef Timer *timer = &self.timers[handle]
        cdef int slot = timer.slot
        if timer.previous == NONE:
            self.heads[slot] = timer.next
        else:
            self.timers[timer.previous].next = timer.next
        if timer.next == NONE:
            self.tails[slot] = timer.previous
        else:
            self.timers[timer.next].previous = timer.previous
        if self.heads[slot] == NONE and slot != DUE:
            self.occupied[slot // SLOTS] &= ~(<uint64_t>1 << (slot % SLOTS))

    cdef int64_t _next_tick(self) noexcept nogil:
        """The next tick at which a slot has to be looked at; FOREVER when all are empty."""
        cdef int level, shift
        cdef uint64_t later
        for level in range(LEVELS):
            if not self.occupied[level]:
                continue
            shift = SLOT_BITS * level
            # Nothing is ever linked behind the current digit of a level, so what is set lies in this turn of it.
            later = self.occupied[level] & ~((<uint64_t>2 << ((self.tick >> shift) & (SLOTS - 1))) - 1)
            if later:
                return (((self.tick >> shift) & ~<int64_t>(SLOTS - 1)) + _lowest_bit(later)) << shift
        return FOREVER

    cdef void _advance(self, int64_t tick) noexcept nogil:
        """Turn the wheel to a tick; what is due on the way goes to the due list in order of its tick."""
        cdef int64_t stop
        cdef int level, slot
        cdef int32_t handle, following
        while True:
            stop = self._next_tick()
            # FOREVER is no tick: nothing waits any more.
            if stop > tick or stop == FOREVER:
                break
            self.tick = stop
            # From the top down: timers of a higher level may belong into the slot of a lower one that is due just now.
            for level in range(LEVELS - 1, -1, -1):
                if level and stop & ((<int64_t>1 << (SLOT_BITS * level)) - 1):
                    continue
                slot = (stop >> (SLOT_BITS * level)) & (SLOTS - 1)
                if not self.occupied[level] & (<uint64_t>1 << slot):
                    continue
                self.occupied[level] &= ~(<uint64_t>1 << slot)
                slot += level * SLOTS
                handle = self.heads[slot]
                self.heads[slot] = self.tails[slot] = NONE
                while handle != NONE:
                    following = self.timers[handle].next
                    self._link(handle)
                    handle = following
        if tick > self.tick:
            self.tick = tick

    cpdef int add(self, object owner, int64_t deadline) except -1:
        """Start a timer; its handle, which is good until it fires or is removed.

        :param owner: what ``expire`` gives back; a reference is held until then
        :param deadline: ns; one in the past is due at once, ``NEVER`` never
        """
        cdef int32_t handle
        if self.free == NONE:
            self._grow()
        handle = self.free
        self.free = self.timers[handle].next
        self.timers[handle].tick = self._tick_of(deadline)
        self.owners[handle] = owner
        self._link(handle)
        self.count += 1
        return handle

    cpdef int move(self, int handle, int64_t deadline) except -1:
        """Give a running timer another deadline, ns.

        :raises KeyError: no such timer runs
        """
        if not 0 <= handle < self.allocated or self.timers[handle].slot == FREE:
            raise KeyError(handle)
        self._unlink(handle)
        self.timers[handle].tick = self._tick_of(deadline)
        self._link(handle)
        return 0

    cpdef int remove(self, int handle) except -1:
        """Stop a timer and forget its owner.

        :raises KeyError: no such timer runs
        """
        if not 0 <= handle < self.allocated or self.timers[handle].slot == FREE:
            raise KeyError(handle)
        self._unlink(handle)
        self.timers[handle].slot = FREE
        self.timers[handle].next = self.free
        self.free = handle
        self.owners[handle] = None
        self.count -= 1
        return 0

    cpdef object expire(self, int64_t now):
        """The owner of one timer that is due at ``now`` (its handle is free again), or None; call until None.

        Timers come in the order of their ticks, those of one tick in the order in which they were added. Time that goes backwards
        changes nothing.

        :raises ValueError: now is later than 2**62 ns
        """
        if now > LATEST:
            raise ValueError(f"{now} ns is too late for a clock")
        cdef int32_t handle
        cdef object owner
        cdef int64_t tick = now // self.resolution
        # Without this, whoever starts a timer again some time after an earlier now would be due at once, for ever.
        if tick < self.tick:
            return None
        if self.heads[DUE] == NONE:
            if tick > self.tick:
                self._advance(tick)
            if self.heads[DUE] == NONE:
                return None
        handle = self.heads[DUE]
        owner = self.owners[handle]
        self.remove(handle)
        return owner

    cpdef int64_t next_deadline(self) noexcept:
        """When to call ``expire`` next, ns: never late, and early only where timers move down a level. NEVER without timers."""
        cdef int64_t tick
        if self.heads[DUE] != NONE:
            return self.tick * self.resolution
        tick = self._next_tick()
        if tick > FOREVER // self.resolution:
            return FOREVER
        return tick * self.resolution
