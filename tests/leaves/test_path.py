"""A path: what all packets of a flow have in common. It never changes."""

import pytest

from fastnet._path import Path


def test_sizes() -> None:
    path = Path(4, 1500)
    assert (path.version, path.header, path.mtu, path.mss, path.ttl, path.tos, path.largest) == (4, 20, 1500, 1460, 64, 0, 0)
    longer = Path(6, 1500)
    assert (longer.version, longer.header, longer.mss) == (6, 40, 1440), "RFC 8200: twice the header"


def test_a_copy_differs_in_what_is_given() -> None:
    path = Path(4, 1500, largest=60000)
    other = path.copy(ttl=1, tos=0xB8, mtu=576, fragment=True)
    assert (other.ttl, other.tos, other.mtu, other.mss, other.fragment, other.largest) == (1, 0xB8, 576, 536, True, 60000)
    assert (path.ttl, path.tos, path.mtu, path.fragment) == (64, 0, 1500, False)
    assert other.copy() is other and other.copy(ttl=1, mtu=576) is other, "one that would not differ is shared"


def test_ecn() -> None:
    """RFC 3168 section 5: the DS field stays; and the two looks are made once."""
    path = Path(4, 1500, tos=0xB9)
    assert (path.without_ecn().tos, path.with_ecn().tos) == (0xB8, 0xBA)
    assert path.with_ecn() is path.with_ecn() and path.without_ecn() is path.without_ecn()
    plain = Path(4, 1500)
    assert plain.without_ecn() is plain and plain.with_ecn().with_ecn() is plain.with_ecn()


@pytest.mark.parametrize(("largest", "mss", "burst"), [
    (0, 1460, 1460), (65455, 1460, 64240), (65455, 65455, 65455), (1000, 1460, 1460), (65455, 0, 0), (65455, -1, -1),
])  # fmt: skip
def test_bytes_of_a_burst(largest: int, mss: int, burst: int) -> None:
    """Whole segments where the device cuts, else one."""
    assert Path(4, 65535, largest=largest).burst(mss) == burst


@pytest.mark.parametrize(("version", "mtu"), [(4, 40), (6, 60), (5, 1500), (0, 1500)])
def test_what_cannot_be(version: int, mtu: int) -> None:
    with pytest.raises(ValueError, match=r"IP version|no room"):
        Path(version, mtu)


def test_no_time_to_live() -> None:
    with pytest.raises(ValueError, match="leads nowhere"):
        Path(4, 1500).copy(ttl=0)


@pytest.mark.parametrize("given", [{"ttl": 256}, {"tos": 256}, {"ttl": -1}, {"mtu": -1}, {"mtu": 2**32}])
def test_numbers_that_do_not_fit_their_field(given: dict[str, int]) -> None:
    with pytest.raises(OverflowError):
        Path(4, 1500).copy(**given)


def test_nobody_changes_one() -> None:
    path = Path(4, 1500)
    with pytest.raises(TypeError):
        path.__init__(6, 9000)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        path.mtu = 9000
    assert path.mtu == 1500
