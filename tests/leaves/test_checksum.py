"""The Internet checksum against a plain reading of RFC 1071, dpkt and scapy."""

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from fastnet import _checksum


def reference(data: bytes, initial: int = 0) -> int:
    """RFC 1071 section 1, word by word."""
    total = initial
    if len(data) % 2:
        data += b"\0"
    for i in range(0, len(data), 2):
        total += data[i] << 8 | data[i + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_example_of_rfc_1071() -> None:
    """Section 3: 00 01 f2 03 f4 f5 f6 f7 sums up to ddf2."""
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert _checksum.checksum(data) == 0xFFFF ^ 0xDDF2
    assert _checksum.verify(data + (0xFFFF ^ 0xDDF2).to_bytes(2, "big"))
    assert not _checksum.verify(data + b"\0\0")


@given(st.binary(max_size=400), st.integers(0, 15), st.integers(0, 0xFFFF))
def test_any_bytes_at_any_offset(data: bytes, offset: int, initial: int) -> None:
    buffer = bytes(offset) + data + b"trailer"
    assert _checksum.checksum(buffer, offset, len(data), initial) == reference(data, initial)


@given(st.binary(max_size=300))
def test_same_as_dpkt(data: bytes) -> None:
    assert _checksum.checksum(data) == dpkt.in_cksum(data)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 31, 63, 64, 65, 95, 96, 97, 98, 99, 100, 127, 1459, 1460, 1461, 65535, 70001])
@pytest.mark.parametrize("fill", [b"\xff", b"\x00", b"\xff\xfe", bytes(range(1, 252))])
def test_lengths_around_every_boundary(length: int, fill: bytes) -> None:
    data = (fill * (length // len(fill) + 1))[:length]
    for offset in range(9):
        assert _checksum.checksum(bytes(offset) + data, offset) == reference(data)


@settings(max_examples=50)
@given(st.binary(max_size=100), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_tcp_over_ipv4_and_ipv6_as_scapy_has_it(data: bytes, seq: int, ack: int) -> None:
    tcp = TCP(sport=1, dport=2, seq=seq, ack=ack, flags="PA", options=[("MSS", 1460)])
    for ip, source, target in (
        (IP(src="198.18.0.1", dst="198.18.0.2"), "198.18.0.1", "198.18.0.2"),
        (IPv6(src="2001:2::1", dst="2001:2::ffff"), "2001:2::1", "2001:2::ffff"),
    ):
        raw = bytes(ip / tcp / data)
        segment = raw[20 if ":" not in source else 40 :]
        pseudo = _checksum.pseudo_header(source, target, 6, len(segment))
        assert _checksum.verify(segment, initial=pseudo)
        zeroed = segment[:16] + b"\0\0" + segment[18:]
        assert _checksum.checksum(zeroed, initial=pseudo) == int.from_bytes(segment[16:18], "big")


@given(st.binary(min_size=8, max_size=60), st.integers(0, 3), st.binary(min_size=4, max_size=4))
def test_incremental_update_is_a_fresh_checksum(data: bytes, word: int, new: bytes) -> None:
    """RFC 1624 equation 3. Part of the data is never zero, as in every header: zero alone has two sums in ones' complement."""
    data = data[: len(data) // 2 * 2] + b"\x45\x00"
    old16, at16 = data[2 * word : 2 * word + 2], 2 * word
    changed = data[:at16] + new[:2] + data[at16 + 2 :]
    updated = _checksum.update16(_checksum.checksum(data), int.from_bytes(old16, "big"), int.from_bytes(new[:2], "big"))
    assert _checksum.verify(changed + updated.to_bytes(2, "big"))
    at32 = 4 * (word % 2)
    changed = data[:at32] + new + data[at32 + 4 :]
    updated = _checksum.update32(
        _checksum.checksum(data), int.from_bytes(data[at32 : at32 + 4], "big"), int.from_bytes(new, "big")
    )
    assert _checksum.verify(changed + updated.to_bytes(2, "big"))


@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, 11), (11, -1), (5, 6), (11, 0), (1, 2**63 - 1), (2**63 - 1, 1)])
def test_outside_the_buffer(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="of a buffer of 10"):
        _checksum.checksum(bytes(10), offset, length)


def test_pseudo_header_of_mixed_or_bad_addresses() -> None:
    with pytest.raises(ValueError, match="families"):
        _checksum.pseudo_header("198.18.0.1", "2001:2::1", 6, 20)
    with pytest.raises(OSError, match="illegal"):
        _checksum.pseudo_header("198.18.0.256", "198.18.0.1", 6, 20)
