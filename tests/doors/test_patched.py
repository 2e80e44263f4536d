"""Programs that know nothing of fastnet, over it: clients and servers of the standard library, each with the kernel at the other end."""

import contextlib
import gc
import http.client
import http.server
import os
import select
import selectors
import smtplib
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import requests

import fastnet
from fastnet import watches
from fastnet.ambient import Ambient
from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.stack import Stack
from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"
CERTIFICATE = Path(__file__).parent / "certificate.pem"
"""A key and its own certificate, good for both addresses and for nothing else."""
REAL = socket.socket


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"you asked for " + self.path.encode())

    def do_POST(self) -> None:
        self.answer(b"you sent %d bytes" % len(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[Any]:
    """A server of socketserver's in a thread."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def world(driver: Driver) -> Iterator[Driver]:
    with fastnet.patched(driver):
        yield driver


@pytest.fixture
def page(driver: Driver) -> Iterator[str]:
    """A web server of the kernel's."""
    server = http.server.ThreadingHTTPServer((KERNEL, 8000), Page)
    assert type(server.socket) is REAL
    with serving(server):
        yield f"{KERNEL}:8000"


def curl(*arguments: str) -> str:
    command = ["curl", "--silent", "--show-error", "--max-time", "20", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


# ---- clients ----


def test_http_client(page: str, world: Driver) -> None:
    connection = http.client.HTTPConnection(page, timeout=10)
    for i in range(3):
        connection.request("GET", f"/{i}")
        with connection.getresponse() as response:
            assert (response.status, response.read()) == (200, b"you asked for /%d" % i)
    connection.request("POST", "/", body=bytes(1 << 20))
    assert connection.getresponse().read() == b"you sent 1048576 bytes"
    connection.close()
    assert world.stack.counters.TcpActiveOpens == 1


def test_urllib(page: str, world: Driver) -> None:
    with urllib.request.urlopen(f"http://{page}/x", timeout=10) as response:
        assert response.read() == b"you asked for /x"
    assert world.stack.counters.TcpActiveOpens == 1


def test_requests(page: str, world: Driver) -> None:
    """And with it urllib3, which waits for sockets with poll before it uses them again."""
    with requests.Session() as session:
        for i in range(3):
            assert session.get(f"http://{page}/{i}", timeout=10).text == f"you asked for /{i}"
        assert session.post(f"http://{page}/", data=b"x" * 10, timeout=10).text == "you sent 10 bytes"
    assert world.stack.counters.TcpActiveOpens == 1
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(f"http://{KERNEL}:1/", timeout=10)


class Letterbox(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as one letter needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) != b".\r\n":
                    self.server.letter += line  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
            if word == b"QUIT":
                return


def test_smtplib(driver: Driver) -> None:
    server = socketserver.ThreadingTCPServer((KERNEL, 2525), Letterbox)
    server.letter = b""  # type: ignore[attr-defined]
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "one@example.org", "other@example.org", "hello"
    letter.set_content("It went over fastnet.\n.\n")
    with serving(server), fastnet.patched(driver), smtplib.SMTP(KERNEL, 2525, timeout=10) as client:
        assert client.send_message(letter) == {}
    assert b"It went over fastnet.\r\n..\r\n" in server.letter  # type: ignore[attr-defined]
    assert driver.stack.counters.TcpActiveOpens == 1


# ---- servers ----


@pytest.mark.parametrize("host", ["", STACK])
def test_http_server(host: str, world: Driver) -> None:
    with serving(http.server.ThreadingHTTPServer((host, 8080), Page)):
        assert curl(f"http://{STACK}:8080/[1-5]") == "".join(f"you asked for /{i}" for i in range(1, 6))
        assert curl("--data-binary", "x" * 5000, f"http://{STACK}:8080/") == "you sent 5000 bytes"
    assert world.stack.counters.TcpPassiveOpens == 2


def test_socketserver(world: Driver) -> None:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(1000):
                self.request.sendall(data.upper())

    server = socketserver.ThreadingTCPServer((STACK, 0), Echo)
    with serving(server):
        clients = [REAL(socket.AF_INET) for _ in range(10)]
        for client in clients:
            client.settimeout(10)
            client.connect(server.server_address)
        for client in clients:
            client.sendall(b"hello")
        assert [client.recv(100) for client in clients] == [b"HELLO"] * 10
        for client in clients:
            client.close()


# ---- TLS ----


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(CERTIFICATE)
    return server, ssl.create_default_context(cafile=str(CERTIFICATE))


def test_https_client(driver: Driver) -> None:
    server_context, client_context = contexts()
    server = http.server.ThreadingHTTPServer((KERNEL, 8443), Page)
    server.socket = server_context.wrap_socket(server.socket, server_side=True)
    with serving(server), fastnet.patched(driver):
        with urllib.request.urlopen(f"https://{KERNEL}:8443/u", timeout=10, context=client_context) as response:
            assert response.read() == b"you asked for /u"
        with requests.Session() as session:
            session.verify = str(CERTIFICATE)
            session.trust_env = False
            for i in range(3):
                assert session.get(f"https://{KERNEL}:8443/{i}", timeout=10).text == f"you asked for /{i}"
            body = bytes(1 << 20)
            assert session.post(f"https://{KERNEL}:8443/", data=body, timeout=20).text == "you sent 1048576 bytes"
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection(KERNEL, 8443, timeout=10).request("GET", "/")
    assert driver.stack.counters.TcpActiveOpens == 3


def test_https_server(world: Driver) -> None:
    server = http.server.ThreadingHTTPServer((STACK, 8443), Page)
    server.socket = contexts()[0].wrap_socket(server.socket, server_side=True)
    assert isinstance(server.socket, ssl.SSLSocket)
    with serving(server):
        assert curl("--cacert", str(CERTIFICATE), f"https://{STACK}:8443/[1-3]") == "".join(f"you asked for /{i}" for i in range(1, 4))


def test_tls_sockets_call_by_call(world: Driver) -> None:
    """One end over fastnet, the other the kernel's; what an SSLSocket has beside its bytes, and without waiting."""
    server_context, client_context = contexts()
    server_context.set_alpn_protocols(["echo"])
    client_context.set_alpn_protocols(["echo"])
    with REAL(socket.AF_INET) as listener:
        listener.bind((KERNEL, 8443))
        listener.listen()
        plain = socket.create_connection((KERNEL, 8443), timeout=10)
        theirs, _ = listener.accept()
        theirs.settimeout(10)
    secured: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: secured.append(server_context.wrap_socket(theirs, server_side=True)))
    thread.start()
    ours = client_context.wrap_socket(plain, server_hostname=KERNEL)
    thread.join(10)
    peer = secured[0]
    assert plain.fileno() == -1 and ours.fileno() >= 0 and ours.gettimeout() == 10
    assert ours.version() == "TLSv1.3" == peer.version() and ours.cipher() == peer.cipher()
    assert ours.selected_alpn_protocol() == "echo"
    assert ("IP Address", KERNEL) in ours.getpeercert()["subjectAltName"]  # type: ignore[index, operator]
    peer.sendall(b"one")
    peer.sendall(b"two")
    assert ours.recv(10) == b"one"
    # The next record is not taken before somebody reads it: the descriptor says so.
    assert select.select([ours], [], [], 10)[0] == [ours]
    assert ours.recv(1) == b"t" and ours.pending() == 2 and ours.recv(10) == b"wo"
    ours.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        ours.recv(1)
    # Nothing is lost and nothing doubled where the socket takes a part only.
    blocks = [i.to_bytes(2, "big") * 8000 for i in range(500)]
    received = bytearray()

    def read() -> None:
        while len(received) < 500 * 16000:
            received.extend(peer.recv(1 << 16))

    reader = threading.Thread(target=read)
    waited = 0
    for block in blocks:
        while True:
            try:
                assert ours.send(block) == len(block)
                break
            except ssl.SSLWantWriteError:
                waited += 1
                if waited == 1:
                    reader.start()
                assert select.select([], [ours], [], 10)[1] == [ours]
    reader.join(20)
    assert waited and bytes(received) == b"".join(blocks)
    ours.settimeout(10)
    closing = threading.Thread(target=peer.unwrap)
    closing.start()
    assert ours.unwrap() is ours
    closing.join(10)
    ours.sendall(b"plain again")
    assert peer.recv(100) == b"plain again"
    ours.close()
    peer.close()


def test_a_wrapped_socket_that_is_undecided_says_what_to_do(world: Driver) -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match="connect or bind"):
        ssl.create_default_context().wrap_socket(sock, server_hostname=KERNEL)


# ---- whose a socket is ----


def test_the_address_says_whose_it_is(world: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"by name")
            assert accepted.recv(10) == b"by name"
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(("localhost", listener.getsockname()[1]))
    a, b = socket.socketpair()
    with a, b:
        a.send(b"x")
        assert b.recv(1) == b"x"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((KERNEL, 0))
        assert one.type == socket.SOCK_DGRAM
    assert world.stack.counters.TcpActiveOpens == 0
    with socket.socket() as listener:
        listener.settimeout(10)
        listener.listen()
        with REAL() as client:
            client.settimeout(10)
            client.connect((STACK, listener.getsockname()[1]))
            # The kernel's end is connected once the SYN-ACK is there; the stack's when the ACK of that has come.
            listener.accept()[0].close()
    assert world.stack.counters.TcpPassiveOpens == 1


def test_a_network_of_ones_own(driver: Driver) -> None:
    with fastnet.patched(Ambient(driver, ("198.19.0.0/16",))), socket.create_server((KERNEL, 0)) as listener:
        socket.create_connection(listener.getsockname(), timeout=10).close()
    assert driver.stack.counters.TcpActiveOpens == 0


def test_a_client_bound_to_any_address_may_still_be_the_kernels(world: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=10, source_address=("", 0))
        assert client.getpeername() == listener.getsockname() and client.gettimeout() == 10
        assert not world.names._holders, "and the stack has its port back"
        client.close()


def test_options_and_timeouts_go_along(world: Driver) -> None:
    with socket.socket() as sock, REAL() as listener:
        listener.bind((KERNEL, 0))
        listener.listen()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 3)
        sock.settimeout(7.5)
        number = sock.fileno()
        with pytest.warns(RuntimeWarning, match="no socket option"):
            sock.connect(listener.getsockname())
        # The kernel's socket, which was never connected, would be readable.
        assert select.select([number], [], [], 0)[0] == []
        assert sock.fileno() == number and sock.gettimeout() == sock.timeout == 7.5
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert select.select([], [number], [], 10)[1] == [number]
        theirs, _ = listener.accept()
        theirs.send(b"x")
        assert select.select([number], [], [], 10)[0] == [number]
        theirs.close()


def events_of(epoll: select.epoll, number: int, timeout: float = 10) -> int:
    return dict(epoll.poll(timeout)).get(number, 0)


@pytest.mark.parametrize("how", ["connect", "bind"])
def test_epoll_was_told_of_it_before_it_was_decided(how: str, world: Driver) -> None:
    """Frameworks register a socket and then bind or connect it (pyftpdlib): what epoll was told still holds, with its flags."""
    with contextlib.ExitStack() as stack:
        first, second, sock, other = (stack.enter_context(each) for each in (select.epoll(), select.epoll(), socket.socket(), REAL()))
        number = sock.fileno()
        first.register(number, select.EPOLLIN)
        second.register(number, select.EPOLLIN | select.EPOLLET)
        other.settimeout(10)
        if how == "bind":
            sock.bind((STACK, 0))
            sock.listen()
            assert events_of(first, number, 0) == events_of(second, number, 0) == 0, "the kernel's unconnected socket hung up"
            other.connect(sock.getsockname())
        else:
            other.bind((KERNEL, 0))
            other.listen()
            sock.connect(other.getsockname())
            assert events_of(first, number, 0) == events_of(second, number, 0) == 0
            theirs, _ = other.accept()
            theirs.send(b"x")
            stack.callback(theirs.close)
        for epoll in (first, second):
            assert events_of(epoll, number) == select.EPOLLIN
        assert events_of(first, number, 0) & select.EPOLLIN and events_of(second, number, 0) == 0, "edge-triggered stays so"
        first.modify(number, 0)
        second.unregister(number)


def test_epoll_keeps_all_64_bits_of_what_it_gives_back(world: Driver) -> None:
    """Loops in C put more than the number there."""
    with select.epoll() as epoll, socket.socket() as sock:
        number = sock.fileno()
        watches._control(watches.Watch(epoll.fileno(), select.EPOLLIN, 0xFEDCBA98 << 32 | number), watches.EPOLL_CTL_ADD, number)
        before = watches.watches(number)
        sock.bind((STACK, 0))
        assert watches.watches(number) == before == [watches.Watch(epoll.fileno(), before[0].events, 0xFEDCBA98 << 32 | number)]


def test_a_copy_of_the_descriptor_is_not_watched_in_its_place(world: Driver) -> None:
    with select.epoll() as epoll, socket.socket() as sock:
        number = sock.fileno()
        copy = os.dup(number)
        epoll.register(number, select.EPOLLIN)
        assert events_of(epoll, number) & select.EPOLLHUP
        sock.bind((STACK, 0))
        sock.listen()
        assert epoll.poll(0) == [], "the kernel's socket, which hangs up, is still there under the other number"
        os.close(copy)


def test_selectors_that_were_there_before(world: Driver) -> None:
    """The loop of asyncore and pyftpdlib: one selector, sockets registered as they are made."""
    with selectors.DefaultSelector() as selector, socket.socket() as listener:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", 0))
        listener.listen()
        with REAL() as client:
            client.settimeout(10)
            client.connect((STACK, listener.getsockname()[1]))
            assert [key.fileobj for key, _ in selector.select(10)] == [listener]
            accepted, _ = listener.accept()
            with accepted:
                selector.register(accepted, selectors.EVENT_READ)
                client.send(b"hello")
                assert [key.fileobj for key, _ in selector.select(10)] == [accepted]
                assert accepted.recv(10) == b"hello"
                selector.unregister(accepted)


def test_a_client_that_epoll_knows_may_still_become_the_kernels(world: Driver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sock, select.epoll() as epoll:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = sock.fileno()
        epoll.register(number, select.EPOLLIN)
        sock.bind(("", 0))
        sock.settimeout(10)
        port = sock.getsockname()[1]
        sock.connect(listener.getsockname())
        assert sock.fileno() == number and sock.getsockname() == ("127.0.0.1", port) and sock.gettimeout() == 10
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not world.names._holders
        accepted, _ = listener.accept()
        assert events_of(epoll, number, 0) == 0
        accepted.send(b"x")
        assert events_of(epoll, number) == select.EPOLLIN and sock.recv(9) == b"x"
        accepted.close()


METHODS = {
    "recv": (1,), "recv_into": (bytearray(1),), "recvfrom": (1,), "recvfrom_into": (bytearray(1),), "recvmsg": (1,),
    "recvmsg_into": ([bytearray(1)],), "send": (b"x",), "sendall": (b"x",), "sendto": (b"x", (KERNEL, 1)), "sendmsg": ([b"x"],),
    "getsockname": (), "getpeername": (), "getsockopt": (socket.SOL_SOCKET, socket.SO_ERROR), "shutdown": (socket.SHUT_WR,),
    "connect": ((KERNEL, 1),), "bind": (("", 0),), "listen": (), "accept": (),
}  # fmt: skip
"""Methods of the base class that touch a descriptor, and arguments for each."""


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_were_taken_before_refuse(name: str, world: Driver) -> None:
    """A module that took ``socket.socket.recv`` before (trio does) moves no bytes between nobody and nobody: it is told."""
    with REAL() as listener:
        listener.bind((KERNEL, 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname(), timeout=10)
        theirs, _ = listener.accept()
        with ours, theirs:
            number = ours.fileno()
            theirs.send(b"for ours")
            assert select.select([ours], [], [], 10)[0]
            with pytest.raises(OSError, match="Bad file descriptor"):
                getattr(REAL, name)(ours, *METHODS[name])
            assert ours.fileno() == number and select.select([ours], [ours], [], 0) == ([ours], [ours], [])
            ours.send(b"for theirs")
            theirs.settimeout(10)
            assert ours.recv(99) == b"for ours" and theirs.recv(99) == b"for theirs", "nothing is lost"


def test_its_own_addresses(world: Driver) -> None:
    """A server and its client in one program, on the stack's address and on another one; the kernel's would go over ``lo``."""
    for bound, to, source in (("", STACK, STACK), (STACK, STACK, STACK), ("198.18.0.3", "198.18.0.3", "198.18.0.3")):
        with serving(http.server.ThreadingHTTPServer((bound, 0), Page)) as server:
            port = server.server_address[1]
            with requests.Session() as session:
                for i in range(3):
                    assert session.get(f"http://{to}:{port}/{i}", timeout=10).text == f"you asked for /{i}"
                assert session.post(f"http://{to}:{port}/", data=bytes(3 << 20), timeout=20).text == f"you sent {3 << 20} bytes"
        with socket.create_server((to, 0)) as listener, socket.create_connection(listener.getsockname(), 10) as client:
            assert client.getsockname()[0] == source and client.getpeername() == listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((STACK, 1), timeout=10)


def test_another_patch_in_its_place(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent's, in either order: said aloud, before or after."""

    class Green:
        pass

    with pytest.warns(RuntimeWarning, match="replaced socket.socket inside"), fastnet.patched(driver):
        socket.socket = Green  # type: ignore[misc, assignment]
    assert socket.socket is REAL
    monkeypatch.setattr(socket, "socket", Green)
    with pytest.raises(RuntimeError, match=r"taken the place of socket\.socket"), fastnet.patched(driver):
        pass
    program = "import socket; socket.socket = type('Green', (), {}); import fastnet.socket"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ImportError: __main__ has taken the place of socket.socket" in done.stderr


def test_what_is_a_socket(world: Driver) -> None:
    class Own(socket.socket):
        pass

    with socket.socket() as ours, Own() as own, REAL() as old, Socket(world) as direct:
        for sock in (ours, own, old, direct):
            assert isinstance(sock, socket.socket)
        assert isinstance(own, Own) and not isinstance(ours, Own) and not isinstance(3, socket.socket)
        assert issubclass(REAL, socket.socket) and issubclass(Own, socket.socket) and not issubclass(int, socket.socket)
        own.listen()
        with REAL() as client:
            client.connect((STACK, own.getsockname()[1]))
            accepted, _ = own.accept()
            number = accepted.detach()
            with socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as copy:
                socket.close(number)
                client.send(b"hello")
                assert copy.recv(10) == b"hello"
            client.settimeout(10)
            assert client.recv(1) == b""


def test_everything_is_put_back(driver: Driver) -> None:
    before = socket.socket, socket.close, ssl.SSLContext.wrap_socket
    with pytest.raises(ZeroDivisionError), fastnet.patched(driver):
        assert (socket.socket, socket.close, ssl.SSLContext.wrap_socket) != before
        raise ZeroDivisionError
    assert (socket.socket, socket.close, ssl.SSLContext.wrap_socket) == before
    assert driver.threaded, "it had its thread before"
    quiet = Driver(Stack(MemoryDevice(), (STACK,)))
    with fastnet.patched(quiet):
        assert quiet.threaded
    assert not quiet.threaded


def test_one_that_nobody_closes(world: Driver) -> None:
    for prepare in (lambda s: None, lambda s: s.bind(("127.0.0.1", 0)), lambda s: s.listen(), lambda s: (s.listen(), s.fileno())):
        sock = socket.socket()
        prepare(sock)
        with pytest.warns(ResourceWarning, match="unclosed <"):
            del sock
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for prepare in (lambda s: None, lambda s: s.bind(("127.0.0.1", 0)), lambda s: s.listen()):
            sock = socket.socket()
            prepare(sock)
            sock.close()
            del sock
        gc.collect()
    deadline = time.monotonic() + 5
    while world.names._holders and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not world.names._holders


def test_importing_fastnet_costs_nothing() -> None:
    program = "import sys; before = set(sys.modules); import fastnet; print([m for m in set(sys.modules) - before if 'numpy' in m])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fastnet.nothing
