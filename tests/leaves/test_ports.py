"""Local ports, against a model that looks at everything."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fastnet._demux import Demux
from fastnet._flow import FourTuple
from fastnet._ports import NEEDS_MAP, NONE_FREE, LocalPorts

LOW, HIGH = 40000, 40099
ADDRESSES = ("10.0.0.1", "10.0.0.2")
REMOTES = ("10.1.0.1", "10.1.0.2")
ANY = "0.0.0.0"

ports = st.integers(LOW - 2, HIGH + 2)
address = st.sampled_from(ADDRESSES)
remote = st.sampled_from(REMOTES)
starts = st.integers(0, 0xFFFFFFFF)


class Model(RuleBasedStateMachine):
    """What the leaf says, and what follows from a list of all connections and holders."""

    apart = True

    def __init__(self) -> None:
        super().__init__()
        self.demux = Demux()
        self.leaf = LocalPorts(self.demux, self.apart)
        self.flows: dict[tuple[str, int, str], FourTuple] = {}
        self.waiting: list[tuple[str, int, str]] = []
        self.holds: list[tuple[str, int, bool]] = []
        self.reserved: set[int] = set()

    def attach(self, key: tuple[str, int, str]) -> None:
        flow = FourTuple(key[0], key[1], key[2], 80)
        self.demux.insert(flow)
        self.leaf.attach(flow)
        self.flows[key] = flow

    def closed(self, port: int) -> bool:
        return port in self.reserved or any(held == port and owned for _, held, owned in self.holds)

    def free(self, local: str, remote: str) -> set[int]:
        return {port for port in range(LOW, HIGH + 1) if not self.closed(port) and (local, port, remote) not in self.flows}

    @rule(local=address, port=ports, remote=remote)
    def a_connection(self, local: str, port: int, remote: str) -> None:
        if (local, port, remote) not in self.flows:
            self.attach((local, port, remote))

    @rule(local=address, remote=remote, start=starts, times=st.integers(1, 60))
    def choose(self, local: str, remote: str, start: int, times: int) -> None:
        for _ in range(times):
            flow = FourTuple(local, 0, remote, 80)
            free = self.free(local, remote)
            port = self.leaf.choose(flow, start, LOW, HIGH)
            if port == NEEDS_MAP:
                taken = {key[1] for key in self.flows if (key[0], key[2]) == (local, remote) and LOW <= key[1] <= HIGH}
                assert len(self.leaf.make_map(flow, LOW, HIGH, True)) == len(taken) > 0
                for key in self.waiting:
                    if (key[0], key[2]) == (local, remote) and LOW <= key[1] <= HIGH:
                        self.leaf.wait(self.flows[key])
                port = self.leaf.choose(flow, start, LOW, HIGH)
                assert port != NEEDS_MAP
            if not free:
                assert port == NONE_FREE
                return
            assert port in free and flow.local_port == port
            even = {port for port in free if port % 2 == LOW % 2}
            if even:
                assert port in even, "the other half is for bind()"
            self.attach((local, port, remote))

    @rule(data=st.data())
    def over(self, data: st.DataObject) -> None:
        if self.flows:
            for key in data.draw(st.lists(st.sampled_from(sorted(self.flows)), unique=True, max_size=60)):
                flow = self.flows.pop(key)
                self.waiting = [other for other in self.waiting if other != key]
                self.demux.remove(flow)
                self.leaf.detach(flow)

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        rest = sorted(set(self.flows) - set(self.waiting))
        if rest:
            key = data.draw(st.sampled_from(rest))
            self.waiting.append(key)
            self.leaf.wait(self.flows[key])

    @rule(local=st.sampled_from((*ADDRESSES, ANY)), port=ports, owned=st.booleans())
    def hold(self, local: str, port: int, owned: bool) -> None:
        self.holds.append((local, port, owned))
        self.leaf.hold(local, port, owned)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.holds:
            which = data.draw(st.sampled_from(self.holds))
            self.holds.remove(which)
            self.leaf.release(*which)

    @rule(first=ports, size=st.integers(0, 60))
    def reserve(self, first: int, size: int) -> None:
        self.reserved = set(range(first, first + size))
        self.leaf.reserve([(first, first + size - 1)] if size else [])

    @rule(local=st.sampled_from((*ADDRESSES, ANY)), start=starts, times=st.integers(1, 60))
    def bind(self, local: str, start: int, times: int) -> None:
        for _ in range(times):
            busy = {key[1] for key in self.flows} | {port for _, port, _ in self.holds} | self.reserved
            free = set(range(LOW, HIGH + 1)) - busy
            if not free and local != ANY and self.apart:
                busy = {port for held, port, _ in self.holds if held in (local, ANY)} | {key[1] for key in self.flows if key[0] == local}
                free = set(range(LOW, HIGH + 1)) - busy - self.reserved
            port = self.leaf.choose_to_bind(local, start, LOW, HIGH)
            if not free:
                assert port == NONE_FREE
                return
            assert port in free
            self.hold(local, port, True)

    @invariant()
    def connections_are_known(self) -> None:
        for port in range(LOW - 2, HIGH + 3, 7):
            assert self.leaf.has_connection(ANY, port) == any(key[1] == port for key in self.flows)
            if self.apart:
                for local in ADDRESSES:
                    assert self.leaf.has_connection(local, port) == any(key[:2] == (local, port) for key in self.flows)

    @invariant()
    def the_oldest_is_known(self) -> None:
        if self.leaf.maps_made:
            for local in ADDRESSES:
                for remote in REMOTES:
                    port = self.leaf.oldest_waiting(FourTuple(local, 0, remote, 80))
                    row = [key[1] for key in self.waiting if (key[0], key[2]) == (local, remote) and LOW <= key[1] <= HIGH]
                    assert port == -1 or port == next(port for port in row if not self.closed(port))

    def teardown(self) -> None:
        for flow in self.flows.values():
            self.demux.remove(flow)
            self.leaf.detach(flow)
        for which in self.holds:
            self.leaf.release(*which)
        assert self.leaf.maps_made == 0 and self.leaf.memory == 0, "what is kept goes when connections go"


class OneAddress(Model):
    """Counted for each port, and no more."""

    apart = False


Model.TestCase.settings = OneAddress.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
TestOneAddress = OneAddress.TestCase


def test_a_full_destination_and_a_narrow_range() -> None:
    """Each port once, whatever is taken before, in ranges of every size."""
    for low, high in ((1, 1), (65535, 65535), (40000, 40001), (40001, 40064), (40000, 40064), (63, 200), (65000, 65535)):
        demux = Demux()
        leaf = LocalPorts(demux, False)
        for taken in {low, high, (low + high) // 2}:
            leaf.hold("10.0.0.1", taken, True)
        given = []
        while True:
            flow = FourTuple("10.0.0.1", 0, "10.1.0.1", 80)
            port = leaf.choose(flow, 12345, low, high)
            if port == NEEDS_MAP:
                leaf.make_map(flow, low, high, False)
                continue
            if port == NONE_FREE:
                break
            demux.insert(flow)
            leaf.attach(flow)
            given.append(port)
        assert sorted(given) == sorted(set(range(low, high + 1)) - {low, high, (low + high) // 2})
        assert given.index(low + 2) < given.index(low + 1) if high - low > 8 else True


def test_a_port_outside_of_the_range_is_not_in_its_map() -> None:
    """It shares a word of bits with those inside; counted, it would keep the map for ever."""
    leaf = LocalPorts(Demux(), True)
    for port in (40010, 40011):
        leaf.hold("10.0.0.1", port, True)
    assert leaf.choose_to_bind("10.0.0.1", 0, 40010, 40011) == NONE_FREE and leaf.maps_made == 1
    for port in (40005, 40009, 40012, 40063):
        leaf.hold("10.0.0.1", port, True)
    leaf.release("10.0.0.1", 40011, True)
    assert leaf.choose_to_bind("10.0.0.1", 0, 40010, 40011) == 40011
    leaf.release("10.0.0.1", 40010, True)
    assert leaf.maps_made == 0
    for port in (40005, 40009, 40012, 40063):
        leaf.release("10.0.0.1", port, True)
    assert leaf.memory == 0


def test_another_range_forgets_the_maps() -> None:
    demux = Demux()
    leaf = LocalPorts(demux, False)
    flow = FourTuple("10.0.0.1", 0, "10.1.0.1", 80)
    leaf.make_map(flow, 40000, 40999, False)
    assert leaf.maps_made == 1
    assert leaf.choose(flow, 0, 50000, 50999) == 50000 and leaf.maps_made == 0


@pytest.mark.parametrize("ports", [(0, 5), (5, 4), (1, 65536), (-5, 7)])
def test_what_is_no_range(ports: tuple[int, int]) -> None:
    leaf = LocalPorts(Demux(), True)
    with pytest.raises(ValueError, match="ports are 1 to 65535"):
        leaf.choose(FourTuple("10.0.0.1", 0, "10.1.0.1", 80), 0, *ports)
    with pytest.raises(ValueError, match="ports are 1 to 65535"):
        leaf.choose_to_bind("10.0.0.1", 0, *ports)
    with pytest.raises(ValueError, match="ports are 1 to 65535"):
        leaf.reserve([ports])
    with pytest.raises(ValueError, match="nobody holds"):
        leaf.release("10.0.0.1", 80, False)


@pytest.mark.parametrize("apart", [False, True])
def test_connections_are_of_a_family(apart: bool) -> None:
    """A wildcard stands for its family alone; so does an address where there is one of each family."""
    ports = LocalPorts(Demux(bytes(16)), apart)
    four, six = FourTuple("10.0.0.1", 5000, "10.0.0.9", 80), FourTuple("2001:2::1", 5000, "2001:2::9", 80)
    for flow, its, other in ((four, ("0.0.0.0", "10.0.0.1"), ("::", "2001:2::1")), (six, ("::", "2001:2::1"), ("0.0.0.0", "10.0.0.1"))):
        ports.attach(flow)
        assert all(ports.has_connection(address, 5000) for address in its)
        assert not any(ports.has_connection(address, 5000) for address in other)
        ports.detach(flow)
        assert not any(ports.has_connection(address, 5000) for address in its)
