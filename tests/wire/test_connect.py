"""connect and the options, step by step the same on fastnet's sockets and on the kernel's; then what only the wire can answer."""

import errno
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pytest

from fastnet import tcpinfo
from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import SHUT_RD, SHUT_RDWR, SHUT_WR, Socket, create_connection, create_server
from fastnet.sockopt import (
    IP_MTU,
    IP_MTU_DISCOVER,
    SO_MAX_PACING_RATE,
    TCP_FASTOPEN,
    TCP_FASTOPEN_CONNECT,
    TCP_FASTOPEN_NO_COOKIE,
    TCP_NOTSENT_LOWAT,
)
from fastnet.stack import Stack
from fastnet.tcp.states import State
from fastnet.tcpinfo import TcpInfo
from tests.wire.conftest import STACK
from tests.wire.test_socket import outcome

TCP_MD5SIG = 14
"""Linux's; ``socket`` has no name for it."""
KERNEL = "198.18.0.1"
OPEN = (KERNEL, 7000)
SHUT = (KERNEL, 7001)
SILENT = ("198.18.5.5", 80)
"""Whoever sends there hears nothing: the device takes it, and the other side has no use for it."""


@pytest.fixture
def world(driver: Driver, namespace: Namespace) -> Iterator[Driver]:
    """Somebody listens at OPEN, nobody at SHUT; SILENT does not answer, neither the kernel's packets nor the stack's."""
    subprocess.run(["ip", "route", "add", "198.18.4.0/23", "dev", "fastnet0"], check=True, timeout=10)
    with socket.create_server(("0.0.0.0", OPEN[1]), backlog=64):
        yield driver


def settled(sock: Any) -> None:
    """Wait until a connect under way has come to its end."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        if info[0] not in (State.SYN_SENT, State.SYN_RECEIVED):
            return
        time.sleep(0.005)


def name(sock: Any) -> object:
    """Its own address, without what chance has in it."""
    host, port = sock.getsockname()
    return host != "0.0.0.0", port != 0


def peer(sock: Any) -> object:
    return sock.getpeername()


Step = Callable[[Any], object]


def timed(seconds: float) -> Step:
    return lambda s: s.settimeout(seconds)


def connect(address: tuple[str, int]) -> Step:
    return lambda s: s.connect(address)


def error(sock: Any) -> object:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def send(sock: Any) -> object:
    return sock.send(b"x")


def receive(sock: Any) -> object:
    return sock.recv(1)


def listen(sock: Any) -> object:
    return sock.listen()


def listening(sock: Any) -> object:
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


STEPS: dict[str, list[Step]] = {
    "comes through": [name, connect(OPEN), name, peer, connect(OPEN), error, send, listen, lambda s: s.bind(("", 0))],
    "comes through in time": [timed(5), connect(OPEN), peer, connect(OPEN), connect(OPEN)],
    "comes through without waiting": [timed(0), connect(OPEN), settled, error, peer, connect(OPEN), connect(OPEN), send, receive],
    "ex": [lambda s: s.connect_ex(OPEN), lambda s: s.connect_ex(OPEN), peer],
    "refused": [connect(SHUT), name, peer, error, receive, send, connect(OPEN), peer, connect(OPEN)],
    "refused in time": [timed(5), connect(SHUT), receive, send, name, connect(OPEN), name, connect(OPEN), connect(OPEN)],
    "refused without waiting": [timed(0), connect(SHUT), settled, error, error, connect(OPEN), connect(OPEN), settled, peer],
    "refused, not asked": [timed(0), connect(SHUT), settled, connect(OPEN), connect(OPEN), settled, connect(OPEN), connect(OPEN)],
    "refused, send hears": [timed(0), connect(SHUT), settled, send, send, receive, connect(OPEN)],
    "refused, recv hears": [timed(0), connect(SHUT), settled, receive, receive, send, error],
    "refused ex": [lambda s: s.connect_ex(SHUT), lambda s: s.connect_ex(SHUT)],
    "no answer": [timed(0.05), connect(SILENT), name, peer, connect(OPEN), lambda s: s.connect_ex(OPEN), send, receive, error],
    "no answer ex": [timed(0.05), lambda s: s.connect_ex(SILENT), lambda s: s.connect_ex(SILENT)],
    "no answer without waiting": [timed(0), connect(SILENT), connect(SILENT), send, receive, name, peer, listen, lambda s: s.bind(("", 0))],
    "given up": [timed(0), connect(SILENT), lambda s: s.shutdown(SHUT_WR), name, peer, send, receive, connect(SILENT), connect(SILENT)],
    "given up and told": [timed(0), connect(SILENT), lambda s: s.shutdown(SHUT_RDWR), error, error, send],
    "closed": [timed(0), connect(SILENT), lambda s: s.close(), connect(OPEN), lambda s: s.connect_ex(OPEN), name],
    "bound": [lambda s: s.bind(("", 7100)), connect(OPEN), lambda s: s.getsockname()[1], name, connect(OPEN)],
    "bound and refused": [
        lambda s: s.bind(("", 7101)), connect(SHUT), lambda s: s.getsockname(), lambda s: s.bind(("", 7102)), connect(OPEN),
    ],
    "listener": [listen, connect(OPEN), lambda s: s.shutdown(SHUT_WR), listening],
    "listener shut": [listen, lambda s: s.shutdown(SHUT_RD), lambda s: s.accept(), listening, connect(OPEN)],
    "no way": [connect(("224.0.0.1", 80)), connect(("255.255.255.255", 80)), name],
    "port 0": [connect((KERNEL, 0))],
    "no address": [
        connect("198.18.0.1"),  # type: ignore[arg-type]
        connect((KERNEL, 65536)),
        connect((KERNEL, -1)),
        connect((KERNEL, "80")),  # type: ignore[arg-type]
        lambda s: s.connect_ex((KERNEL, 65536)),
    ],
    "urgent": [connect(OPEN), lambda s: s.setsockopt(1, socket.SO_OOBINLINE, 1), lambda s: s.send(b"x", socket.MSG_OOB),
               lambda s: s.recv(1, socket.MSG_OOB)],
}  # fmt: skip


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_step_by_step_as_the_kernel(world: Driver, steps: list[Step]) -> None:
    told = []
    for make in (socket.socket, lambda: Socket(world)):
        sock = make()
        told.append([outcome(partial(step, sock)) for step in steps])
        sock.close()
    kernel, ours = told
    assert ours == kernel


def test_resolving_is_not_there(world: Driver) -> None:
    with pytest.raises(socket.gaierror):
        Socket(world).connect(("no host", 80))


# ---- options ----

SOL, TCP, IP = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP
NUMBERS = [-1, 0, 1, 2, 47, 87, 88, 127, 128, 255, 256, 1000, 5000, 32767, 32768, 10**6, 2**31 - 1]
BYTES = [b"", b"\1", b"\7\0\0", b"\5\0\0\0\1"]
OPTIONS = {
    "SO_KEEPALIVE": (SOL, socket.SO_KEEPALIVE),
    "SO_REUSEADDR": (SOL, socket.SO_REUSEADDR),
    "SO_REUSEPORT": (SOL, socket.SO_REUSEPORT),
    "SO_RCVBUF": (SOL, socket.SO_RCVBUF),
    "SO_SNDBUF": (SOL, socket.SO_SNDBUF),
    "SO_MAX_PACING_RATE": (SOL, SO_MAX_PACING_RATE),
    "SO_LINGER": (SOL, socket.SO_LINGER),
    "SO_ERROR": (SOL, socket.SO_ERROR),
    "SO_TYPE": (SOL, socket.SO_TYPE),
    "SO_DOMAIN": (SOL, socket.SO_DOMAIN),
    "SO_PROTOCOL": (SOL, socket.SO_PROTOCOL),
    "SO_ACCEPTCONN": (SOL, socket.SO_ACCEPTCONN),
    "TCP_NODELAY": (TCP, socket.TCP_NODELAY),
    "TCP_CORK": (TCP, socket.TCP_CORK),
    "TCP_KEEPIDLE": (TCP, socket.TCP_KEEPIDLE),
    "TCP_KEEPINTVL": (TCP, socket.TCP_KEEPINTVL),
    "TCP_KEEPCNT": (TCP, socket.TCP_KEEPCNT),
    "TCP_USER_TIMEOUT": (TCP, socket.TCP_USER_TIMEOUT),
    "TCP_NOTSENT_LOWAT": (TCP, TCP_NOTSENT_LOWAT),
    "TCP_MAXSEG": (TCP, socket.TCP_MAXSEG),
    "TCP_DEFER_ACCEPT": (TCP, socket.TCP_DEFER_ACCEPT),
    "TCP_SYNCNT": (TCP, socket.TCP_SYNCNT),
    "TCP_QUICKACK": (TCP, socket.TCP_QUICKACK),
    "TCP_LINGER2": (TCP, socket.TCP_LINGER2),
    "TCP_FASTOPEN": (TCP, TCP_FASTOPEN),
    "TCP_FASTOPEN_CONNECT": (TCP, TCP_FASTOPEN_CONNECT),
    "TCP_FASTOPEN_NO_COOKIE": (TCP, TCP_FASTOPEN_NO_COOKIE),
    "TCP_CONGESTION": (TCP, socket.TCP_CONGESTION),
    "IP_TTL": (IP, socket.IP_TTL),
    "IP_TOS": (IP, socket.IP_TOS),
    "IP_MTU_DISCOVER": (IP, IP_MTU_DISCOVER),
}


@pytest.fixture
def quiet() -> Driver:
    """A stack on which nothing ever arrives, with the kernel's own bounds."""
    bounds = {}
    for setting in ("rmem_max", "wmem_max"):
        with open(f"/proc/sys/net/core/{setting}") as file:
            bounds[setting] = int(file.read())
    return Driver(Stack(MemoryDevice(), (STACK,), bounds))


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_options_are_as_the_kernels(quiet: Driver, option: tuple[int, int]) -> None:
    """Defaults, what is refused and how, and what is told afterwards."""
    read_only = (socket.SO_ERROR, socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_ACCEPTCONN)
    theirs: list[object] = []
    ours: list[object] = []
    values: list[int | bytes] = [*NUMBERS]
    if option != (TCP, socket.TCP_CONGESTION) and (option[0] != SOL or option[1] not in read_only):
        values += BYTES
    for make, told in ((socket.socket, theirs), (lambda: Socket(quiet), ours)):
        if option != (TCP, socket.TCP_CONGESTION):  # The default is the machine's.
            with make() as sock:
                told += [sock.getsockopt(*option), sock.getsockopt(*option, 4), outcome(partial(sock.getsockopt, *option, 1025))]
        for value in values:
            with make() as sock:
                failed = outcome(partial(sock.setsockopt, *option, value))
                told.append((value, failed if failed else sock.getsockopt(*option)))
    assert ours == theirs


def test_the_path_mtu_can_be_asked(world: Driver) -> None:
    """IP_MTU: of a connection, and of nothing else; it cannot be set."""
    told = []
    for make, host in ((socket.socket, STACK), (lambda: Socket(world), KERNEL)):
        with create_server(world, (STACK, 7400)) as listener, make() as sock:
            asked = [outcome(partial(sock.getsockopt, IP, IP_MTU)), outcome(partial(sock.setsockopt, IP, IP_MTU, 1000))]
            sock.settimeout(5)
            sock.connect((host, 7400 if host == STACK else OPEN[1]))
            told.append([*asked, sock.getsockopt(IP, IP_MTU)])
            del listener
    assert told[0] == told[1] and told[0][2] == 1500


def test_linger_and_congestion_control(quiet: Driver) -> None:
    told = []
    for make in (socket.socket, lambda: Socket(quiet)):
        with make() as sock:
            linger = struct.pack("ii", 5, 7)
            sock.setsockopt(SOL, socket.SO_LINGER, linger + b"more")
            sock.setsockopt(TCP, socket.TCP_CONGESTION, b"reno\0more")
            told.append(
                [sock.getsockopt(SOL, socket.SO_LINGER, n) for n in (0, 4, 8, 100)]
                + [sock.getsockopt(TCP, socket.TCP_CONGESTION, n) for n in (0, 3, 16, 100)]
                + [outcome(partial(sock.setsockopt, TCP, socket.TCP_CONGESTION, name)) for name in (b"nobody", b"", b"reno")]
            )
    assert told[0] == told[1]


def test_what_is_not_there(quiet: Driver) -> None:
    sock = Socket(quiet)
    for level, option in ((SOL, socket.SO_BINDTODEVICE), (TCP, TCP_MD5SIG), (IP, socket.IP_OPTIONS), (99, 1)):
        for call in (partial(sock.getsockopt, level, option), partial(sock.setsockopt, level, option, 1)):
            with pytest.raises(OSError, match="not available") as failure:
                call()
            assert failure.value.errno == errno.ENOPROTOOPT
    assert sock.getsockopt(SOL, socket.SO_OOBINLINE) == 1
    sock.setsockopt(SOL, socket.SO_OOBINLINE, 1)
    with pytest.raises(OSError, match="not available"):
        sock.setsockopt(SOL, socket.SO_OOBINLINE, 0)
    with pytest.raises(OverflowError):
        sock.setsockopt(TCP, socket.TCP_NODELAY, 1 << 31)


INHERITED = {
    (SOL, socket.SO_KEEPALIVE): 1,
    (SOL, socket.SO_REUSEADDR): 1,
    (SOL, socket.SO_REUSEPORT): 1,
    (SOL, socket.SO_RCVBUF): 50_000,
    (SOL, socket.SO_SNDBUF): 60_000,
    (SOL, socket.SO_LINGER): struct.pack("ii", 1, 3),
    (TCP, socket.TCP_NODELAY): 1,
    (TCP, socket.TCP_CORK): 1,
    (TCP, socket.TCP_KEEPIDLE): 11,
    (TCP, socket.TCP_SYNCNT): 4,
    (TCP, socket.TCP_QUICKACK): 1,
    (TCP, socket.TCP_KEEPINTVL): 12,
    (TCP, socket.TCP_KEEPCNT): 13,
    (TCP, socket.TCP_USER_TIMEOUT): 14_000,
    (TCP, socket.TCP_LINGER2): 17,
    (TCP, socket.TCP_CONGESTION): b"reno",
    (IP, socket.IP_TTL): 33,
    (IP, socket.IP_TOS): 0x10,
    (IP, IP_MTU_DISCOVER): 2,
}


def test_accepted_sockets_have_their_listeners_options(world: Driver) -> None:
    """All that Linux lets them have; and the connection really has them."""
    told = []
    with socket.socket() as theirs, Socket(world) as ours:
        for listener, host in ((theirs, KERNEL), (ours, STACK)):
            for option, value in INHERITED.items():
                listener.setsockopt(*option, value)
            listener.setsockopt(TCP, socket.TCP_MAXSEG, 600)
            listener.bind((host, 7200))
            listener.listen()
            listener.settimeout(5)
            with socket.create_connection((host, 7200), timeout=5):
                accepted, _ = listener.accept()
                assert accepted.gettimeout() is None
                told.append([accepted.getsockopt(*option, 16) for option in INHERITED])
                maxseg = accepted.getsockopt(TCP, socket.TCP_MAXSEG)
                assert maxseg in (600, 588), "with timestamps, twelve less"
                connection = accepted._open.connection if isinstance(accepted, Socket) else None
                accepted.close()
    assert told[0] == told[1]
    assert connection is not None
    assert connection.nodelay and connection.path.ttl == 33 and connection.path.tos == 0x10 and connection.congestion.name == "reno"
    assert connection.patience.keepalive and connection.patience.count == 13 and connection.send_limit == 60_000


# ---- TCP_INFO ----


def info(sock: Any) -> dict[str, int]:
    """The structure, read by fastnet's own layout whoever wrote it."""
    return asdict(TcpInfo.of(sock.getsockopt(TCP, socket.TCP_INFO, tcpinfo.LAYOUT.size)))


def test_tcp_info(world: Driver) -> None:
    """Both ends of one connection: what is said of it agrees, as far as both can know it."""
    assert tcpinfo.NAMES.index("total_retrans") == 31 and tcpinfo.LAYOUT.size == 280
    with create_server(world, (STACK, 7300), backlog=9) as listener:
        listener.settimeout(5)
        assert info(Socket(world))["state"] == State.CLOSED
        with socket.create_connection((STACK, 7300), timeout=5) as theirs:
            waiting = info(listener)
            for _ in range(200):
                # The kernel's connect() is over with the SYN-ACK; its own ACK may still be on the way.
                if waiting["unacked"]:
                    break
                time.sleep(0.01)
                waiting = info(listener)
            assert (waiting["state"], waiting["unacked"], waiting["sacked"]) == (State.LISTEN, 1, 9)
            ours, _ = listener.accept()
            ours.settimeout(5)
            for sender, receiver in ((theirs, ours), (ours, theirs)):
                sender.sendall(bytes(10_000))
                rest = 10_000
                while rest:
                    rest -= len(receiver.recv(rest))
            time.sleep(0.1)  # The last ACK, which may be delayed.
            here, there = info(ours), info(theirs)
            same = "state ca_state options snd_mss rcv_mss advmss pmtu unacked retransmits total_retrans"
            for field in same.split():
                assert here[field] == there[field], field
            assert here["wscale"] == (there["wscale"] >> 4 | there["wscale"] << 4) & 0xFF
            assert here["snd_wnd"] == there["rcv_wnd"] or there["rcv_wnd"] == 0
            assert 200_000 <= here["rto"] <= 400_000 and 0 < here["rtt"] < 200_000 and here["ato"] == 40_000
            assert here["snd_cwnd"] >= 10 and here["snd_ssthresh"] == there["snd_ssthresh"] == 0x7FFFFFFF
            assert 50 < here["last_data_sent"] < 5000 and 50 < here["last_data_recv"] < 5000
            ours.close()
    with Socket(world) as sock:
        sock.setblocking(False)
        assert sock.connect_ex(SILENT) == errno.EINPROGRESS
        opening = info(sock)
        assert (opening["state"], opening["unacked"]) == (State.SYN_SENT, 1)


# ---- ports ----


def test_connects_leave_bound_ports_alone_and_binds_those_of_connections() -> None:
    """The smallest range that there can be, so that every rule shows."""
    settings = {"ip_local_port_range": "40000 40002"}
    driver = Driver(Stack(MemoryDevice(), (STACK,), settings))

    def connecting(port: int = 80) -> Socket:
        sock = Socket(driver)
        sock.setblocking(False)
        assert sock.connect_ex((KERNEL, port)) == errno.EINPROGRESS
        return sock

    bound = Socket(driver)
    bound.bind(("", 40001))
    first, second = connecting(), connecting()
    assert {first.getsockname()[1], second.getsockname()[1]} == {40000, 40002}
    with pytest.raises(OSError, match="assign") as failure:
        Socket(driver).connect((KERNEL, 80))
    assert failure.value.errno == errno.EADDRNOTAVAIL
    # Towards somebody else the same ports will do.
    assert connecting(81).getsockname()[1] in (40000, 40002)
    for port in (0, 40000):
        with pytest.raises(OSError, match="in use"):
            Socket(driver).bind(("", port))
    with Socket(driver) as reuse:
        reuse.setsockopt(SOL, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            reuse.bind(("", 40000))
    bound.close()
    assert connecting().getsockname()[1] == 40001
    assert driver.stack.context.ports.owned_ports == 0


def test_one_port_to_two_peers(world: Driver) -> None:
    """With SO_REUSEADDR two sockets share a port, but not a 4-tuple."""
    first, second = Socket(world), Socket(world)
    for sock in (first, second):
        sock.setsockopt(SOL, socket.SO_REUSEADDR, 1)
        sock.bind((STACK, 7400))
        sock.settimeout(5)
    first.connect(OPEN)
    with pytest.raises(OSError, match="assign") as failure:
        second.connect(OPEN)
    assert failure.value.errno == errno.EADDRNOTAVAIL
    with socket.create_server((KERNEL, 7002)):
        second.connect((KERNEL, 7002))
        assert first.getsockname() == second.getsockname() == (STACK, 7400)


def test_create_connection_and_create_server(world: Driver) -> None:
    with create_connection(world, OPEN, timeout=5, source_address=("198.18.0.3", 7500)) as sock:
        assert sock.getsockname() == ("198.18.0.3", 7500) and sock.gettimeout() == 5
    with pytest.raises(ConnectionRefusedError):
        create_connection(world, SHUT)
    with pytest.raises(OSError, match="assign"):
        create_connection(world, OPEN, source_address=("198.51.100.1", 0))
    with create_server(world, ("", 7501)) as listener, pytest.raises(OSError, match="in use"):
        assert listener.getsockopt(SOL, socket.SO_REUSEADDR) == 1
        create_server(world, ("", 7501))


# ---- what the wire says ----


def test_no_answer_at_all(namespace: Namespace) -> None:
    """ETIMEDOUT once the SYNs are used up, and sooner with TCP_USER_TIMEOUT."""
    with Driver(Stack(namespace.add_tun(), (STACK,), {"tcp_syn_retries": 1})) as driver:
        started = time.monotonic()
        with Socket(driver) as sock, pytest.raises(TimeoutError) as failure:
            sock.connect(SILENT)
        assert failure.value.errno == errno.ETIMEDOUT and 2.5 < time.monotonic() - started < 5
        started = time.monotonic()
        with Socket(driver) as sock, pytest.raises(TimeoutError) as failure:
            sock.setsockopt(TCP, socket.TCP_USER_TIMEOUT, 500)
            sock.connect(SILENT)
        assert failure.value.errno == errno.ETIMEDOUT and time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("route", "number", "at_once"),
    [("prohibit", errno.EHOSTUNREACH, True), ("unreachable", errno.EHOSTUNREACH, False), ("throw", errno.ENETUNREACH, False)],
)
def test_the_kernel_says_unreachable(namespace: Namespace, route: str, number: int, at_once: bool) -> None:
    """As a router: "prohibited" is final; "no route" may pass (RFC 9293 MUST-56), so it is the answer only when the SYNs are used up."""
    device = namespace.add_tun()
    subprocess.run(["ip", "route", "add", route, "203.0.113.0/24"], check=True, timeout=10)
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")
    with Driver(Stack(device, (STACK,), {"tcp_syn_retries": 0})) as driver, Socket(driver) as sock:
        sock.settimeout(5)
        started = time.monotonic()
        with pytest.raises(OSError, match=r"nreachable|No route") as failure:
            sock.connect(("203.0.113.1", 80))
        assert failure.value.errno == number
        assert (time.monotonic() - started < 0.5) == at_once
        assert driver.stack.counters.IcmpInDestUnreachs >= 1


def test_closing_ends_a_connect_in_another_thread(world: Driver) -> None:
    sock = Socket(world)
    failures: list[OSError] = []

    def run() -> None:
        try:
            sock.connect(SILENT)
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    sock.close()
    thread.join(5)
    assert [failure.errno for failure in failures] == [errno.EBADF]


def test_by_hand(namespace: Namespace) -> None:
    """Without a thread: a loop over a socket that does not wait gets there, and so does one that waits."""
    driver = Driver(Stack(namespace.add_tun(), (STACK,)))
    with socket.create_server(OPEN):
        with Socket(driver) as sock:
            sock.setblocking(False)
            deadline = time.monotonic() + 5
            told = set()
            while (result := sock.connect_ex(OPEN)) and time.monotonic() < deadline:
                told.add(result)
            assert result == 0 and told <= {errno.EINPROGRESS, errno.EALREADY}
        with create_connection(driver, OPEN, timeout=5) as sock:
            assert sock.getpeername() == OPEN


def test_urgent_bytes_arrive_as_such(world: Driver) -> None:
    """MSG_OOB: the kernel's SIOCATMARK and its out-of-band byte agree with ours."""
    with socket.create_server((KERNEL, 7600)) as listener, create_connection(world, (KERNEL, 7600), timeout=5) as ours:
        theirs, _ = listener.accept()
        theirs.settimeout(5)
        with theirs:
            ours.sendall(b"before")
            ours.send(b"!", socket.MSG_OOB)
            ours.sendall(b"after")
            assert theirs.recv(100) == b"before", "a read stops at the mark"
            assert theirs.recv(1, socket.MSG_OOB) == b"!"
            assert theirs.recv(100) == b"after"
            theirs.send(b"?", socket.MSG_OOB)
            assert ours.recv(100) == b"?", "inline"


def test_keepalive_finds_out_that_the_peer_has_gone(world: Driver, namespace: Namespace) -> None:
    with socket.create_server((KERNEL, 7700)) as listener, create_connection(world, (KERNEL, 7700)) as ours:
        theirs, _ = listener.accept()
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 1)):
            ours.setsockopt(TCP, option, value)
        ours.setsockopt(SOL, socket.SO_KEEPALIVE, 1)
        time.sleep(1.3)
        assert world.stack.counters.TCPKeepAlive == 1 and ours.state == State.ESTABLISHED
        # What the kernel sends comes no more.
        subprocess.run(["ip", "route", "add", "blackhole", f"{STACK}/32"], check=True, timeout=10)
        ours.settimeout(6)
        with pytest.raises(TimeoutError) as failure:
            ours.recv(1)
        assert failure.value.errno == errno.ETIMEDOUT
        theirs.close()


def test_a_client_that_closes_first_goes_on_with_few_ports(world: Driver) -> None:
    """tcp_tw_reuse over the wire, with the kernel as the server: each port ten times, and each connection has its own bytes."""
    settings = world.stack.settings
    settings.set("ip_local_port_range", "40000 40199")
    settings.set("tcp_tw_reuse", 1)
    settings.set("tcp_tw_reuse_delay", 1)
    count = 2000
    with socket.create_server(("0.0.0.0", 7002), backlog=64) as listener:

        def serve() -> None:
            for i in range(count):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    connection.sendall(b"%d" % i)
                    assert connection.recv(100) == b""

        server = threading.Thread(target=serve)
        server.start()
        for i in range(count):
            with create_connection(world, (KERNEL, 7002), timeout=10) as sock:
                assert sock.recv(100) == b"%d" % i
        server.join(10)
    counters = world.stack.counters
    assert counters.TWRecycled == count - 200 and counters.TcpAttemptFails == 0 and not server.is_alive()
