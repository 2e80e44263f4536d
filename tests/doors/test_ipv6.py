"""Sockets of AF_INET6, each case with the kernel's sockets too where they can say what is right."""

from __future__ import annotations

import errno
import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.network import Network
from fastnet.socket import Socket, create_connection, create_server
from fastnet.stack import Stack
from fastnet.tls import wrap_socket

KERNEL, STACK = "2001:2::1", "2001:2::2"
PORT = 9000
V6ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
INET, INET6 = socket.AF_INET, socket.AF_INET6
Make = Callable[[int], socket.socket]


@pytest.fixture
def driver(namespace: Namespace) -> Iterator[Driver]:
    """A driver in its thread, on a stack of both families; the kernel is 198.18.0.1 and 2001:2::1."""
    with Driver(Stack(namespace.add_tun(("198.18.0.1/24", f"{KERNEL}/64")), ("198.18.0.2", STACK))) as running:
        yield running


@pytest.fixture
def worlds(driver: Driver) -> tuple[tuple[Make, dict[str, str]], ...]:
    """Both kinds of sockets, and what is written for their own addresses."""
    kernels = {"four": "198.18.0.1", "six": KERNEL, "mapped": "::ffff:198.18.0.1"}
    ours = {"four": "198.18.0.2", "six": STACK, "mapped": "::ffff:198.18.0.2"}
    return (socket.socket, kernels), (lambda family: Socket(driver, family=family), ours)


def outcome(call: Callable[..., object], *arguments: object) -> str:
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "fine"


# What a socket may be: family, IPV6_V6ONLY, host.
KINDS = [
    (INET, 0, "0.0.0.0"), (INET, 0, "four"), (INET6, 0, "::"), (INET6, 1, "::"), (INET6, 0, "six"), (INET6, 1, "six"),
    (INET6, 0, "mapped"), (INET6, 0, "::ffff:0.0.0.0"), (INET6, 1, "mapped"),
]  # fmt: skip


def made(make: Make, kind: tuple[int, int, str], reuse: bool) -> socket.socket:
    sock = make(kind[0])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    if kind[0] == INET6:
        sock.setsockopt(*V6ONLY, kind[1])
    return sock


def test_two_sockets_on_one_port(worlds: tuple[tuple[Make, dict[str, str]], ...]) -> None:
    """Every pair of kinds, with and without SO_REUSEADDR, before and after the other listens: the kernel's answers."""
    cases = list(itertools.product(KINDS, KINDS, (False, True), (False, True), (False, True)))
    seen: list[list[tuple[str, ...]]] = []
    for make, hosts in worlds:
        results: list[tuple[str, ...]] = []
        for one, other, first_reuses, second_reuses, listens in cases:
            with made(make, one, first_reuses) as first, made(make, other, second_reuses) as second:
                bound = outcome(first.bind, (hosts.get(one[2], one[2]), PORT))
                if listens and bound == "fine":
                    first.listen()
                results.append((bound, outcome(second.bind, (hosts.get(other[2], other[2]), PORT))))
                if results[-1] == ("fine", "fine"):
                    results[-1] += (outcome(second.listen), outcome(first.listen))
        seen.append(results)
    kernels, ours = seen
    assert dict(zip(cases, ours, strict=True)) == dict(zip(cases, kernels, strict=True))
    assert ("fine", "EADDRINUSE") in ours and ("fine", "EINVAL") in ours and ("fine", "fine", "fine", "fine") in ours


@pytest.mark.parametrize("ended", [False, True])
def test_a_port_that_a_connection_has(worlds: tuple[tuple[Make, dict[str, str]], ...], ended: bool) -> None:
    """Without SO_REUSEADDR a connection, or its TIME-WAIT, keeps its port, but not that of the other family."""
    kinds = [KINDS[each] for each in (0, 1, 2, 3, 4, 6, 7)]
    clients = (INET, "four"), (INET6, "six"), (INET6, "mapped")
    seen: list[dict[object, str]] = []
    for (make, mine), (peer, theirs) in zip(worlds, reversed(worlds), strict=True):
        results: dict[object, str] = {}
        for port, ((family, host), kind) in enumerate(itertools.product(clients, kinds), PORT):
            with peer(INET6) as listener, make(family) as client, made(make, kind, False) as late:
                listener.bind(("::", 0))
                listener.listen()
                for sock in (listener, client):
                    sock.settimeout(10)
                client.bind((mine[host], port))
                client.connect((theirs[host], listener.getsockname()[1]))
                accepted, _ = listener.accept()
                accepted.settimeout(10)
                if ended:
                    client.shutdown(socket.SHUT_WR)
                    assert accepted.recv(1) == b""
                    accepted.close()
                    assert client.recv(1) == b""
                    client.close()
                results[family, host, kind] = outcome(late.bind, (mine.get(kind[2], kind[2]), port))
                accepted.close()
        seen.append(results)
    assert seen[1] == seen[0] and {"fine", "EADDRINUSE"} == set(seen[0].values())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_names_before_and_after_a_bind(worlds: tuple[tuple[Make, dict[str, str]], ...], kind: tuple[int, int, str]) -> None:
    """getsockname, IPV6_V6ONLY before and after, a bind that fails, and SO_DOMAIN."""
    seen = []
    for make, hosts in worlds:
        with made(make, kind, False) as sock, made(make, kind, False) as second:
            results: list[object] = [sock.family, sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN), sock.getsockname()]
            results.append(outcome(sock.bind, (hosts.get(kind[2], kind[2]), PORT)))
            name = sock.getsockname()
            results.append((name[0] == hosts.get(kind[2], kind[2]), name[1:]))
            results.append(outcome(second.bind, (hosts.get(kind[2], kind[2]), PORT)))
            results.append(second.getsockname())
            for each in (sock, second):
                results.append(outcome(each.getsockopt, *V6ONLY))
                if kind[0] == INET6:
                    results.append(each.getsockopt(*V6ONLY))
                results.append(outcome(each.setsockopt, *V6ONLY, 0))
        seen.append(results)
    assert seen[1] == seen[0]


@pytest.mark.parametrize("server", ["kernel", "fastnet"])
@pytest.mark.parametrize("how", [(INET, "four"), (INET6, "six"), (INET6, "mapped")], ids=str)
def test_a_dual_stack_server(worlds: tuple[tuple[Make, dict[str, str]], ...], server: str, how: tuple[int, str]) -> None:
    """Names of both ends as programs see them, whoever is the server: the shapes are the kernel's."""
    (their, theirs), (our, ours) = worlds
    listening, connecting, hosts, peer = (their, our, theirs, ours) if server == "kernel" else (our, their, ours, theirs)
    with ExitStack() as stack:
        listener = stack.enter_context(listening(INET6))
        listener.bind(("::", 0))
        listener.listen()
        listener.settimeout(10)
        client = stack.enter_context(connecting(how[0]))
        client.settimeout(10)
        client.connect((hosts[how[1]], listener.getsockname()[1]))
        accepted, name = listener.accept()
        stack.enter_context(accepted)
        shown = peer["six" if how[1] == "six" else "mapped"]
        port = client.getsockname()[1]
        assert name == accepted.getpeername() == (shown, port, 0, 0)
        assert accepted.family == INET6
        assert accepted.getsockname() == (hosts["six" if how[1] == "six" else "mapped"], listener.getsockname()[1], 0, 0)
        assert client.getsockname() == ((peer["four"], port) if how[0] == INET else (shown, port, 0, 0))
        assert client.getpeername()[0] == hosts[how[1]]
        client.sendall(b"question")
        assert accepted.recv(100) == b"question"
        accepted.sendall(b"answer")
        assert client.recv(100) == b"answer"


@pytest.mark.parametrize(
    "case", ["v6only to mapped", "bound six to mapped", "bound mapped to six", "bound any4 to six", "refused", "group", "own ::"]
)
def test_where_a_connect_fails(worlds: tuple[tuple[Make, dict[str, str]], ...], case: str) -> None:
    seen = []
    for (make, hosts), (_, others) in zip(worlds, reversed(worlds), strict=True):
        with make(INET6) as sock:
            sock.settimeout(10)
            if case.startswith("v6only"):
                sock.setsockopt(*V6ONLY, 1)
            elif case.startswith("bound"):
                sock.bind(({**hosts, "any4": "::ffff:0.0.0.0"}[case.split()[1]], 0))
            elif case == "own ::":
                sock.bind(("::", 0))
            target = {"mapped": others["mapped"], "six": others["six"], "group": "ff02::1"}.get(case.split()[-1], others["six"])
            seen.append(outcome(sock.connect, (target, 81)))
    assert seen[1] == seen[0], seen


OPTIONS = [(socket.IPV6_UNICAST_HOPS, (-2, -1, 1, 255, 256)), (socket.IPV6_TCLASS, (-2, -1, 0, 3, 0xB9, 255, 256)),
           (23, (-1, 0, 1, 2, 3, 4, 5, 6)), (24, (0, 100, 1280, 1500)), (socket.IPV6_V6ONLY, (-1, 0, 1, 2))]  # fmt: skip


@pytest.mark.parametrize("family", [INET, INET6])
def test_options(worlds: tuple[tuple[Make, dict[str, str]], ...], family: int) -> None:
    """What is taken, refused and told: IPV6_UNICAST_HOPS, IPV6_TCLASS, IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_V6ONLY."""
    seen = []
    for make, _ in worlds:
        results: list[Any] = []
        for option, values in OPTIONS:
            for value in (None, *values, b"\1", b"\1\0\0\0"):
                with make(family) as sock:
                    if value is not None:
                        results.append((option, value, outcome(sock.setsockopt, socket.IPPROTO_IPV6, option, value)))
                    results.append((option, value, outcome(sock.getsockopt, socket.IPPROTO_IPV6, option)))
                    if results[-1][2] == "fine":
                        results.append((option, value, sock.getsockopt(socket.IPPROTO_IPV6, option)))
        seen.append(results)
    assert seen[1] == seen[0]


def test_options_on_the_wire(driver: Driver) -> None:
    """Each family's packets have that family's options; a SYN-ACK too."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)) as capture, create_server(
        driver, ("::", 80), family=INET6, dualstack_ipv6=True
    ) as listener:
        for level, option, value in (
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 99), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0x48),
            (socket.IPPROTO_IP, socket.IP_TTL, 77), (socket.IPPROTO_IP, socket.IP_TOS, 0x28),
        ):  # fmt: skip
            listener.setsockopt(level, option, value)
        listener.settimeout(10)
        capture.bind(("fastnet0", 3))
        capture.settimeout(2)
        for host in (STACK, "198.18.0.2"):
            with socket.create_connection((host, 80), timeout=10) as client:
                accepted, _ = listener.accept()
                accepted.sendall(b"x")
                assert client.recv(1) == b"x"
                assert accepted.getsockopt(socket.IPPROTO_IPV6, 24) == 1500
                accepted.close()
        seen = {4: set(), 6: set()}  # type: dict[int, set[tuple[int, int]]]
        sent = {4: socket.inet_pton(INET, "198.18.0.2"), 6: socket.inet_pton(INET6, STACK)}
        flags = 0
        with pytest.raises(TimeoutError):
            while True:
                packet = capture.recv(2000)
                version = packet[0] >> 4
                if version == 6 and packet[8:24] == sent[6] and packet[6] == 6:
                    seen[6].add(((packet[0] & 15) << 4 | packet[1] >> 4, packet[7]))
                    flags |= packet[53]
                elif version == 4 and packet[12:16] == sent[4]:
                    seen[4].add((packet[1], packet[8]))
        assert seen == {4: {(0x28, 77)}, 6: {(0x48, 99)}} and flags & 2


def test_create_connection_and_create_server(driver: Driver) -> None:
    """As the standard library's: dual-stack on request only; the client has the address's family."""
    with create_server(driver, ("::", 80), family=INET6, dualstack_ipv6=True) as both:
        assert both.getsockopt(*V6ONLY) == 0
        for host in (STACK, "198.18.0.2"):
            with create_connection(driver, (host, 80), 10) as client:
                assert client.family == (INET6 if ":" in host else INET)
                both.settimeout(10)
                both.accept()[0].close()
    with create_server(driver, ("", 80), family=INET6) as six, create_server(driver, ("", 80)) as four:
        assert six.getsockopt(*V6ONLY) == 1 and six.getsockname() == ("::", 80, 0, 0) and four.getsockname() == ("0.0.0.0", 80)
    with pytest.raises(ValueError, match="dualstack_ipv6"):
        create_server(driver, ("", 80), dualstack_ipv6=True)
    with pytest.raises(OSError, match="not supported") as caught:
        Socket(driver, family=socket.AF_UNIX)
    assert caught.value.errno == errno.EAFNOSUPPORT


def test_the_smallest_door(driver: Driver) -> None:
    network = Network(driver)
    server = network.socket(INET6)
    network.bind(server, STACK, 80)
    network.listen(server)
    client = network.socket(INET6)
    network.connect(client, STACK, 80, timeout=10)
    connection, peer = network.accept(server, timeout=10)
    assert peer[0] == STACK and len(peer) == 4
    network.send(client, b"hello")
    assert network.read(connection, 10, timeout=10) == b"hello"


@pytest.mark.parametrize("address", [
    (STACK,), (STACK, 80, 0, 0, 0), (), (1, 80), (STACK, "80"), (STACK, 80, "0"), [STACK, 80], None, STACK, (STACK, 65536), (STACK, -1),
    (STACK, 80, -1), (STACK, 80, 1 << 20),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("call", ["bind", "connect", "connect_ex"])
def test_what_is_no_address(worlds: tuple[tuple[Make, dict[str, str]], ...], call: str, address: Any) -> None:
    seen = []
    for make, _ in worlds:
        with make(INET6) as sock, pytest.raises((TypeError, OverflowError)) as caught:
            getattr(sock, call)(address)
        seen.append(caught.type)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("host", ["198.18.0.2", "no address", "fe80::1%fastnet0x", ":::"])
def test_what_is_no_host(worlds: tuple[tuple[Make, dict[str, str]], ...], host: str) -> None:
    for make, _ in worlds:
        with make(INET6) as sock, pytest.raises(socket.gaierror):
            sock.bind((host, 80))


def test_copies_and_descriptors(driver: Driver) -> None:
    """dup, detach and a socket of the same descriptor are of AF_INET6 too; so is a closed one."""
    with Socket(driver, family=INET6) as sock:
        copy = sock.dup()
        again = Socket(driver, fileno=copy.detach())
        assert copy.family == again.family == INET6
        again.close()
        assert again.family == INET6
    with ThreadPoolExecutor(1) as pool, Socket(driver, family=INET6) as listener, socket.socket(INET6) as client:
        listener.bind(("::", 0))
        listener.listen()
        listener.settimeout(10)
        client.settimeout(10)
        connecting = pool.submit(client.connect, (STACK, listener.getsockname()[1]))
        accepted, _ = listener.accept()
        connecting.result()
        with accepted.dup() as other:
            assert other.getpeername() == client.getsockname()
        accepted.close()


def test_tls(driver: Driver) -> None:
    """Over memory, whatever the family; the certificate names no IPv6 address."""
    certificate = Path(__file__).parent / "certificate.pem"
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    asking = ssl.create_default_context(cafile=str(certificate))
    asking.check_hostname = False
    with create_server(driver, ("::", 443), family=INET6) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(10)

        def serve() -> Any:
            accepted, peer = listener.accept()
            accepted.settimeout(10)
            with wrap_socket(serving, accepted, server_side=True) as secure:
                secure.sendall(secure.recv(100).upper())
                return peer, secure.getpeername(), secure.family

        served = pool.submit(serve)
        with asking.wrap_socket(socket.create_connection((STACK, 443), 10)) as client:
            client.sendall(b"question")
            assert client.recv(100) == b"QUESTION"
            assert served.result() == (client.getsockname(), client.getsockname(), INET6)
