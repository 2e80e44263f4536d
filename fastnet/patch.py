"""Programs that know nothing of fastnet, over fastnet: ``with patched(driver): ...``.

Inside, ``socket.socket`` is a class whose sockets of AF_INET or AF_INET6, SOCK_STREAM begin undecided: a socket of the kernel's that has
sent nothing. With the first ``bind``, ``connect`` or ``listen`` it stays that, or becomes the stack's, after the address
(``fastnet.ambient``). What the standard library builds on ``socket.socket`` follows: ``create_connection``, ``create_server``, ``http``,
``smtplib``, ``socketserver``, ``urllib``. ``select`` and ``selectors`` need nothing, as a fastnet socket has a descriptor;
``SSLContext.wrap_socket`` goes over memory.

A module that took the class before (``from socket import socket``) keeps the kernel's. One that took a method of it
(``socket.socket.recv``) and calls that with a socket of the stack's gets EBADF. gevent's monkey patch takes the place of this one.
"""

import _socket
import atexit
import contextlib
import errno
import functools
import os
import socket as stdlib
import ssl
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

from fastnet import descriptor
from fastnet.ambient import Ambient, LaterAmbient
from fastnet.driver import Driver
from fastnet.ip.addresses import ANY
from fastnet.opensocket import FAMILIES, OpenSocket
from fastnet.socket import Socket
from fastnet.sockopt import fail
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from fastnet.tls import wrap_socket
from fastnet.watches import replace

KERNELS = stdlib.socket
"""The standard library's own class."""

LINGER = 1.0
"""Seconds that the end of a process waits for what was sent to be acknowledged."""
UNFINISHED = (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
"""States in which our FIN, or bytes before it, wait for their ACK."""

EITHER = (
    "_real_close", "_sendfile_use_sendfile", "detach", "getblocking", "getpeername", "getsockname",
    "getsockopt", "gettimeout", "recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendall",
    "sendmsg", "sendto", "setblocking", "settimeout", "shutdown",
)  # fmt: skip
"""Methods that do what the socket's side does, and decide nothing."""


class EitherSocket(Socket):
    """A socket that is undecided, the kernel's or the stack's. Its base class has a descriptor of the kernel's until it is the stack's.

    :ivar stacks: True once it is the stack's, False once it is the kernel's, None before
    """

    ambient: Ambient

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self.stacks: bool | None = False
        self._given: dict[tuple[int, int], Any] = {}
        self._asked = False
        self._taken_up = False
        found = descriptor.find(fileno) if isinstance(fileno, int) else None
        if found is not None:
            self.stacks = self._taken_up = True
            Socket.__init__(self, found.driver, fileno)
            return
        KERNELS.__init__(self, family, type, proto, fileno)
        if fileno is None and self.family in FAMILIES and self.type == stdlib.SOCK_STREAM and self.proto in (0, stdlib.IPPROTO_TCP):
            self.stacks = None

    @property
    def family(self) -> stdlib.AddressFamily:
        """As it was made."""
        return Socket.family.__get__(self) if self.stacks else cast("stdlib.AddressFamily", KERNELS.family.__get__(self))

    @property
    def type(self) -> stdlib.SocketKind:
        """As it was made."""
        return stdlib.SOCK_STREAM if self.stacks else cast("stdlib.SocketKind", KERNELS.type.__get__(self))

    @property
    def proto(self) -> int:
        """As it was made; of one that took up a descriptor of the stack's, IPPROTO_TCP."""
        return stdlib.IPPROTO_TCP if self._taken_up else cast("int", KERNELS.proto.__get__(self))

    @property
    def timeout(self) -> float | None:
        """As ``gettimeout``."""
        return self.gettimeout()

    # ---- whose it is ----

    def _decide(self, stacks: bool) -> None:
        if self.stacks is not None:
            return
        if not stacks:
            self.stacks = False
            return
        driver = self.ambient.driver
        self.stacks = True
        family, timeout = KERNELS.family.__get__(self), KERNELS.gettimeout(self)
        number = _socket.socket.detach(self)
        Socket.__init__(self, driver, family=family)
        self._timeout = timeout
        if self._asked:
            # Somebody has the number already, and may have told an epoll instance of it.
            with driver.lock:
                self._have(self._open.show_on(number))
        else:
            os.close(number)
        for (level, option), value in self._given.items():
            try:
                Socket.setsockopt(self, level, option, value)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
                warnings.warn(f"fastnet has no socket option {option} of level {level}: it is left out", RuntimeWarning, stacklevel=3)

    def _reconsider(self) -> None:
        """A client that was bound to any address has chosen the stack too early: its server is the kernel's."""
        opened = self._open
        if opened.connection is not None or opened.listener is not None:
            return
        if opened.shared or opened.name is None or opened.name[0] not in ANY:
            return
        number, timeout = self._number, self._timeout
        KERNELS.__init__(self, self.family, self.type, self.proto)
        if number >= 0:
            new = _socket.socket.detach(self)
            replace(number, new)
            os.close(new)
            _socket.socket.__init__(self, self.family, self.type, self.proto, number)
        with self._driver.lock:
            name = opened.local()
            self._number = -1
            opened.let_go(number)
        self.stacks = False
        KERNELS.settimeout(self, timeout)
        for (level, option), value in self._given.items():
            KERNELS.setsockopt(self, level, option, value)
        KERNELS.bind(self, name)

    def bind(self, address: Any) -> None:
        """As the side's that has the address; "", "0.0.0.0" and "::" are the stack's."""
        where = resolved(address, self.family)
        self._decide(where is not None and self.ambient.is_local(where[0]))
        if self.stacks:
            Socket.bind(self, where or address)
        else:
            KERNELS.bind(self, address)

    def listen(self, backlog: int = 128) -> None:
        """As its side's; the stack's, if it has no name yet."""
        self._decide(True)
        if self.stacks:
            Socket.listen(self, backlog)
        else:
            KERNELS.listen(self, backlog)

    def connect(self, address: Any) -> None:
        """As the side's over which the address is reached."""
        if self._leads(address):
            Socket.connect(self, resolved(address, self.family) or address)
        else:
            KERNELS.connect(self, address)

    def connect_ex(self, address: Any) -> int:
        """As the side's over which the address is reached."""
        if self._leads(address):
            return Socket.connect_ex(self, resolved(address, self.family) or address)
        return KERNELS.connect_ex(self, address)

    def _leads(self, address: Any) -> bool:
        where = resolved(address, self.family)
        leads = where is not None and self.ambient.leads_to(where[0])
        self._decide(leads)
        if self.stacks and where is not None and not leads:
            self._reconsider()
        return bool(self.stacks)

    # ---- the rest ----

    def setsockopt(self, level: int, option: int, value: Any, *optlen: Any) -> None:
        """As its side's; what is set before there is one, both have."""
        if self.stacks:
            Socket.setsockopt(self, level, option, value, *optlen)
        else:
            KERNELS.setsockopt(self, level, option, value, *optlen)
        if not optlen and value is not None:
            # For the other side, should it become that one's.
            self._given[level, option] = value

    def fileno(self) -> int:
        """A descriptor; it stays the same when the socket becomes the stack's."""
        if self.stacks:
            return Socket.fileno(self)
        self._asked = True
        return KERNELS.fileno(self)

    def accept(self) -> tuple[Any, Any]:
        """As its side's; the new socket is of the class that stands for ``socket.socket``, which some programs insist on."""
        if not self.stacks:
            return KERNELS.accept(self)
        deadline = self._deadline()
        with self._driver.lock:
            opened = self._open.accept(deadline)
            accepted = self._another(next(kind for kind in type(self).__mro__ if "ambient" in kind.__dict__), opened)
        return accepted, opened.remote()

    def dup(self) -> Any:
        """As its side's."""
        if not self.stacks:
            return KERNELS.dup(self)
        with self._driver.lock:
            if self._is_closed():
                fail(errno.EBADF)
            self._open.hold()
            other = self._another(type(self), self._open)
        other.settimeout(self._timeout)
        return other

    def _another(self, kind: Any, opened: OpenSocket) -> Any:
        other = kind.__new__(kind)
        other.stacks = other._taken_up = True
        other._asked = False
        other._given = {}
        Socket.__init__(other, self._driver, _open=opened)
        return other

    # With its descriptor, as programs may expect.
    __repr__ = KERNELS.__repr__

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if getattr(self, "stacks", None):
            super().__del__(_warn)
        elif KERNELS.fileno(self) >= 0:
            # What the base class does where nobody has overridden this.
            text = KERNELS.__repr__(self)
            _socket.socket.close(self)
            _warn(f"unclosed {text}", ResourceWarning, source=self)


def _either(name: str) -> Callable[..., Any]:
    stacks, kernels = getattr(Socket, name), getattr(KERNELS, name)

    @functools.wraps(stacks)
    def call(self: EitherSocket, *args: Any, **keywords: Any) -> Any:
        return stacks(self, *args, **keywords) if self.stacks else kernels(self, *args, **keywords)

    return call


for _name in EITHER:
    setattr(EitherSocket, _name, _either(_name))


def resolved(address: Any, family: int) -> Any:
    """The address with a host that is an address of the family or ""; None when it is no such thing, and the kernel had better say so."""
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4 or not isinstance(address[0], str):
        return None
    host: Any = address[0]
    if family == stdlib.AF_INET and len(address) != 2:
        return None
    if host:
        try:
            host = stdlib.getaddrinfo(host, None, stdlib.AddressFamily(family), stdlib.SOCK_STREAM)[0][4][0]
        except (OSError, UnicodeError):
            return None
    return host, *address[1:]


class AnySocket(type):
    """The class that stands for ``socket.socket``: every socket is an instance of it, also one that was made before."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, KERNELS) if "ambient" in cls.__dict__ else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, KERNELS) if "ambient" in cls.__dict__ else super().__subclasscheck__(subclass)


def close(number: int) -> None:
    """``socket.close``: also for a descriptor that was detached from a fastnet socket."""
    found = descriptor.find(number)
    if found is not None and not found.driver.forked:
        with found.driver.lock:
            found.let_go(number)
    _socket.close(number)


@contextlib.contextmanager
def patched(where: Driver | Ambient) -> Iterator[Ambient]:
    """Let programs that know nothing of fastnet run over it.

    A driver that has no thread has one inside. Sockets that are left over afterwards go on, as long as somebody polls.

    :param where: the stack and its addresses; of a driver alone, ``fastnet.ambient.NETWORKS`` are reached over the stack
    :raises RuntimeError: ``socket.socket`` is not the standard library's any more: gevent's monkey patch and this one cannot both be it
    """
    ambient = where if isinstance(where, Ambient) else Ambient(where)
    with contextlib.ExitStack() as stack:
        if not ambient.driver.threaded:
            stack.enter_context(ambient.driver)
        kind = install(ambient, stack)
        yield ambient
        if stdlib.socket is not kind:
            warnings.warn(
                f"{stdlib.socket.__module__} has replaced socket.socket inside fastnet.patched(): its sockets are the kernel's",
                RuntimeWarning, stacklevel=3,
            )  # fmt: skip


def install(ambient: Ambient, stack: contextlib.ExitStack) -> type:
    """Put the class of sockets that an ambient decides on where the standard library's is, until the exit stack is closed."""
    if not issubclass(stdlib.socket, KERNELS):
        raise RuntimeError(f"{stdlib.socket.__module__} has taken the place of socket.socket, which fastnet.patched() takes itself")
    kind = AnySocket("socket", (EitherSocket,), {"ambient": ambient, "__module__": "socket", "__doc__": EitherSocket.__doc__})
    wrap = ssl.SSLContext.wrap_socket

    @functools.wraps(wrap)
    def wrap_either(context: ssl.SSLContext, sock: stdlib.socket, *args: Any, **keywords: Any) -> ssl.SSLSocket:
        if not isinstance(sock, Socket) or isinstance(sock, EitherSocket) and sock.stacks is False:
            return wrap(context, sock, *args, **keywords)
        if isinstance(sock, EitherSocket) and sock.stacks is None:
            raise ValueError("under fastnet.patched(), connect or bind a socket before it is wrapped: the address says whose it is")
        return wrap_socket(context, sock, *args, **keywords)

    for owner, name, value in ((stdlib, "socket", kind), (stdlib, "close", close), (ssl.SSLContext, "wrap_socket", wrap_either)):
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)
    return kind


def patch_process() -> None:
    """``patched`` until the process ends, on the stack that the environment describes (``fastnet.ambient``).

    The device is taken when a socket is to be the stack's. At the end of the process what is open is closed, as a kernel does, and what was
    sent has ``LINGER`` seconds to be acknowledged.

    :raises ValueError: a variable of the environment that is not what it should be
    """
    ambient = LaterAmbient()
    install(ambient, contextlib.ExitStack())
    atexit.register(_finish, ambient)


def _finish(ambient: LaterAmbient) -> None:
    driver = ambient.taken
    if driver is None or driver.forked:
        return
    driver.stop()
    stack = driver.stack
    with driver.lock:
        now = stack.clock()
        for endpoint in list(stack.context.endpoints):
            if isinstance(endpoint, Connection) and not endpoint.orphan and endpoint.state != State.CLOSED:
                endpoint.owner = None
                endpoint.close(now)
        driver.flush()
    deadline = time.monotonic() + LINGER
    while time.monotonic() < deadline and any(
        isinstance(endpoint, Connection) and endpoint.state in UNFINISHED for endpoint in stack.context.endpoints
    ):
        driver.step(deadline - time.monotonic())
    ambient.let_go()
