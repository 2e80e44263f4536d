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


def siphash_2_4(key: bytes, message: bytes) -> int:
    """The reference, word by word (Aumasson and Bernstein, 2012, section 2.2)."""
    mask = (1 << 64) - 1

    def rotated(x: int, by: int) -> int:
        return (x << by | x >> 64 - by) & mask

    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def one_round() -> None:
        v[0] = (v[0] + v[1]) & mask
        v[1] = rotated(v[1], 13) ^ v[0]
        v[0] = rotated(v[0], 32)
        v[2] = (v[2] + v[3]) & mask
        v[3] = rotated(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & mask
        v[3] = rotated(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & mask
        v[1] = rotated(v[1], 17) ^ v[2]
        v[2] = rotated(v[2], 32)

    assert len(message) % 8 == 0
    for i in range(0, len(message), 8):
        word = int.from_bytes(message[i : i + 8], "little")
        v[3] ^= word
        one_round()
        one_round()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        one_round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@given(st.tuples(v4, ports, v4, ports) | st.tuples(v6, ports, v6, ports), st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFFFFFF))
def test_mac_is_siphash_2_4_of_the_4_tuple_and_the_number(fields: tuple[str, int, str, int], key: bytes, number: int) -> None:
    def words(address: str) -> bytes:
        parsed = ipaddress.ip_address(address)
        raw = bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed
        return raw[:8][::-1] + raw[8:][::-1]

    local, local_port, remote, remote_port = fields
    message = words(local) + words(remote) + (number << 32 | local_port << 16 | remote_port).to_bytes(8, "little")
    key0, key1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    assert FourTuple(*fields).mac(key0, key1, number) == siphash_2_4(key, message)


def test_the_network_of_the_peer() -> None:
    flow = FourTuple("198.18.0.2", 80, "198.18.5.9", 4000)
    address = int(ipaddress.ip_address("198.18.5.9"))
    assert [flow.remote_network(bits) for bits in (-1, 0, 1, 24, 32, 99)] == [0, 0, 1, address >> 8, address, address]
    six = FourTuple("2001:db8::1", 80, "2001:db8:1:2::3", 4000)
    assert [six.remote_network(bits) for bits in (-1, 0, 16, 32, 128)] == [0, 0, 0x20010DB80001, 0x20010DB800010002, 0x20010DB800010002]
