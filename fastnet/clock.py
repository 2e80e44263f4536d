"""Time as an input: a clock that stands still until it is moved."""


class ManualClock:
    """A clock for ``Stack(..., clock=clock)``, for an ``ImpairedLink``, or for both at once.

    :param now: the time to begin at, ns
    """

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def __call__(self) -> int:
        """The time, ns."""
        return self._now

    def advance(self, ns: int) -> None:
        """Let time pass.

        :raises ValueError: below 0
        """
        self.set(self._now + ns)

    def set(self, ns: int) -> None:
        """Go to a time.

        :raises ValueError: it has passed already
        """
        if ns < self._now:
            raise ValueError(f"a clock does not go back: it is {self._now} ns, {self._now - ns} ns later than {ns}")
        self._now = ns
