"""4-tuples: names that key dicts, from Python and in a batch."""

import ipaddress
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet._flow import FourTuple

ports = st.integers(0, 65535)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).filter(lambda address: not address.ipv4_mapped).map(str)


@given(st.tuples(v4, ports, v4, ports) | st.tuples(v6, ports, v6, ports))
def test_what_goes_in_comes_out(fields: tuple[str, int, str, int]) -> None:
    flow = FourTuple(*fields)
    assert (ipaddress.ip_address(flow.local_address), flow.local_port) == (ipaddress.ip_address(fields[0]), fields[1])
    assert (ipaddress.ip_address(flow.remote_address), flow.remote_port) == (ipaddress.ip_address(fields[2]), fields[3])
    assert flow.version == ipaddress.ip_address(fields[0]).version
    copy = flow.copy()
    assert copy == flow and hash(copy) == hash(flow) and copy is not flow
    assert eval(repr(flow)) == flow


@given(st.tuples(v4, ports, v4, ports), st.tuples(v4, ports, v4, ports))
def test_equal_when_all_four_are(one: tuple[str, int, str, int], other: tuple[str, int, str, int]) -> None:
    assert (FourTuple(*one) == FourTuple(*other)) == (one == other)


def test_every_field_counts() -> None:
    base = ("198.18.0.2", 80, "198.18.0.1", 4000)
    others = [("198.18.0.3", *base[1:]), (base[0], 81, *base[2:]), (*base[:2], "198.18.0.9", 4000), (*base[:3], 4001)]
    swapped = ("198.18.0.1", 4000, "198.18.0.2", 80)
    flows = [FourTuple(*fields) for fields in (base, swapped, *others)]
    assert len(set(flows)) == len({hash(flow) for flow in flows}) == 6
    assert FourTuple(*base) != base


def test_bad_input() -> None:
    with pytest.raises(OSError, match="illegal"):
        FourTuple("198.18.0.256", 1, "198.18.0.1", 2)
    for port in (-1, 65536):
        with pytest.raises(OverflowError):
            FourTuple("198.18.0.2", port, "198.18.0.1", 2)


def test_the_hash_is_keyed() -> None:
    """Two processes hash the same 4-tuple differently: nobody outside can prepare collisions."""
    program = "from fastnet._flow import FourTuple; print(hash(FourTuple('198.18.0.2', 80, '198.18.0.1', 4000)))"
    hashes = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in range(3)}
    assert len(hashes) == 3


def test_prf_depends_on_its_key() -> None:
    flow = FourTuple("198.18.0.2", 80, "198.18.0.1", 4000)
    assert flow.prf(1, 2) == flow.copy().prf(1, 2)
    assert len({flow.prf(1, 2), flow.prf(2, 1), flow.prf(1, 3)}) == 3
