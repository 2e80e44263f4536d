"""Who may have which local address and port: every case with the kernel's sockets and with fastnet's, and the same outcome."""

import errno
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from fastnet.stack import Stack
from tests.wire.conftest import STACK

ANY = "0.0.0.0"
OTHER = "198.18.0.3"
PORT = 9000

Make = Callable[[], socket.socket]


@pytest.fixture
def worlds(namespace: Namespace) -> Iterator[tuple[tuple[Make, tuple[str, str, str]], ...]]:
    """Both kinds of sockets, each with three addresses of its own: any, one, another."""
    tun = namespace.add_tun()
    namespace.add_address("198.18.0.4", tun.name)
    with Driver(Stack(tun, (STACK, OTHER))) as driver:
        yield (socket.socket, (ANY, "198.18.0.1", "198.18.0.4")), (lambda: Socket(driver), (ANY, STACK, OTHER))


def outcome(call: Callable[..., object], *arguments: object) -> str:
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "fine"


def test_two_sockets_on_one_port(worlds: tuple[tuple[Make, tuple[str, str, str]], ...]) -> None:
    """With and without SO_REUSEADDR, before or after the other listens, on every pair of addresses; and then both listen."""
    cases = list(itertools.product((False, True), (False, True), range(3), range(3), ("bound", "listening", "closed")))
    seen: list[list[tuple[str, ...]]] = []
    for make, hosts in worlds:
        results: list[tuple[str, ...]] = []
        for first_reuses, second_reuses, first_host, second_host, first_is in cases:
            with make() as first, make() as second:
                first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, first_reuses)
                second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, second_reuses)
                first.bind((hosts[first_host], PORT))
                if first_is != "bound":
                    first.listen()
                if first_is == "closed":
                    first.close()
                bound = outcome(second.bind, (hosts[second_host], PORT))
                if bound != "fine":
                    results.append((bound,))
                    continue
                # Both have the port: whoever comes second may not listen.
                results.append((bound, outcome(second.listen), outcome(first.listen), outcome(second.listen)))
        seen.append(results)
    kernels, ours = seen
    assert dict(zip(cases, ours, strict=True)) == dict(zip(cases, kernels, strict=True))
    assert {bound for bound, *_ in ours} == {"fine", "EADDRINUSE"} and ("fine", "fine", "EADDRINUSE", "fine") in ours


def test_options_that_change_while_a_port_is_shared(worlds: tuple[tuple[Make, tuple[str, str, str]], ...]) -> None:
    """SO_REUSEADDR is looked at when somebody else comes, not when it was set."""
    seen = []
    for make, (_, one, _) in worlds:
        results = []
        for first_then, second_then in itertools.product((False, True), repeat=2):
            with make() as first, make() as second, make() as third:
                for sock in (first, second, third):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                first.bind((one, PORT))
                second.bind((one, PORT))
                first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, first_then)
                second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, second_then)
                results.append((outcome(third.bind, (one, PORT)), outcome(second.listen), outcome(first.listen)))
        seen.append(results)
    assert seen[0] == seen[1]


def test_a_connected_socket_keeps_its_port(worlds: tuple[tuple[Make, tuple[str, str, str]], ...]) -> None:
    """Of a client, which drew its port, and of one that was bound."""
    seen = []
    peers = (socket.socket, worlds[0][1]), worlds[0]
    for (make, hosts), (peer, peer_hosts) in zip(worlds, peers, strict=True):
        results = []
        for reuse, bound, host in itertools.product((False, True), (False, True), range(3)):
            with ExitStack() as stack:
                listener, client, late = (stack.enter_context(new()) for new in (peer, make, make))
                listener.bind((peer_hosts[1], 0))
                listener.listen()
                for sock in (client, late):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                    sock.settimeout(10)
                if bound:
                    client.bind((hosts[1], PORT))
                client.connect(listener.getsockname())
                assert client.getsockname()[0] == hosts[1]
                results.append(outcome(late.bind, (hosts[host], client.getsockname()[1])))
                if results[-1] == "fine":
                    results.append(outcome(late.listen))
                # A RST, so that nothing is left in TIME-WAIT.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        seen.append(results)
    assert seen[0] == seen[1]
