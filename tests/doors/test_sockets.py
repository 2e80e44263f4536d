"""What surrounds a connection's bytes, the same on fastnet's sockets and on the kernel's: files, copies, descriptors, messages, flags."""

import array
import contextlib
import errno
import gc
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastnet.driver import Driver
from fastnet.socket import Socket, create_connection, create_server
from fastnet.tcp.states import State
from tests.wire.conftest import STACK
from tests.wire.test_connect import info
from tests.wire.test_socket import outcome

KERNEL = "198.18.0.1"


@pytest.fixture(params=["kernel", "fastnet"])
def pair(request: pytest.FixtureRequest, driver: Driver) -> Iterator[tuple[Any, socket.socket]]:
    """A connection: the end that is tested, of either stack, and the other, always the kernel's."""
    make: Callable[[], Any] = socket.socket if request.param == "kernel" else lambda: Socket(driver)
    host = KERNEL if request.param == "kernel" else STACK
    with make() as listener:
        listener.bind((host, 7000))
        listener.listen()
        with socket.create_connection((host, 7000), timeout=10) as theirs:
            ours, _ = listener.accept()
            ours.settimeout(10)
            with ours:
                yield ours, theirs


def arrived(sock: Any, size: int) -> None:
    """Wait until so many bytes can be read."""
    deadline = time.monotonic() + 10
    while len(sock.recv(size, socket.MSG_PEEK)) < size and time.monotonic() < deadline:
        time.sleep(0.005)


def test_it_is_a_socket(pair: tuple[Any, socket.socket]) -> None:
    ours, _ = pair
    assert isinstance(ours, socket.socket)
    assert (ours.family, ours.type, ours.timeout) == (socket.AF_INET, socket.SOCK_STREAM, 10.0)
    assert ours.get_inheritable() is False
    ours.set_inheritable(True)
    assert ours.get_inheritable() is True
    ours.settimeout(None)
    assert ours.timeout is None and ours.getblocking()
    with pytest.raises(TypeError):
        ours.settimeout("soon")


def test_files(pair: tuple[Any, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"one\ntwo\nthr\xc3\xa9e\n")
    lines = ours.makefile("r", encoding="utf-8", newline="\n")
    assert [lines.readline() for _ in range(3)] == ["one\n", "two\n", "thrée\n"]
    with ours.makefile("wb") as out, theirs.makefile("rb") as back:
        out.write(b"first\nsecond\n")
        out.flush()
        assert [back.readline(), back.readline()] == [b"first\n", b"second\n"]
    both = ours.makefile("rwb", buffering=0)
    both.write(b"x")
    assert theirs.recv(10) == b"x"
    with pytest.raises(ValueError, match="invalid mode"):
        ours.makefile("a")
    # The connection is closed with the last file made of it.
    ours.close()
    theirs.sendall(b"still\n")
    assert lines.readline() == "still\n"
    lines.close()
    theirs.settimeout(0.2)
    with pytest.raises(TimeoutError):
        theirs.recv(1)
    both.close()
    theirs.settimeout(10)
    assert theirs.recv(1) == b""
    assert outcome(lambda: ours.recv(1)) == (OSError, errno.EBADF)


def test_copies_lead_to_the_same(pair: tuple[Any, socket.socket]) -> None:
    """The connection closes with the last; options and the end of it are shared, timeouts are each one's own."""
    ours, theirs = pair
    copy = ours.dup()
    assert copy.fileno() != ours.fileno() and copy.gettimeout() == 10 and copy.getpeername() == ours.getpeername()
    copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    ours.close()
    assert ours.fileno() == -1 and outcome(lambda: ours.send(b"x")) == (OSError, errno.EBADF)
    assert outcome(ours.getsockname) == (OSError, errno.EBADF)
    theirs.sendall(b"hello")
    assert copy.recv(10) == b"hello"
    copy.sendall(b"back")
    assert theirs.recv(10) == b"back"
    copy.close()
    assert theirs.recv(10) == b""


def again(sock: Any, number: int) -> Any:
    """The socket of a descriptor."""
    if isinstance(sock, Socket):
        return Socket(sock._driver, fileno=number)
    return socket.socket(fileno=number)


def test_detached_and_taken_up_again(pair: tuple[Any, socket.socket]) -> None:
    ours, theirs = pair
    number = ours.fileno()
    assert ours.detach() == number and ours.fileno() == -1 and ours.detach() == -1
    assert outcome(lambda: ours.recv(1)) == (OSError, errno.EBADF)
    ours.close()
    taken = again(ours, number)
    assert taken.fileno() == number
    theirs.sendall(b"hello")
    assert taken.recv(10) == b"hello"
    taken.settimeout(10)
    # And a copy that the operating system has made of the descriptor.
    copy = again(ours, os.dup(number))
    taken.close()
    copy.sendall(b"back")
    assert theirs.recv(10) == b"back"
    copy.close()
    assert theirs.recv(10) == b""
    assert outcome(lambda: again(ours, number)) == (OSError, errno.EBADF)


def test_a_descriptor_of_something_else_is_refused(driver: Driver) -> None:
    for number in (0, 10_000):
        with pytest.raises(OSError, match="Bad file") as failure:
            Socket(driver, fileno=number)
        assert failure.value.errno == errno.EBADF


def test_into_buffers(pair: tuple[Any, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"0123456789abcdef")
    arrived(ours, 16)
    buffer = bytearray(4)
    assert ours.recv_into(buffer, 0, socket.MSG_PEEK) == 4 and buffer == b"0123"
    assert ours.recv_into(buffer, 2) == 2 and buffer == b"0123"
    assert ours.recv_into(memoryview(buffer)[1:3]) == 2 and buffer == b"0233"
    words = array.array("H", [0, 0])
    assert ours.recv_into(words) == 4 and words.tobytes() == b"4567"
    assert ours.recvfrom(1) == (b"8", None)
    assert ours.recvfrom_into(buffer, 2) == (2, None) and buffer == b"9a33"
    assert ours.recvmsg(1) == (b"b", [], 0, None)
    first, second = bytearray(1), bytearray(5)
    assert ours.recvmsg_into([first, second]) == (4, [], 0, None)
    assert first == b"c" and second == b"def\0\0"
    for call in (
        lambda: ours.recv_into(buffer, 5),
        lambda: ours.recv_into(buffer, -1),
        lambda: ours.recvfrom_into(buffer, 5),
        lambda: ours.recvfrom(-1),
        lambda: ours.recvmsg(-1),
        lambda: ours.recvmsg(1, -1),
    ):
        assert outcome(call) is ValueError
    assert outcome(lambda: ours.recv_into(b"constant")) is TypeError


def test_messages(pair: tuple[Any, socket.socket]) -> None:
    ours, theirs = pair
    assert ours.sendmsg([b"one", bytearray(b"two"), memoryview(b"three")]) == 11
    assert ours.sendmsg([]) == 0
    assert ours.sendto(b"four", (KERNEL, 1)) == 4
    assert ours.sendto(b"five", 0, (KERNEL, 1)) == 4
    assert ours.send(b"six", socket.MSG_NOSIGNAL) == 3
    theirs.settimeout(None)
    assert theirs.recv(22, socket.MSG_WAITALL) == b"onetwothreefourfivesix"
    assert outcome(lambda: ours.sendmsg([b"x"], [(socket.SOL_SOCKET, 9999, b"y")])) == (OSError, errno.EINVAL)
    assert outcome(lambda: ours.sendto(b"x")) is TypeError


@pytest.mark.parametrize(("address", "error"), [
    ("198.18.0.1", TypeError), (("198.18.0.1",), TypeError), (("198.18.0.1", "80"), TypeError), (("198.18.0.1", 65536), OverflowError),
    (("198.18.0.1", -1), OverflowError),
])  # fmt: skip
def test_an_address_that_is_ignored_is_checked_all_the_same(pair: tuple[Any, socket.socket], address: Any, error: type) -> None:
    """A connected socket sends to its peer, whatever address is given: but it has to be one, here as in the standard library."""
    ours, theirs = pair
    for sock in (ours, theirs):
        with pytest.raises(error):
            sock.sendmsg([b"x"], [], 0, address)
        with pytest.raises(error):
            sock.sendto(b"x", address)
    assert ours.sendmsg([b"y"], [], 0, (KERNEL, 65535)) == 1
    theirs.settimeout(None)
    assert theirs.recv(10) == b"y", "nothing of what failed was sent"


def test_waitall(pair: tuple[Any, socket.socket]) -> None:
    """All that was asked for, however often the peer sends; what there is at the end, and without waiting."""
    ours, theirs = pair
    ours.settimeout(None)

    def slowly() -> None:
        for i in range(5):
            theirs.sendall(b"%d" % i * 1000)
            time.sleep(0.05)

    for receive in (lambda n: ours.recv(n, socket.MSG_WAITALL), lambda n: into(ours, n)):
        thread = threading.Thread(target=slowly)
        thread.start()
        assert receive(5000) == b"".join(b"%d" % i * 1000 for i in range(5))
        thread.join()
    theirs.sendall(b"rest")
    arrived(ours, 4)
    assert ours.recv(10, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"rest"
    theirs.sendall(b"end")
    theirs.close()
    assert ours.recv(10, socket.MSG_WAITALL) == b"end"
    assert ours.recv(10, socket.MSG_WAITALL) == b""


def into(sock: Any, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: sock.recv_into(buffer, size, socket.MSG_WAITALL)])


def test_more(pair: tuple[Any, socket.socket]) -> None:
    """MSG_MORE holds a small segment back until the send that does not say so."""
    ours, theirs = pair
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(3):
        ours.send(b"head ", socket.MSG_MORE)
        ours.send(b"body")
        arrived(theirs, 9)
        assert theirs.recv(100) == b"head body"
    with theirs:
        # The kernel says what came: fastnet does not count segments of one connection.
        segments = info(theirs)["data_segs_in"]
    assert segments == 3
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0


def test_sendfile(pair: tuple[Any, socket.socket], tmp_path: Path) -> None:
    ours, theirs = pair
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    with path.open("rb") as file:
        received: list[bytes] = []
        thread = threading.Thread(target=lambda: received.append(theirs.recv(255_900, socket.MSG_WAITALL)))
        theirs.settimeout(None)
        thread.start()
        assert ours.sendfile(file, 100) == 255_900
        thread.join(20)
        assert received == [path.read_bytes()[100:]] and file.tell() == 256_000
        assert ours.sendfile(file, 0, 10) == 10 and file.tell() == 10
        with pytest.raises(ValueError, match="positive"):
            ours.sendfile(file, 0, -1)
        with pytest.raises(ValueError, match="positive"):
            ours.sendfile(file, 5, -1)
        assert file.tell() == 10, "what is refused moves nothing"
        ours.setblocking(False)
        with pytest.raises(ValueError, match="non-blocking"):
            ours.sendfile(file)
    with path.open("r") as text, pytest.raises(ValueError, match="binary"):
        ours.sendfile(text)


def test_one_that_nobody_closes(driver: Driver) -> None:
    """As the standard library's: a warning, and it is closed."""
    listener = Socket(driver)
    listener.bind((STACK, 7000))
    listener.listen()
    theirs = socket.create_connection((STACK, 7000), timeout=10)
    ours, _ = listener.accept()
    ours.fileno()
    sockets = [listener, ours]
    del listener, ours
    while sockets:
        with pytest.warns(ResourceWarning, match="unclosed <fastnet.socket.Socket"):
            sockets.pop()
    assert theirs.recv(1) == b""
    theirs.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((STACK, 7000), timeout=10)


def test_closed_ones_warn_of_nothing(driver: Driver) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sock = Socket(driver)
        sock.close()
        sock.close()
        del sock
        gc.collect()
        with contextlib.suppress(OSError):
            Socket(driver, fileno=10_000)
        gc.collect()


def test_create_connection_and_create_server_as_the_standard_librarys(driver: Driver) -> None:
    told = []
    for connect, serve, host, peer in (
        (socket.create_connection, socket.create_server, KERNEL, STACK),
        (lambda *a, **k: create_connection(driver, *a, **k), lambda *a, **k: create_server(driver, *a, **k), STACK, KERNEL),
    ):
        with serve((host, 0), backlog=5, reuse_port=True) as listener:
            told.append(
                [
                    listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
                    listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT),
                    outcome(lambda serve=serve, host=host: serve((host, 0), family=socket.AF_INET, dualstack_ipv6=True)),
                ]
            )
        with pytest.raises(ExceptionGroup) as group:
            connect((peer, 7999), all_errors=True)
        assert [type(error) for error in group.value.exceptions] == [ConnectionRefusedError]
        with pytest.raises(ConnectionRefusedError):
            connect((peer, 7999), 5, None)
    assert told[0] == told[1]
    for serve in (socket.create_server, lambda *a, **k: create_server(driver, *a, **k)):
        with pytest.raises(OSError, match=r".") as caught:
            serve((STACK, 0), family=socket.AF_INET6)
        assert caught.value.errno == socket.EAI_ADDRFAMILY


def test_a_default_timeout_holds_here_too(driver: Driver) -> None:
    socket.setdefaulttimeout(0.05)
    try:
        with Socket(driver) as listener:
            assert listener.gettimeout() == 0.05
            listener.listen()
            with pytest.raises(TimeoutError):
                listener.accept()
    finally:
        socket.setdefaulttimeout(None)


def test_deferred_accept_and_fewer_syns_are_heeded(driver: Driver) -> None:
    with create_server(driver, (STACK, 7000)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        assert listener.listener is not None and listener.listener.defer_timeouts == 3
        with socket.create_connection((STACK, 7000), timeout=10) as theirs:
            listener.settimeout(0.3)
            with pytest.raises(TimeoutError):
                listener.accept()
            theirs.send(b"x")
            listener.settimeout(10)
            accepted, _ = listener.accept()
            accepted.close()
    with Socket(driver) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        started = time.monotonic()
        assert outcome(lambda: sock.connect(("198.18.0.9", 80))) == (TimeoutError, errno.ETIMEDOUT)
        assert 2.5 < time.monotonic() - started < 30, "SYNs at 0 and 1 s, over at 3 s; tcp_syn_retries alone gives 127 s"
        assert sock.state == State.CLOSED


@pytest.mark.parametrize("address", [("198.18.0.2",), ("198.18.0.2", 80, 0), (), (1, 80), ("198.18.0.2", "80"), ["198.18.0.2", 80], None])
@pytest.mark.parametrize("call", ["bind", "connect", "connect_ex"])
def test_what_is_no_address(driver: Driver, call: str, address: Any) -> None:
    """The standard library's socket, module documentation, "Socket families": a tuple (host, port) and nothing else; TypeError."""
    for sock in (socket.socket(), Socket(driver)):
        with sock, pytest.raises(TypeError):
            getattr(sock, call)(address)
