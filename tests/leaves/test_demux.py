"""The demux against a dict, through growth, deletion and reuse."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastnet._demux import Demux
from fastnet._flow import FourTuple


def flow_of(n: int) -> FourTuple:
    remote = 0xC6130000 + (n >> 12)
    return FourTuple("198.18.0.2", 80, ".".join(str(b) for b in remote.to_bytes(4, "big")), 1024 + (n & 0xFFF))


def v6_flow_of(n: int) -> FourTuple:
    return FourTuple("2001:2::2", 80, f"2001:2::{n >> 12:x}:1", 1024 + (n & 0xFFF))


# Both families in one table: every other one is IPv6.
FLOWS = [flow_of(n) if n % 2 else v6_flow_of(n) for n in range(3000)]
ADDRESSES = ("0.0.0.0", "198.18.0.2", "198.18.0.3", "::", "2001:2::1")


class Machine(RuleBasedStateMachine):
    """Single operations, and bulk ones that make the table grow in the middle of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.demux = Demux()
        self.flows: dict[FourTuple, int] = {}
        self.listeners: dict[tuple[str, int], int] = {}

    def insert_one(self, flow: FourTuple) -> None:
        if flow in self.flows:
            with pytest.raises(ValueError, match="already"):
                self.demux.insert(flow)
            return
        number = self.demux.insert(flow)
        assert number not in self.flows.values() and number not in self.listeners.values()
        self.flows[flow] = number

    @rule(n=st.integers(0, 2999))
    def insert(self, n: int) -> None:
        self.insert_one(FLOWS[n])

    @rule(first=st.integers(0, 2999), count=st.integers(100, 900))
    def insert_many(self, first: int, count: int) -> None:
        for flow in FLOWS[first : first + count]:
            if flow not in self.flows:
                self.flows[flow] = self.demux.insert(flow)
        assert len(set(self.flows.values())) == len(self.flows)

    @rule(n=st.integers(0, 2999))
    def remove(self, n: int) -> None:
        assert self.demux.remove(FLOWS[n]) == self.flows.pop(FLOWS[n], -1)

    @rule(first=st.integers(0, 2999), count=st.integers(100, 900), step=st.integers(1, 3))
    def remove_many(self, first: int, count: int, step: int) -> None:
        for flow in FLOWS[first : first + count : step]:
            assert self.demux.remove(flow) == self.flows.pop(flow, -1)

    @rule(address=st.sampled_from(ADDRESSES), port=st.integers(80, 82))
    def listen(self, address: str, port: int) -> None:
        if (address, port) in self.listeners:
            with pytest.raises(ValueError, match="already"):
                self.demux.listen(address, port)
        else:
            number = self.demux.listen(address, port)
            assert number not in self.flows.values() and number not in self.listeners.values()
            self.listeners[address, port] = number

    @rule(address=st.sampled_from(ADDRESSES), port=st.integers(80, 82))
    def unlisten(self, address: str, port: int) -> None:
        if (address, port) in self.listeners:
            assert self.demux.unlisten(address, port) == self.listeners.pop((address, port))
        else:
            with pytest.raises(KeyError):
                self.demux.unlisten(address, port)

    @rule(address=st.sampled_from(("198.18.0.2", "198.18.0.3", "198.18.0.4", "2001:2::1", "2001:2::2")), port=st.integers(80, 82))
    def find_listener(self, address: str, port: int) -> None:
        """The specific address before the wildcard of its own family."""
        wildcard = "::" if ":" in address else "0.0.0.0"
        expected = self.listeners.get((address, port), self.listeners.get((wildcard, port), -1))
        remote = "2001:2::9" if ":" in address else "198.18.0.1"
        assert self.demux.find_listener(FourTuple(address, port, remote, 7)) == expected

    @invariant()
    def agrees(self) -> None:
        assert len(self.demux) == len(self.flows)
        for n in range(0, 3000, 61):
            assert self.demux.find(FLOWS[n]) == self.flows.get(FLOWS[n], -1)
            assert (FLOWS[n] in self.demux) == (FLOWS[n] in self.flows)

    def teardown(self) -> None:
        for flow in FLOWS:
            assert self.demux.find(flow) == self.flows.get(flow, -1)


TestDemux = Machine.TestCase
TestDemux.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_flat_memory_and_no_decay() -> None:
    """Two hundred thousand come and go; the table is as it was, and ids are used again."""
    demux = Demux()
    flows = [flow_of(n) for n in range(20_000)]
    for flow in flows[:1000]:
        demux.insert(flow)
    memory, capacity = demux.memory, demux.capacity
    largest = 0
    for turn in range(10):
        for i in range(1000, 20_000):
            largest = max(largest, demux.insert(flows[i]))
            assert demux.remove(flows[i]) >= 0
            demux.settle()
        assert demux.find(flows[turn]) >= 0
    assert (demux.memory, demux.capacity, largest) == (memory, capacity, 1000)


def test_memory_counts_the_old_table_until_it_is_empty() -> None:
    """What is freed at the end of a growth is the old table: so many bytes for each of its slots, and not one slot more."""
    demux = Demux()
    freed = []
    for number in range(20_000):
        memory = demux.memory
        demux.insert(flow_of(number))
        if demux.memory < memory:
            freed.append(((memory - demux.memory) / (demux.capacity // 2), demux.capacity))
    assert len(freed) > 3 and len({size for size, _ in freed}) == 1 and freed[0][0] in (12, 16, 24), freed


def test_growth_keeps_everything() -> None:
    demux = Demux()
    flows = [flow_of(n) for n in range(30_000)]
    for n, flow in enumerate(flows):
        assert demux.insert(flow) == n
        if n % 7 == 0:
            assert demux.find(flows[n // 2]) == n // 2
    assert demux.find_all(flows) == 30_000
    assert [demux.find(flow) for flow in flows] == list(range(30_000))


def test_runs_of_the_same_home() -> None:
    """4-tuples that share their lowest hash bits crowd one place of the table, and are still told apart."""
    crowd: dict[int, list[FourTuple]] = {}
    n = 0
    # hash(flow) leaves out the lowest bit of the 64; eight more are enough to crowd a run.
    while max((len(group) for group in crowd.values()), default=0) < 200:
        flow = flow_of(n)
        crowd.setdefault(hash(flow) & 0xFF, []).append(flow)
        n += 1
    group = max(crowd.values(), key=len)
    demux = Demux()
    numbers = {flow: demux.insert(flow) for flow in group}
    for i, flow in enumerate(group):
        if i % 3 == 0:
            assert demux.remove(flow) == numbers.pop(flow)
    assert all(demux.find(flow) == numbers.get(flow, -1) for flow in group)


def test_bad_addresses() -> None:
    with pytest.raises(OSError, match="illegal"):
        Demux().listen("nowhere", 80)
    with pytest.raises(OverflowError):
        Demux().listen("0.0.0.0", 65536)
    with pytest.raises(TypeError):
        Demux().find_all(["not a 4-tuple"])  # type: ignore[list-item]


def test_a_listener_is_found_in_a_few_steps_however_many_share_its_port() -> None:
    """60,000 addresses, one port: no chain to walk. A wildcard beside them is found too, and what is closed is gone."""
    demux = Demux()
    addresses = [f"10.{i >> 14}.{(i >> 7) & 127}.{(i & 127) + 1}" for i in range(60_000)]
    numbers = {address: demux.listen(address, 80) for address in addresses}
    anywhere = demux.listen("0.0.0.0", 80)
    assert demux.furthest_listener < 64
    for address in addresses[::97]:
        assert demux.find_listener(FourTuple(address, 80, "198.18.0.1", 7)) == numbers[address]
        assert demux.find_listener(FourTuple(address, 81, "198.18.0.1", 7)) == -1
    assert demux.find_listener(FourTuple("11.0.0.1", 80, "198.18.0.1", 7)) == anywhere
    for address in addresses[::2]:
        assert demux.unlisten(address, 80) == numbers[address]
    for i, address in enumerate(addresses[:3000]):
        assert demux.find_listener(FourTuple(address, 80, "198.18.0.1", 7)) == (numbers[address] if i % 2 else anywhere)
    for address in addresses[1::2]:
        demux.unlisten(address, 80)
    assert demux.furthest_listener == 0 and demux.unlisten("0.0.0.0", 80) == anywhere
    assert demux.find_listener(FourTuple(addresses[1], 80, "198.18.0.1", 7)) == -1


def test_ports_do_not_crowd_each_other() -> None:
    """One address, every port."""
    demux = Demux()
    numbers = [demux.listen("198.18.0.2", port) for port in range(1, 65536)]
    assert demux.furthest_listener < 64
    assert all(demux.find_listener(FourTuple("198.18.0.2", port, "198.18.0.1", 7)) == numbers[port - 1] for port in range(1, 65536, 13))
