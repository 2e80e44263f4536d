"""Programs that know nothing of fastnet, over fastnet: ``with patched(driver): ...``.

Inside, ``socket.socket`` is a class whose sockets of AF_INET, SOCK_STREAM begin undecided: a socket of the kernel's that has sent nothing.
With the first ``bind``, ``connect`` or ``listen`` it stays that, or becomes the stack's, after the address (``fastnet.ambient``). What the
standard library builds on ``socket.socket`` follows: ``create_connection``, ``create_server``, ``http``, ``smtplib``, ``socketserver``,
``urllib``. ``select`` and ``selectors`` need nothing, as a fastnet socket has a descriptor; ``SSLContext.wrap_socket`` goes over memory.

A module that took the class before (``from socket import socket``) keeps the kernel's.
"""

import _socket
import contextlib
import errno
import functools
import socket as stdlib
import ssl
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

from fastnet import descriptor
from fastnet.ambient import Ambient
from fastnet.driver import Driver
from fastnet.opensocket import Address
from fastnet.socket import Socket
from fastnet.tls import wrap_socket

KERNELS = stdlib.socket
"""The standard library's own class."""

EITHER = (
    "_real_close", "_sendfile_use_sendfile", "accept", "detach", "dup", "getblocking", "getpeername", "getsockname",
    "getsockopt", "gettimeout", "recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendall",
    "sendmsg", "sendto", "setblocking", "settimeout", "shutdown",
)  # fmt: skip
"""Methods that do what the socket's side does, and decide nothing."""


class EitherSocket(Socket):
    """A socket that is undecided, the kernel's or the stack's. Its base class has a descriptor of the kernel's from the beginning.

    :ivar stacks: True once it is the stack's, False once it is the kernel's, None before
    """

    ambient: Ambient

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self.stacks: bool | None = False
        self._given: dict[tuple[int, int], Any] = {}
        self._asked = False
        found = descriptor.find(fileno) if isinstance(fileno, int) else None
        if found is not None:
            self.stacks = True
            Socket.__init__(self, found.driver, fileno)
            return
        KERNELS.__init__(self, family, type, proto, fileno)
        if fileno is None and (self.family, self.type) == (stdlib.AF_INET, stdlib.SOCK_STREAM) and self.proto in (0, stdlib.IPPROTO_TCP):
            self.stacks = None

    @property
    def family(self) -> stdlib.AddressFamily:
        """As it was made."""
        return cast("stdlib.AddressFamily", KERNELS.family.__get__(self))

    @property
    def type(self) -> stdlib.SocketKind:
        """As it was made."""
        return cast("stdlib.SocketKind", KERNELS.type.__get__(self))

    @property
    def proto(self) -> int:
        """As it was made."""
        return cast("int", KERNELS.proto.__get__(self))

    @property
    def timeout(self) -> float | None:
        """As ``gettimeout``."""
        return self.gettimeout()

    # ---- whose it is ----

    def _decide(self, stacks: bool) -> None:
        if self.stacks is not None:
            return
        given, self._given = self._given, {}
        self.stacks = stacks
        if not stacks:
            return
        timeout = KERNELS.gettimeout(self)
        Socket.__init__(self, self.ambient.driver)
        self._timeout = timeout
        for (level, option), value in given.items():
            try:
                Socket.setsockopt(self, level, option, value)
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT:
                    raise
                warnings.warn(f"fastnet has no socket option {option} of level {level}: it is left out", RuntimeWarning, stacklevel=3)
        if self._asked:
            # Somebody has the number already.
            Socket.fileno(self)

    def _reconsider(self) -> None:
        """A client that was bound to any address has chosen the stack too early: its server is the kernel's."""
        opened = self._open
        if self._shown or opened.connection is not None or opened.listener is not None:
            return
        if opened.name is None or opened.name[0] != "0.0.0.0":
            return
        with self._driver.lock:
            opened.release()
        self.stacks = False
        KERNELS.settimeout(self, self._timeout)
        KERNELS.bind(self, opened.name)

    def bind(self, address: Any) -> None:
        """As the side's that has the address; "" and "0.0.0.0" are the stack's."""
        where = resolved(address)
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
            Socket.connect(self, resolved(address) or address)
        else:
            KERNELS.connect(self, address)

    def connect_ex(self, address: Any) -> int:
        """As the side's over which the address is reached."""
        if self._leads(address):
            return Socket.connect_ex(self, resolved(address) or address)
        return KERNELS.connect_ex(self, address)

    def _leads(self, address: Any) -> bool:
        where = resolved(address)
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
            return
        KERNELS.setsockopt(self, level, option, value, *optlen)
        if self.stacks is None:
            self._given[level, option] = value

    def fileno(self) -> int:
        """A descriptor; it stays the same when the socket becomes the stack's."""
        if self.stacks:
            return Socket.fileno(self)
        self._asked = True
        return KERNELS.fileno(self)

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


def resolved(address: Any) -> Address | None:
    """A host and a port, the host an IPv4 address or ""; None when it is no such thing, and the kernel had better say so."""
    if not isinstance(address, tuple) or len(address) != 2 or not isinstance(address[0], str):
        return None
    host, port = address
    if host:
        try:
            host = stdlib.gethostbyname(host)
        except OSError:
            return None
    return host, port


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
    """
    ambient = where if isinstance(where, Ambient) else Ambient(where)
    kind = AnySocket("socket", (EitherSocket,), {"ambient": ambient, "__module__": "socket", "__doc__": EitherSocket.__doc__})
    wrap = ssl.SSLContext.wrap_socket

    @functools.wraps(wrap)
    def wrap_either(context: ssl.SSLContext, sock: stdlib.socket, *args: Any, **keywords: Any) -> ssl.SSLSocket:
        if not isinstance(sock, Socket) or isinstance(sock, EitherSocket) and sock.stacks is False:
            return wrap(context, sock, *args, **keywords)
        if isinstance(sock, EitherSocket) and sock.stacks is None:
            raise ValueError("under fastnet.patched(), connect or bind a socket before it is wrapped: the address says whose it is")
        return wrap_socket(context, sock, *args, **keywords)

    with contextlib.ExitStack() as stack:
        if not ambient.driver.threaded:
            stack.enter_context(ambient.driver)
        for owner, name, value in ((stdlib, "socket", kind), (stdlib, "close", close), (ssl.SSLContext, "wrap_socket", wrap_either)):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield ambient
