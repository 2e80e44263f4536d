"""Each fault of the load-test server as the kernel's own client sees it: what its calls return, and when."""

import errno
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastnet._flow import FourTuple
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.server import Chargen, Discard, Echo, Http, LoadServer, Mode, Session
from fastnet.server import faults as table
from fastnet.server.faults import FAULTS, Dice, FinAfter, ResetSyn, policy, read
from fastnet.server.faulty import FaultyConnection
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from tests.wire.conftest import STACK
from tests.wire.test_kernel_clients import listening

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = bytes(range(256)) * 200
TCPI_UNACKED, TCPI_RTT, TCPI_TOTAL_RETRANS = 24, 68, 100
"""Offsets in struct tcp_info (linux/tcp.h), bytes: segments; microseconds; segments."""


@contextmanager
def serving(namespace: Namespace, mode: Mode, *faults: str, offload: bool = False, seed: int = 0) -> Iterator[LoadServer]:
    """A load-test server with faults, in a thread."""
    stack = Stack(namespace.add_tun(offload=offload), (STACK,))
    server = LoadServer(stack, mode)
    server.listener.set_policy(policy(Dice([read(fault) for fault in faults], seed), seed))
    over = threading.Event()
    thread = threading.Thread(target=server.run, args=(over.is_set, lambda report: None))
    thread.start()
    try:
        yield server
    finally:
        over.set()
        thread.join(10)
        assert server.listener.gate is not None and server.listener.gate.error is None


def client(timeout: float = 8) -> socket.socket:
    return socket.create_connection((STACK, 8080), timeout=timeout)


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_the_end(sock: socket.socket) -> tuple[bytes, int]:
    """What came, and the errno of its end, 0 for a FIN."""
    got = b""
    while True:
        try:
            part = sock.recv(65536)
        except OSError as error:
            return got, error.errno or errno.ETIMEDOUT
        if not part:
            return got, 0
        got += part


def answer(sock: socket.socket) -> bytes:
    """A whole answer of ``Http(BODY)``, head off."""
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < len(BODY):
        part = sock.recv(65536)
        assert part, "cut short"
        got += part
    return got.partition(b"\r\n\r\n")[2]


def kernel(name: str) -> int:
    """A counter of the namespace's kernel."""
    for path in ("/proc/thread-self/net/netstat", "/proc/thread-self/net/snmp"):
        lines = Path(path).read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, *words = names.split()
            found = dict(zip(words, values.split()[1:], strict=True))
            if name.removeprefix(group) in found:
                return int(found[name.removeprefix(group)])
    raise AssertionError(name)


# ---- the handshake ----


@pytest.mark.parametrize(
    ("fault", "least", "most"), [("lose-synack:1", 0.8, 1.9), ("lose-synack:3", 1.5, 4), ("delay-synack:0.4", 0.35, 0.9)]
)
def test_a_late_synack(namespace: Namespace, fault: str, least: float, most: float) -> None:
    with serving(namespace, Http(BODY), fault):
        started = time.monotonic()
        with client() as sock:
            assert least <= time.monotonic() - started <= most
            sock.sendall(GET)
            assert answer(sock) == BODY


def test_wrong_seq(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "wrong-seq") as server:
        # The RST may come before connect() has returned.
        with pytest.raises(ConnectionResetError), client() as sock:
            sock.recv(1)
        assert server.accepted == 0 and server.listener.statistics().requests == 1


def test_wrong_ack(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "wrong-ack") as server, socket.socket() as sock:
        sock.settimeout(1.5)
        resets = kernel("OutRsts")
        with pytest.raises(TimeoutError):
            sock.connect((STACK, 8080))
        assert kernel("OutRsts") > resets and server.accepted == 0


def test_reset_syn(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "reset-syn"):
        started = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            client()
        assert time.monotonic() - started < 0.5


def test_drop_syn(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "drop-syn") as server:
        with pytest.raises(TimeoutError):
            client(1.3)
        assert server.listener.statistics().refused["policy_drop"] == 2, "the SYN comes again after a second"


# ---- the end ----


def test_reset_after_accept(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "reset-after-accept") as server:
        # The RST may come before connect() has returned.
        with pytest.raises(ConnectionResetError), client() as sock:
            sock.recv(1)
        eventually(lambda: server.accepted == 1 and server.open == 0)


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1000, 30_000])
def test_reset_after(namespace: Namespace, size: int, offload: bool) -> None:
    with serving(namespace, Http(BODY), f"reset-after:{size}", offload=offload) as server, client() as sock:
        sock.sendall(GET)
        got, end = until_the_end(sock)
        assert (len(got), end) == (size, errno.ECONNRESET)
        eventually(lambda: server.open == 0)


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1000, 30_000])
def test_fin_after(namespace: Namespace, size: int, offload: bool) -> None:
    with serving(namespace, Http(BODY), f"fin-after:{size}", offload=offload) as server:
        with client() as sock:
            sock.sendall(GET)
            got, end = until_the_end(sock)
            assert (len(got), end) == (size, 0)
            sock.sendall(GET)
        eventually(lambda: server.open == 0)


def test_silence(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "silence") as server:
        with client(0.5) as sock:
            sock.sendall(GET)
            assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
            sock.shutdown(socket.SHUT_WR)
            assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 5, "FIN-WAIT-2"
        assert server.open == 1


def test_never_ack(namespace: Namespace) -> None:
    with serving(namespace, Discard(), "never-ack") as server, client() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 700)
        sock.sendall(b"hello")
        time.sleep(0.5)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert struct.unpack_from("I", info, TCPI_TOTAL_RETRANS)[0] >= 1
        assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
        assert server.bytes_received == 0


def test_never_ack_and_the_client_closes(namespace: Namespace) -> None:
    """Its FIN is not acknowledged either, while what the server says arrives."""
    with serving(namespace, Chargen(), "never-ack"), client() as sock:
        sock.shutdown(socket.SHUT_WR)
        got = 0
        while got < 100_000:
            got += len(sock.recv(65536))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 4, "FIN-WAIT-1"


def test_half_open(namespace: Namespace) -> None:
    """Who only reads does not notice, but for its keep-alive."""
    with serving(namespace, Chargen(), "half-open:0") as server, client(0.5) as sock:
        assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
        sent = server.stack.counters.IpOutRequests
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 1)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.settimeout(8)
        started = time.monotonic()
        assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
        assert time.monotonic() - started < 7, "by the keep-alive"
        # The kernel takes its leave with a RST, which finds nobody.
        assert server.stack.counters.IpOutRequests == sent and server.open == 1


def test_half_open_in_the_middle(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), f"half-open:{len(GET) + 1}"), client(1) as sock:
        sock.sendall(GET)
        assert answer(sock) == BODY
        sock.sendall(GET)
        assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert struct.unpack_from("I", info, TCPI_UNACKED)[0] == 1 and struct.unpack_from("I", info, TCPI_TOTAL_RETRANS)[0] >= 1


# ---- windows, portions, ACKs ----


@pytest.mark.parametrize("size", [0, 1000])
def test_zero_window(namespace: Namespace, size: int) -> None:
    with serving(namespace, Discard(), f"zero-window:{size}") as server, client(1) as sock:
        with pytest.raises(TimeoutError):
            sock.sendall(bytes(20_000_000))
        assert server.bytes_received == size
        assert kernel("TCPWinProbe") >= 1


def test_zero_window_after_an_answer(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), f"zero-window:{len(GET) + 10}") as server, client(0.6) as sock:
        sock.sendall(GET)
        assert answer(sock) == BODY
        sock.sendall(GET)
        assert until_the_end(sock) == (b"", errno.ETIMEDOUT)
        assert server.bytes_received == len(GET) + 10


def test_trickle(namespace: Namespace) -> None:
    with serving(namespace, Http(b"x" * 100), "trickle:50/0.1"), client() as sock:
        sock.sendall(GET)
        started, got, parts = time.monotonic(), b"", []
        while not got.endswith(b"x" * 100):
            part = sock.recv(65536)
            got += part
            parts.append(len(part))
        # A slow reader may find two portions.
        assert all(part % 50 == 0 for part in parts[:-1]) and len(parts) >= 3
        assert time.monotonic() - started >= 0.1 * (len(got) // 50) - 0.05


def test_delay_ack(namespace: Namespace) -> None:
    with serving(namespace, Discard(), "delay-ack:0.15"), client() as sock:
        sock.sendall(b"x")
        time.sleep(0.4)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        (rtt,) = struct.unpack_from("I", info, TCPI_RTT)
        assert 15_000 <= rtt <= 200_000, "an eighth of a sample goes into it at a time (RFC 6298)"
        started = time.monotonic()
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b"" and time.monotonic() - started < 0.1, "a FIN takes the ACK along"


def test_delay_ack_beyond_the_retransmission_timeout(namespace: Namespace) -> None:
    with serving(namespace, Discard(), "delay-ack:0.5") as server, client() as sock:
        sock.sendall(b"x")
        time.sleep(0.7)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert struct.unpack_from("I", info, TCPI_TOTAL_RETRANS)[0] >= 1 and server.bytes_received == 1


def test_small_mss(namespace: Namespace) -> None:
    with serving(namespace, Echo(), "small-mss:64") as server, client() as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) == 52
        sock.sendall(bytes(5200))
        got = 0
        while got < 5200:
            got += len(sock.recv(65536))
        assert server.stack.counters.TcpInSegs >= 100


def test_tiny_window(namespace: Namespace) -> None:
    with serving(namespace, Discard(), "tiny-window:1") as server, client() as sock:
        started = time.monotonic()
        sock.sendall(b"abc")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        assert server.bytes_received == 3 and time.monotonic() - started > 0.15


# ---- segments ----


@pytest.mark.parametrize(
    ("fault", "counter"), [("duplicate:0.5", "TCPDSACKOldSent"), ("reorder:0.5", "TCPOFOQueue"), ("corrupt:0.2", "Tcp:InCsumErrors")]
)
def test_segments(namespace: Namespace, fault: str, counter: str) -> None:
    before = kernel(counter)
    with serving(namespace, Http(BODY), fault), client() as sock:
        sock.sendall(GET)
        assert answer(sock) == BODY
    assert kernel(counter) > before


def test_corrupt_with_offload(namespace: Namespace) -> None:
    """Nobody looks at TCP's checksum then; the stream is whole all the same."""
    with serving(namespace, Http(BODY), "corrupt:0.3", offload=True, seed=1), client() as sock:
        for _ in range(5):
            sock.sendall(GET)
            assert answer(sock) == BODY


# ---- the choice ----


def test_a_function_chooses(namespace: Namespace) -> None:
    seen: list[FourTuple] = []

    def choose(flow: FourTuple) -> table.Fault | None:
        seen.append(flow)
        return [None, ResetSyn(), FinAfter(3)][len(seen) - 1]

    with serving(namespace, Http(BODY)) as server:
        server.listener.set_policy(policy(choose))
        with client() as sock:
            sock.sendall(GET)
            assert answer(sock) == BODY
            assert seen[0].remote_port == sock.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            client()
        with client() as sock:
            sock.sendall(GET)
            assert until_the_end(sock) == (b"HTT", 0)


@pytest.mark.parametrize("fault", ["fin-after:200000", "reset-after:200000", "trickle:100000/0.01", "silence", "zero-window:0"])
def test_chargen_with_faults(namespace: Namespace, fault: str) -> None:
    """A mode that sends without being asked, and for ever."""
    with serving(namespace, Chargen(), fault) as server:
        with client(0.5) as sock:
            size = 0 if fault == "silence" else 200_000
            got = 0
            while got < size:
                got += len(sock.recv(size - got))
            if fault.endswith("200000"):
                assert until_the_end(sock) == (b"", errno.ECONNRESET if fault.startswith("reset") else 0)
        eventually(lambda: server.open == (fault == "silence"))


def test_what_comes_after_the_fin_is_read(namespace: Namespace) -> None:
    """A client that goes on sending sees neither a RST nor a shut window."""
    with serving(namespace, Echo(), "fin-after:2") as server:
        with client() as sock:
            sock.sendall(b"abcd")
            assert until_the_end(sock) == (b"ab", 0)
            sock.sendall(bytes(5_000_000))
        eventually(lambda: server.open == 0)
        assert server.stack.counters.TcpOutRsts == 0


def test_with_sockets(driver: Driver) -> None:
    """Faults are the listener's, whoever accepts."""
    with listening(driver) as listener:
        assert listener.listener is not None
        listener.listener.set_policy(policy(lambda flow: FinAfter(5)))
        with client() as sock:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"hello, world")
                assert until_the_end(sock) == (b"hello", 0)


def test_who_has_no_fault_has_a_plain_connection(namespace: Namespace) -> None:
    """So it pays nothing: its methods are the compiled ones, and none of them asks for faults."""
    kinds = []

    class Noting(Discard):
        def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
            kinds.append(type(connection))
            return super().opened(connection, server, now)

    with serving(namespace, Noting(), "small-mss:64@0.5", seed=1) as server:
        for _ in range(20):
            client().close()
        eventually(lambda: server.accepted == 20)
    assert set(kinds) == {Connection, FaultyConnection}


def test_dice_repeat() -> None:
    def choices(seed: int) -> list[list[str]]:
        dice = Dice([read("fin-after:7@0.3"), read("drop-syn@0.5")], seed)
        return [[str(fault) for fault in dice(FourTuple("10.0.0.1", port, "10.0.0.2", 80))] for port in range(1, 401)]

    first = choices(1)
    assert first == choices(1) != choices(2)
    assert 80 < sum("fin-after:7" in chosen for chosen in first) < 160 and 150 < sum("drop-syn" in chosen for chosen in first) < 250


def test_several_at_once(namespace: Namespace) -> None:
    with serving(namespace, Http(BODY), "delay-synack:0.2", "small-mss:200", "trickle:100/0.01", "fin-after:1000", "duplicate:1"):
        started = time.monotonic()
        with client() as sock:
            assert time.monotonic() - started >= 0.15
            sock.sendall(GET)
            got, end = until_the_end(sock)
            assert (len(got), end) == (1000, 0) and time.monotonic() - started >= 0.25


def test_every_fault_has_a_test_and_says_what_it_is() -> None:
    text = Path(__file__).read_text()
    for name, kind in FAULTS.items():
        assert f'"{name}' in text, name
        assert kind.__doc__ and kind.client
        assert str(read(kind.usage())[0]) == kind.usage()


# ---- the command ----


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nonsense", "no fault 'nonsense'; there are: lose-synack, "),
        ("lose-synack:many", "a whole number, not 'many'"),
        ("lose-synack:0", "1 to 100, not 0"),
        ("drop-syn:3", "drop-syn takes no argument, not '3'"),
        ("delay-ack:0.6", "0.001 to 0.5, not 0.6"),
        ("delay-synack:nan", "0 to 60, not nan"),
        ("trickle:10", "BYTES/SECONDS"),
        ("trickle:0/1", "BYTES/SECONDS"),
        ("tiny-window:", "a whole number, not ''"),
        ("fin-after:10@2", "a probability is 0 to 1, not '2'"),
        ("fin-after:10@", "a probability is 0 to 1, not ''"),
    ],
)
def test_bad_faults_are_said_in_a_line(fault: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as raised:
        read(fault)
    assert says in str(raised.value)


def test_the_command() -> None:
    def fastnet(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", "serve", "http", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    curl = ("--", "curl", "-s", "http://198.18.0.2:8080/")
    assert fastnet("--fault", "fin-after:100", "--fault-seed", "3", *curl).returncode == 18, "curl: partial file"
    done = fastnet("--fault", "corrupt:0.05", "--body-size", "300000", *curl)
    assert done.returncode == 0 and done.stdout == ("fastnet " * 37500)
    wrong = fastnet("--fault", "juggle")
    assert wrong.returncode == 2 and "no fault 'juggle'" in wrong.stderr.splitlines()[-1] and "Traceback" not in wrong.stderr
