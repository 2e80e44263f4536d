"""How much may be on its way: congestion control, by name."""

from fastnet.config import no_such
from fastnet.tcp.congestion.base import CongestionControl, check
from fastnet.tcp.congestion.bbr import Bbr
from fastnet.tcp.congestion.cubic import Cubic
from fastnet.tcp.congestion.dctcp import Dctcp
from fastnet.tcp.congestion.newreno import NewReno
from fastnet.tcp.congestion.unlimited import Unlimited

ALGORITHMS: dict[str, type[CongestionControl]] = {
    "bbr": Bbr,
    "cubic": Cubic,
    "dctcp": Dctcp,
    "none": Unlimited,
    "reno": NewReno,
}
"""What ``tcp_congestion_control`` may name. Add a class of yours here, or give it to one connection."""


def algorithm(name: str) -> type[CongestionControl]:
    """The class of a name.

    :raises ValueError: there is none
    """
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise ValueError(no_such("congestion control", name, sorted(ALGORITHMS))) from None


def needs_ecn(name: str) -> bool:
    """Does the congestion control of this name need ECN (TCP_CONG_NEEDS_ECN)? One that is not there does not."""
    kind = ALGORITHMS.get(name)
    return kind is not None and kind.needs_ecn


def checked(kind: type[CongestionControl], mss: int) -> type[CongestionControl]:
    """A congestion control class of a program's, tried once, so that what is wrong with it shows where it is handed over.

    :param mss: bytes of data in a full segment
    :raises TypeError: not a class that ``CongestionControl`` is a base of
    :raises ValueError: what it begins with is not a CWND that there can be
    """
    if not isinstance(kind, type) or not issubclass(kind, CongestionControl):
        raise TypeError(f"a congestion control is a name or a subclass of CongestionControl, not {kind!r}")
    check(kind(mss))
    return kind
