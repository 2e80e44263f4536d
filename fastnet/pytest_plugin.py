"""What fastnet gives to pytest: two stacks in memory, a private network with a stack in it, and servers that go wrong on purpose.

docs/pytest.md says how to use it. Every pytest run of everybody who has fastnet installed imports this file: it imports pytest and the
standard library, and anything else where a test asks for it.
"""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastnet.config import Settings
    from fastnet.devices import Capture, Device
    from fastnet.driver import Driver
    from fastnet.netns import Namespace
    from fastnet.server import LoadServer, Mode
    from fastnet.server.faults import Fault
    from fastnet.stack import Stack
    from fastnet.twins import Twins

CAPTURE_LIMIT = 16 << 20
"""Bytes of packets that are kept for each fixture of a test, in case it fails: the first ones."""
NEEDS_ROOT = "it takes a network namespace: run pytest as root, or with `unshare --map-root-user --net` in front"
LONGEST_NAME = 150
"""Characters of a test's name in the name of a file: the last ones."""


@dataclass
class Recording:
    """What a fixture of a test leaves behind when the test fails.

    :ivar name: of the fixture
    """

    name: str
    file: io.BytesIO
    capture: Capture

    def save(self, folder: Path, test: str) -> str:
        """Write what has passed so far to a file in a folder; a line that says where."""
        path = folder / f"{test}-{self.name}.pcapng"
        with self.capture.lock:
            content, packets, left_out = self.file.getvalue(), self.capture.packets, self.capture.left_out
        path.write_bytes(content)
        return f"{self.name}: {packets} packets in {path}" + (f", {left_out} more found it full" if left_out else "")


@dataclass
class Evidence:
    """Of one test: the seed, if something was left to chance, and what its fixtures recorded.

    :ivar folder: makes the folder for the files
    """

    seed: int
    folder: Callable[[], Path]
    recordings: list[Recording] = field(default_factory=list)

    def record(self, name: str) -> Capture:
        """A capture in memory that a failure writes to a file."""
        from fastnet.devices import Capture

        file = io.BytesIO()
        capture = Capture(file, limit=CAPTURE_LIMIT)
        self.add(name, file, capture)
        return capture

    def add(self, name: str, file: io.BytesIO, capture: Capture) -> None:
        """A capture that somebody else has made."""
        self.recordings.append(Recording(name, file, capture))

    def report(self, test: str) -> str:
        """Save everything, and say where it is."""
        lines = [f"seed {self.seed}: the same again with --fastnet-seed={self.seed}"]
        try:
            if self.recordings:
                folder = self.folder()
                name = re.sub(r"[^\w.-]+", "_", test)[-LONGEST_NAME:]
                lines += [recording.save(folder, name) for recording in self.recordings]
        except OSError as error:
            lines.append(f"the packets could not be saved: {error}")
        return "\n".join(lines)


EVIDENCE = pytest.StashKey[Evidence]()
SEED = pytest.StashKey[int]()


@dataclass
class TunPair:
    """A stack and the kernel at the ends of a TUN device, in a private network namespace.

    :ivar address: the stack's address; ``kernel``: the kernel's, on the same device
    :ivar driver: polls the stack in a thread; what ``fastnet.socket`` asks for
    """

    namespace: Namespace
    driver: Driver
    address: str
    kernel: str

    @property
    def stack(self) -> Stack:
        """The stack, to be called with ``driver.lock`` held."""
        return self.driver.stack


class Network:
    """A private namespace and the devices in it, each with a network of its own: 198.18.0.0/24, 198.18.1.0/24, ..."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.devices = 0

    def add(self, capture: Capture, mtu: int = 1500) -> tuple[Device, str, str]:
        """A TUN device that is recorded, the address of the stack on it, and the kernel's."""
        from fastnet.devices import CapturedDevice

        number = self.devices
        self.devices += 1
        kernel, address = f"198.18.{number}.1", f"198.18.{number}.2"
        tun = self.namespace.add_tun(f"{kernel}/24", f"fastnet{number}", mtu)
        return CapturedDevice(tun, capture), address, kernel


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fastnet-seed`` and ``--fastnet-captures``."""
    group = parser.getgroup("fastnet")
    group.addoption("--fastnet-seed", type=int, metavar="N", help="seed of what fastnet's fixtures leave to chance (default: drawn)")
    group.addoption("--fastnet-captures", type=Path, metavar="DIR", help="where tests that fail leave their packets (default: pytest's)")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed, and say which marks there are."""
    seed = config.getoption("--fastnet-seed")
    config.stash[SEED] = int.from_bytes(os.urandom(4)) if seed is None else seed
    config.addinivalue_line("markers", "fastnet_pair(**arguments): of the fixture of that name: those of fastnet.twins.Twins")
    config.addinivalue_line("markers", "fastnet_tun(settings={}, mtu=1500): of the stack and the device of the fixture of that name")


# The outermost, so that it is known whether the test counts as failed; in the form that pytest 7 knows as well.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """A test that fails says its seed and where its packets are."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    evidence = item.stash.get(EVIDENCE, None)
    if evidence is not None:
        if report.failed:
            report.sections.append(("fastnet", evidence.report(item.nodeid)))
        if call.when == "teardown":
            del item.stash[EVIDENCE]


@pytest.fixture
def fastnet_evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What the test leaves behind when it fails; for other fixtures that record something (``Evidence.record``)."""

    def folder() -> Path:
        chosen: Path | None = request.config.getoption("--fastnet-captures")
        if chosen is None:
            return tmp_path_factory.mktemp("fastnet")
        chosen.mkdir(parents=True, exist_ok=True)
        return chosen

    evidence = Evidence(request.config.stash[SEED], folder)
    request.node.stash[EVIDENCE] = evidence
    return evidence


@pytest.fixture
def fastnet_seed(fastnet_evidence: Evidence) -> int:
    """The seed of what fastnet's fixtures leave to chance: ``--fastnet-seed``, or one that is drawn for the whole run."""
    return fastnet_evidence.seed


def marked(request: pytest.FixtureRequest, name: str) -> dict[str, Any]:
    """The keyword arguments of a test's mark."""
    mark = request.node.get_closest_marker(name)
    return {} if mark is None else dict(mark.kwargs)


@pytest.fixture
def fastnet_pair(request: pytest.FixtureRequest, fastnet_evidence: Evidence) -> Twins:
    """Two stacks in memory, on a virtual clock (``fastnet.twins.Twins``): no root, no sleeping, the same again with the same seed.

    ``@pytest.mark.fastnet_pair(impairment=..., settings_b=...)`` gives the arguments of ``Twins``.
    """
    from fastnet.twins import Twins

    file = io.BytesIO()
    twins = Twins(**{"seed": fastnet_evidence.seed, **marked(request, "fastnet_pair")}, capture=file)
    assert twins.capture is not None
    fastnet_evidence.add("pair", file, twins.capture)
    return twins


@pytest.fixture
def fastnet_network() -> Iterator[Network]:
    """A private network namespace that the test is in, without a device so far; the test is skipped where there can be none."""
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    from fastnet.netns import Namespace

    with ExitStack() as stack:
        try:
            namespace = stack.enter_context(Namespace())
            namespace.add_tun("198.18.255.1/24", "fastnet-probe").close()
        except OSError as error:
            pytest.skip(str(error.strerror))
        yield Network(namespace)


@pytest.fixture
def fastnet_tun(request: pytest.FixtureRequest, fastnet_network: Network, fastnet_evidence: Evidence) -> Iterator[TunPair]:
    """A private network namespace, with the kernel on one side of a TUN device and a stack on the other, polled by a thread.

    The test's thread is in the namespace, and so is what it starts: its sockets see nothing but this device and loopback.

    ``@pytest.mark.fastnet_tun(settings={...}, mtu=9000)`` sets the stack's settings and the device's MTU.
    """
    from fastnet.driver import Driver
    from fastnet.stack import Stack

    chosen = marked(request, "fastnet_tun")
    device, address, kernel = fastnet_network.add(fastnet_evidence.record("tun"), chosen.pop("mtu", 1500))
    with Driver(Stack(device, (address,), **chosen)) as driver:
        yield TunPair(fastnet_network.namespace, driver, address, kernel)


FaultyFactory = Callable[..., tuple[str, int]]
"""What ``fastnet_faulty`` is."""


@pytest.fixture
def fastnet_faulty(fastnet_network: Network, fastnet_evidence: Evidence) -> Iterator[FaultyFactory]:
    """``fastnet_faulty(*faults, mode="http", body=b"...", port=8080, settings=None)``: start a server with faults; its address.

    A fault is one of docs/faults.md, as text ("lose-synack:2", "fin-after:10@0.5") or as an object; without one the server does
    nothing wrong. ``mode`` is "http", "echo", "discard" or "chargen", or a ``fastnet.server.Mode``. The server runs in a thread until the
    test is over; the test, and what it starts, reach it with the kernel's sockets.
    """
    with ExitStack() as servers:

        def start(
            *faults: str | Fault,
            mode: str | Mode = "http",
            body: bytes = b"hello from fastnet\n",
            port: int = 8080,
            settings: Settings | dict[str, Any] | None = None,
        ) -> tuple[str, int]:
            from fastnet.config import no_such
            from fastnet.server import Chargen, Discard, Echo, Http, LoadServer
            from fastnet.server.faults import Dice, policy, read
            from fastnet.stack import Stack

            chosen = [read(fault) if isinstance(fault, str) else (fault, 1.0) for fault in faults]
            modes: dict[str, Callable[[], Mode]] = {"http": lambda: Http(body), "echo": Echo, "discard": Discard, "chargen": Chargen}
            if isinstance(mode, str) and mode not in modes:
                raise ValueError(no_such("mode", mode, modes))
            number = fastnet_network.devices
            device, address, _ = fastnet_network.add(fastnet_evidence.record(f"faulty{number}"))
            stack = Stack(device, (address,), settings)
            server = LoadServer(stack, modes[mode]() if isinstance(mode, str) else mode, address, port)
            if chosen:
                server.listener.set_policy(policy(Dice(chosen, fastnet_evidence.seed), fastnet_evidence.seed))
            servers.enter_context(Running(server))
            return address, port

        yield start


class Running:
    """A load-test server in a thread, as long as the context lasts.

    :raises BaseException: at its end, what ended the server before
    """

    def __init__(self, server: LoadServer) -> None:
        self.server = server
        self.failure: BaseException | None = None
        # They are raised at the end, and not logged.
        server.stack.context.failures.held = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastnet server", daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.server.stack.device.wake()
        self._thread.join()
        gate = self.server.listener.gate
        # A mode or a session that raises loses its connection, not the server.
        contained = self.server.stack.context.failures.waiting
        failure = self.failure or (contained[0][1] if contained else None) or (None if gate is None else gate.error)
        if failure is not None:
            raise failure

    def _run(self) -> None:
        try:
            self.server.run(self._over.is_set, lambda report: None)
        except BaseException as error:  # Raised again in the test's thread.
            self.failure = error
