"""The event loop: asyncio's own, with a stack in it.

What has an address of the stack's network goes over the stack, by the rule of ``fastnet.ambient``; everything else (the kernel's sockets,
pipes, subprocesses, signals, executors) is asyncio's, and works as ever.
"""

import asyncio
import os
import selectors
import signal
import socket as stdlib
import weakref
from asyncio import futures, sslproto
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any

from fastnet.aio.acceptor import Acceptor, Opening
from fastnet.aio.options import TransportSocket
from fastnet.aio.reactor import LoopDoor, Reactor
from fastnet.aio.transport import Transport
from fastnet.ambient import Ambient, from_environment
from fastnet.forks import ForkedError, watch
from fastnet.opensocket import FAMILIES
from fastnet.socket import Socket
from fastnet.sockopt import Options
from fastnet.stack import NEVER
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State

LINGER = 1_000_000_000
"""How long ``close`` waits for what was sent to be acknowledged, ns: with the process the stack ends, and the kernel's would go on."""
SENDFILE_BLOCK = 65536
UNFINISHED = (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
"""States in which our FIN, or bytes before it, wait for their ACK."""


class Selector(selectors.EpollSelector):
    """asyncio's selector. Once there is a reactor, that does the sleeping.

    :ivar others: None as long as there is no reactor; else whether it found a descriptor here that has something to do
    """

    others: bool | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Descriptors that have something to do."""
        if self.others is None:
            return super().select(timeout)
        return super().select(0) if self.others else []


class EventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that drives a stack in its own thread.

    Whatever of the stack is used while it runs (sockets, listeners, policies) is to be used from that thread.

    :param ambient: the stack and the rule for addresses; None: what the environment describes, when it is first needed
    :param busy_poll: seconds to go on looking for packets before a sleep: less delay, for all of one core
    :raises ValueError: the stack's driver has a thread of its own, or its device nothing to wait for
    """

    _selector: Selector
    # The base class asks in its constructor.
    _forked = False

    def __init__(self, ambient: Ambient | None = None, busy_poll: float = 0.0) -> None:
        super().__init__(Selector())
        self._busy_poll = round(busy_poll * 1e9)
        self._ambient: Ambient | None = None
        self._reactor: Reactor | None = None
        self._acceptors: dict[Socket, Acceptor] = {}
        # Kernel sockets that were told to connect to the stack's network, and the stack's connections that they stand for.
        self._carried: weakref.WeakKeyDictionary[stdlib.socket, TransportSocket] = weakref.WeakKeyDictionary()
        if ambient is not None:
            try:
                self._attach(ambient)
            except ValueError:
                self.close()
                raise

    # ---- the stack ----

    @property
    def ambient(self) -> Ambient:
        """The stack and the rule for addresses.

        :raises OSError, ValueError: there is none yet, and the environment describes none
        """
        if self._ambient is None:
            self._attach(from_environment())
        assert self._ambient is not None
        return self._ambient

    def _attach(self, ambient: Ambient) -> None:
        if ambient.driver.threaded:
            raise ValueError("the driver polls the stack in a thread of its own: give the loop one that was not started")
        ambient.driver.check()
        self._ambient = ambient
        self._reactor = self._make_reactor(ambient)
        watch(self)
        self._selector.others = False

    def after_fork(self) -> None:
        """This process is a child: the loop is the parent's, and so is what its epoll and its signals lead to."""
        self._forked = self._closed = True
        woken = signal.set_wakeup_fd(-1)
        if woken not in (-1, self._csock.fileno()):  # type: ignore[attr-defined]
            signal.set_wakeup_fd(woken)
        # Without a word to epoll, whose instance is the same: only this process's descriptors.
        for each in (self._selector, self._ssock, self._csock):  # type: ignore[attr-defined]
            each.close()

    def _check_closed(self) -> None:
        if self._forked:
            raise ForkedError
        super()._check_closed()  # type: ignore[misc]

    def _make_reactor(self, ambient: Ambient) -> Reactor:
        if ambient.driver.stack.device.capabilities.descriptor is None:
            raise ValueError("the stack's device has no descriptor to wait for; a loop over memory is fastnet.aio.VirtualEventLoop")
        return Reactor(ambient.driver, self, self._selector.fileno(), self._busy_poll)

    def _stack(self) -> tuple[Ambient, Reactor]:
        ambient = self.ambient
        assert self._reactor is not None
        return ambient, self._reactor

    def _is_local(self, host: str | None) -> bool:
        return self._is_in_question(host) and self.ambient.is_local(host)

    def _leads_to(self, host: str) -> bool:
        return self._is_in_question(host) and self.ambient.leads_to(host)

    def _is_in_question(self, host: str | None) -> bool:
        # The kernel's own addresses, and those on a link of its, take no look into the environment.
        return self._ambient is not None or host is None or host != "::1" and not host.startswith(("127.", "fe80:"))

    # ---- turns ----

    def _run_once(self) -> None:
        reactor = self._reactor
        if self._forked:
            raise ForkedError
        if reactor is not None:
            self._selector.others = reactor.turns()
        super()._run_once()  # type: ignore[misc]

    def run_forever(self) -> None:
        """As asyncio's; what was written last leaves before it returns."""
        try:
            super().run_forever()
        finally:
            if self._reactor is not None and not self._forked:
                self._reactor.stack.flush(self._reactor.clock())

    def close(self) -> None:
        """Close what is open on the stack, and give what was sent a second to be acknowledged."""
        if self._forked:
            return
        if self.is_running() or self.is_closed():
            super().close()
            return
        reactor = self._reactor
        if reactor is not None:
            self._close_endpoints(reactor)
            linger(reactor)
            self._reactor = None
        super().close()

    def _close_endpoints(self, reactor: Reactor) -> None:
        for listening in list(self._acceptors):
            self._stop_serving(listening)
        now = reactor.clock()
        for endpoint in reactor.stack.context.endpoints:
            if isinstance(endpoint, Connection) and isinstance(endpoint.owner, LoopDoor):
                endpoint.owner = None
                endpoint.close(now)

    # ---- servers ----

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Iterable[str] | None = None,
        port: int | None = None,
        *,
        family: int = stdlib.AF_UNSPEC,
        flags: int = stdlib.AI_PASSIVE,
        sock: Any = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        start_serving: bool = True,
        **more: Any,
    ) -> asyncio.Server:
        """As asyncio's. On the stack are its addresses and the wildcards (None and "": of both families where the
        stack has both; "0.0.0.0", "::"); other hosts are the kernel's."""
        create = super().create_server
        kernels = {"family": family, "flags": flags, "reuse_address": reuse_address, "reuse_port": reuse_port}
        if sock is not None or host is None and port is None:
            return await create(protocol_factory, host, port, sock=sock, start_serving=start_serving, **kernels, **more)  # type: ignore[arg-type]
        ours, theirs = await self._sort_hosts(host, port, family, flags)
        if not ours:
            return await create(protocol_factory, host, port, start_serving=start_serving, **kernels, **more)  # type: ignore[arg-type]
        sockets: list[Socket] = []
        try:
            sockets.extend(self._bind(address, port or 0, reuse_address is not False, bool(reuse_port)) for address in ours)
            server: Any = await create(protocol_factory, sock=sockets[0], start_serving=False, **more)
            server._sockets.extend(sockets[1:])
            if theirs:
                other: Any = await create(protocol_factory, theirs, port, start_serving=False, **kernels, **more)  # type: ignore[arg-type]
                server._sockets.extend(other._sockets)
        except BaseException:
            for bound in sockets:
                bound.close()
            raise
        if start_serving:
            await server.start_serving()
        return server  # type: ignore[no-any-return]

    def listeners(self, server: asyncio.Server) -> list[Listener]:
        """What listens on the stack for a server: for ``set``, ``set_policy`` and ``statistics``."""
        return [acceptor.listener for acceptor in self._acceptors.values() if acceptor.server is server]

    async def _sort_hosts(
        self, host: str | Iterable[str] | None, port: int | None, family: int, flags: int
    ) -> tuple[list[str], list[str]]:
        """Addresses that are the stack's, and hosts that are the kernel's."""
        ours: list[str] = []
        theirs: list[str] = []
        for name in [host] if host is None or isinstance(host, str) else host:
            if name in (None, ""):
                wildcards = self.ambient.wildcards(family)
                ours += wildcards
                if not wildcards:
                    theirs.append("")
            else:
                infos = await self._create_server_getaddrinfo(name, port, family=family, flags=flags)  # type: ignore[attr-defined]
                found = {info[4][0] for info in infos if info[0] in FAMILIES and self._is_local(info[4][0])}
                ours += sorted(found)
                if not found:
                    theirs.append(name or "")
        return list(dict.fromkeys(ours)), theirs

    def _bind(self, address: str, port: int, reuse_address: bool, reuse_port: bool) -> Socket:
        family = stdlib.AF_INET6 if ":" in address else stdlib.AF_INET
        sock = Socket(self.ambient.driver, family=family)
        try:
            if family == stdlib.AF_INET6:
                # As asyncio has it: a socket for each family.
                sock.setsockopt(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, 1)
            sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, reuse_address)
            sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEPORT, reuse_port)
            sock.setblocking(False)
            sock.bind((address, port))
        except OSError as error:
            sock.close()
            reason = os.strerror(error.errno or 0).lower()
            raise OSError(error.errno, f"error while attempting to bind on address {(address, port)!r}: {reason}") from None
        return sock

    def _start_serving(
        self, protocol_factory: Any, sock: Any, sslcontext: Any = None, server: Any = None, backlog: int = 100, *timeouts: Any, **named: Any
    ) -> None:
        if not isinstance(sock, Socket):
            super()._start_serving(protocol_factory, sock, sslcontext, server, backlog, *timeouts, **named)  # type: ignore[misc]
            return
        _, reactor = self._stack()
        listener = sock.listener
        assert listener is not None
        wrap = None
        if sslcontext is not None:
            handshake_timeout, shutdown_timeout = timeouts

            def wrap(protocol: asyncio.BaseProtocol) -> sslproto.SSLProtocol:
                # Nobody waits for the end of the handshake.
                return sslproto.SSLProtocol(
                    self, protocol, sslcontext, None, True,  # type: ignore[arg-type]
                    ssl_handshake_timeout=handshake_timeout, ssl_shutdown_timeout=shutdown_timeout,
                )  # fmt: skip

        self._acceptors[sock] = Acceptor(self, reactor, listener, protocol_factory, sock._open._options, server, wrap)

    def _stop_serving(self, sock: Any) -> None:
        if not isinstance(sock, Socket):
            super()._stop_serving(sock)  # type: ignore[misc]
            return
        acceptor = self._acceptors.pop(sock, None)
        if acceptor is not None:
            acceptor.close()
        sock.close()

    # ---- connections ----

    async def _connect_sock(self, exceptions: list[list[BaseException]], addr_info: Any, local_addr_infos: Any = None) -> Any:
        # What create_connection() of the base class calls for every address that the name stands for.
        family, _, _, _, address = addr_info
        if family not in FAMILIES or not self._leads_to(address[0]):
            return await super()._connect_sock(exceptions, addr_info, local_addr_infos)  # type: ignore[misc]
        failures: list[BaseException] = []
        exceptions.append(failures)
        local = [info[4][:2] for info in local_addr_infos or () if info[0] == family]
        try:
            return await self._open(family, address, *local[:1])
        except OSError as error:
            failures.append(error)
            raise

    async def _open(self, family: int, address: Any, local: tuple[str, int] = ("0.0.0.0", 0)) -> TransportSocket:
        """A connection of the stack; cancelled, it leaves nothing behind."""
        ambient, reactor = self._stack()
        stack = ambient.driver.stack
        connection = stack.connect(address[0], address[1], *local)
        sock = TransportSocket(reactor, connection, Options(stack.settings, family))
        opening = Opening(reactor, connection, self.create_future())
        try:
            await opening.done
        except OSError as error:
            raise OSError(error.errno, f"Connect call failed {address}") from error.__cause__
        except BaseException:
            sock.close()
            raise
        return sock

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """As asyncio's. A kernel's socket that is sent to the stack's network stands for a connection of the stack from then on.

        Only ``create_connection(sock=...)`` can make something of it: so do libraries that choose among addresses themselves.
        """
        kernels = isinstance(sock, stdlib.socket) and not isinstance(sock, Socket)
        if kernels and sock.family in FAMILIES and _is_address(address) and self._leads_to(address[0]):
            opened = await self._open(sock.family, address)
            self._carried[sock] = opened
            weakref.finalize(sock, _give_up, opened)
            return
        await super().sock_connect(sock, address)

    def _take_over(self, sock: Any) -> TransportSocket | None:
        """The stack's connection that a socket is or stands for."""
        if isinstance(sock, TransportSocket):
            return sock
        if isinstance(sock, stdlib.socket):
            carried = self._carried.pop(sock, None)
            if carried is not None:
                sock.close()
            return carried
        return None

    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, **more: Any) -> Any:
        taken = self._take_over(sock)
        if taken is None:
            return super()._make_socket_transport(sock, protocol, waiter, **more)  # type: ignore[misc]
        _, reactor = self._stack()
        transport = Transport(self, reactor, taken.connection, protocol, copy_context(), taken.options, more.get("server"), taken)
        self.call_soon(protocol.connection_made, transport)
        self.call_soon(transport.start)
        if waiter is not None:
            self.call_soon(futures._set_result_unless_cancelled, waiter, None)  # type: ignore[attr-defined]
        return transport

    def _make_ssl_transport(
        self, rawsock: Any, protocol: Any, sslcontext: Any, waiter: Any = None, *, server_side: bool = False,
        server_hostname: str | None = None, extra: Any = None, server: Any = None, **timeouts: Any,
    ) -> Any:  # fmt: skip
        taken = self._take_over(rawsock)
        if taken is None:
            return super()._make_ssl_transport(  # type: ignore[misc]
                rawsock, protocol, sslcontext, waiter, server_side=server_side, server_hostname=server_hostname, extra=extra,
                server=server, **timeouts,
            )  # fmt: skip
        tls: Any = sslproto.SSLProtocol(self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts)
        self._make_socket_transport(taken, tls, server=server)
        return tls._app_transport

    # ---- sendfile ----

    async def _sendfile_fallback(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        if not isinstance(transp, Transport):
            return await super()._sendfile_fallback(transp, file, offset, count)  # type: ignore[misc, no-any-return]
        if offset:
            file.seek(offset)
        flow = _Flow(self, transp)
        sent = 0
        try:
            while count is None or sent < count:
                size = SENDFILE_BLOCK if count is None else min(SENDFILE_BLOCK, count - sent)
                data = await self.run_in_executor(None, file.read, size)
                if not data:
                    break
                await flow.drain()
                transp.write(data)
                sent += len(data)
        finally:
            if sent and hasattr(file, "seek"):
                file.seek(offset + sent)
            flow.restore()
        return sent


class _Flow(asyncio.Protocol):
    """Stands in for a transport's protocol while a file is sent: reads nothing, and knows when to wait.

    :param transport: whose protocol steps back until ``restore``
    """

    def __init__(self, loop: EventLoop, transport: Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._resume = transport.is_reading()
        self._room: asyncio.Future[None] | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def drain(self) -> None:
        """Wait for room.

        :raises ConnectionError: the connection is over
        """
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by peer")
        if self._room is not None:
            await self._room

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_exception(exc or ConnectionError("Connection is closed by peer"))
        self._protocol.connection_lost(exc)

    def restore(self) -> None:
        """The protocol is back."""
        self._transport.set_protocol(self._protocol)
        if self._room is not None:
            self._protocol.pause_writing()
        if self._resume:
            self._transport.resume_reading()


def linger(reactor: Reactor) -> None:
    """Poll until what was sent has been acknowledged, and what was closed has ended, for ``LINGER`` at most."""
    stack = reactor.stack
    now = reactor.clock()
    end = now + LINGER
    while now < end and stack.failure is None:
        try:
            deadline = stack.poll(now)
        except OSError:
            # The device has failed: nothing will be acknowledged any more.
            return
        if not any(isinstance(each, Connection) and each.orphan and each.state in UNFINISHED for each in stack.context.endpoints):
            return
        stack.wait(max(0, min(deadline, end) - now) if deadline != NEVER else end - now)
        now = reactor.clock()


def _is_address(address: Any) -> bool:
    return isinstance(address, tuple) and 2 <= len(address) <= 4 and isinstance(address[0], str)


def _give_up(opened: TransportSocket) -> None:
    """The kernel's socket has gone; if no transport has the connection, nobody will ask for it."""
    if isinstance(opened.connection.owner, Opening):
        opened.close()
