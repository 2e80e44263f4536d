"""How much may be on its way: congestion control, by name."""

from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.congestion.cubic import Cubic
from fastnet.tcp.congestion.newreno import NewReno
from fastnet.tcp.congestion.unlimited import Unlimited

ALGORITHMS: dict[str, type[CongestionControl]] = {"cubic": Cubic, "none": Unlimited, "reno": NewReno}
"""What ``tcp_congestion_control`` may name. Add a class of yours here, or give it to one connection."""


def algorithm(name: str) -> type[CongestionControl]:
    """The class of a name.

    :raises ValueError: there is none
    """
    try:
        return ALGORITHMS[name]
    except KeyError:
        raise ValueError(f"no congestion control {name!r}; there are: {', '.join(sorted(ALGORITHMS))}") from None
