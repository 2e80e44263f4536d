"""What a kernel keeps for an open TCP socket, however many descriptors lead to it: Linux's ``struct socket``.

``fastnet.socket`` gives it the shape of the standard library's sockets. Every method here is called with the driver's lock held, and told
until when it may wait: a deadline on ``time.monotonic``, 0.0 for not at all, None for as long as it takes.
"""

import contextlib
import errno
import os
import socket as stdlib
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from fastnet.descriptor import ENDED, ERROR, HANG_UP, READ_HANG_UP, READABLE, WRITABLE, Descriptor
from fastnet.driver import Driver
from fastnet.ip.addresses import ANY
from fastnet.names import Name, shown
from fastnet.sockopt import IP_BIND_ADDRESS_NO_PORT, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE, Options, fail
from fastnet.tcp.connection import Connection
from fastnet.tcp.fastconnect import FastConnection
from fastnet.tcp.listener import Listener
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.states import State
from fastnet.tcpinfo import tcp_info

# What Linux's struct socket knows of a connect, which is not the state of its connection (__inet_stream_connect()): after a connect
# with a timeout has come to its end, the next one still finds it under way, and tells how it ended.
UNCONNECTED = 0
CONNECTING = 1
CONNECTED = 2

OPENING = (State.SYN_SENT, State.SYN_RECEIVED)
OVER = (State.CLOSED, State.TIME_WAIT)

FAMILIES = (stdlib.AF_INET, stdlib.AF_INET6)
Address = tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, int]
"""As the standard library has them: host and port; of AF_INET6 also flow information and scope, neither of which matters here."""
Buffer = bytes | bytearray | memoryview


class OpenSocket:
    """An open TCP socket.

    :param driver: whose stack it belongs to
    :param connection: one that was accepted
    :param family: AF_INET or AF_INET6
    :ivar name: the local address and port that it has taken, None before; a connection's own address is more exact than "0.0.0.0". An IPv4
        address is written as one, also here of AF_INET6
    :ivar connection: its connection, None without
    :ivar listener: what listens, None without
    :ivar closed: the last that led to it was closed
    """

    def __init__(
        self, driver: Driver, connection: Connection | None = None, options: Options | None = None, family: int = stdlib.AF_INET
    ) -> None:
        if family not in FAMILIES:
            fail(errno.EAFNOSUPPORT)
        self.driver = driver
        self.family = family
        self.connection = connection
        self.listener: Listener | None = None
        self.closed = False
        self.name: Name | None = None
        self._changed = threading.Condition(driver.lock)
        self._options = options or Options(driver.stack.settings, family)
        self._phase = UNCONNECTED
        # Whether the program asked for the port, and the address that it asked for.
        self._bound = False
        self._bound_host = "::" if family == stdlib.AF_INET6 else "0.0.0.0"
        self._shut_read = False
        self._error = 0
        # Where a connect with TCP_FASTOPEN_CONNECT leads: the SYN waits for the first data.
        self._put_off: Name | None = None
        # The last send said MSG_MORE.
        self._more = False
        self._holders = 1
        # Made when somebody asks for it.
        self._descriptor: Descriptor | None = None
        if connection is not None:
            connection.owner = self
            self._phase = CONNECTED
            flow = connection.handshake.flow
            self.name = (flow.local_address, flow.local_port)

    def ready(self, now: int) -> None:
        """The endpoint has news; called with the driver's lock held."""
        self.wake()

    def wake(self) -> None:
        """Have whoever waits look again."""
        self._changed.notify_all()
        self._show()

    # ---- who leads to it ----

    @classmethod
    def none(cls, driver: Driver, family: int) -> "OpenSocket":
        """What a closed descriptor leads to: all calls end with EBADF."""
        none = cls(driver, family=family)
        none.closed = True
        return none

    @property
    def shared(self) -> bool:
        """Does more than one lead to it?"""
        return self._holders > 1

    def hold(self) -> None:
        """One more leads to it."""
        self._holders += 1

    def release(self) -> None:
        """One less; the last one closes it."""
        if self.closed:
            return
        self._holders -= 1
        if not self._holders:
            self._close()

    def show_on(self, number: int = -1) -> int:
        """A descriptor that shows its state.

        :param number: one that is open, to be replaced; otherwise a new one
        """
        if self._descriptor is None:
            self._descriptor = Descriptor(self)
        number = self._descriptor.add(number)
        self._show()
        return number

    def adopt(self, number: int) -> None:
        """Somebody has an object for a descriptor that ``descriptor.find`` has found: a new one, or one that leads here already."""
        if self._descriptor is not None and number not in self._descriptor.numbers:
            self._descriptor.numbers.append(number)
            self.hold()

    def leads_here(self, number: int) -> bool:
        """Is a descriptor that somebody has an object for still one of this, and not of another file by now?"""
        return self._descriptor is not None and self._descriptor.has(number)

    def let_go(self, number: int) -> None:
        """An object that had no descriptor, or the descriptor that it had, leads here no more; the caller closes that."""
        if number < 0:
            self.release()
        elif self._descriptor is not None and number in self._descriptor.numbers:
            self._descriptor.remove(number)
            if not self._descriptor.numbers:
                self._descriptor = None
            self.release()

    def abandon(self, number: int) -> None:
        """The same for an object that is gone and that nobody has closed."""
        ours = self.leads_here(number)
        self.let_go(number)
        if ours:
            os.close(number)

    def _show(self) -> None:
        if self._descriptor is None:
            return
        try:
            self._descriptor.show(self._events())
        except OSError:
            # A program that closes descriptors which are not its own (os.closerange(), a second os.close()) has spoiled this socket's; the
            # thread that polls for all the others goes on.
            self._descriptor.close()

    def _events(self) -> int:
        """What tcp_poll() says. A socket that never had a connection lacks its EPOLLHUP."""
        if self.driver.stack.failure is not None:
            # Whatever is called now returns at once.
            return ENDED | ERROR
        if self.listener is not None:
            return READABLE if self.listener.accept_queue else 0
        connection = self.connection
        events = ERROR if self._error else 0
        if connection is None:
            return events | WRITABLE
        state = connection.state
        if connection.error:
            events |= ERROR
        if self._is_opening():
            return events
        if state in OVER:
            return events | ENDED
        if connection.fin_received or self._shut_read:
            events |= READABLE | READ_HANG_UP
        elif connection.readable():
            events |= READABLE
        if state not in (State.ESTABLISHED, State.CLOSE_WAIT, State.SYN_RECEIVED):
            events |= WRITABLE
            if events & READ_HANG_UP:
                events |= HANG_UP
        elif self._has_room(connection):
            events |= WRITABLE
        return events

    def _has_room(self, connection: Connection) -> bool:
        sender = connection.sender
        if sender is None:
            return True
        if connection.writable() == 0:
            # So that it is told when that changes, even if it was not a send that filled it.
            sender.full = True
        return not sender.full

    # ---- names ----

    def bind(self, host: str, port: int) -> None:
        """Take a local address and port; port 0 draws a free one, with IP_BIND_ADDRESS_NO_PORT only when it is needed.

        :raises OSError: EINVAL (has a name already, or an IPv4 address with IPV6_V6ONLY), EADDRNOTAVAIL (not an address of the stack),
            EADDRINUSE
        """
        self._check_open()
        if host not in ANY and not self.driver.stack.is_local(host):
            fail(errno.EADDRNOTAVAIL)
        if self.name is not None or self.v6only and ":" not in host:
            fail(errno.EINVAL)
        if port == 0 and self._options.value(stdlib.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT):
            self.name = (host, 0)
        else:
            self._take_port(host, port)
        self._bound_host = host
        if ":" in host and host != "::":
            # As on Linux: such a socket is of IPv6 alone.
            self._options.put(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY, 1)

    def _take_port(self, host: str, port: int) -> None:
        self.name = (host, self.driver.names.bind(self, host, port))
        self._bound = True

    @property
    def reuse(self) -> bool:
        """SO_REUSEADDR."""
        return bool(self._options.value(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR))

    @property
    def listening(self) -> bool:
        """Does it listen?"""
        return self.listener is not None

    @property
    def v6only(self) -> bool:
        """IPV6_V6ONLY."""
        return bool(self._options.value(stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY))

    def local(self) -> Any:
        """Local address and port; ("0.0.0.0", 0) or ("::", 0, 0, 0) before there is one."""
        self._check_open()
        if self.connection is not None:
            flow = self.connection.handshake.flow
            return shown(self.family, flow.local_address, flow.local_port)
        return shown(self.family, *(self.name or (self._bound_host, 0)))

    def peer(self) -> Any:
        """The peer's address and port.

        :raises OSError: ENOTCONN
        """
        connection = self._need_connection()
        if connection.state in (State.CLOSED, State.SYN_SENT):
            fail(errno.ENOTCONN)
        return self.remote()

    def remote(self) -> Any:
        """The other end of the connection, whatever its state."""
        assert self.connection is not None
        flow = self.connection.handshake.flow
        return shown(self.family, flow.remote_address, flow.remote_port)

    @property
    def state(self) -> State:
        """STATUS: the state of RFC 9293 that it is in."""
        if self.listener is not None and not self.closed:
            return State.LISTEN
        return State(self.connection.state) if self.connection is not None else State.CLOSED

    # ---- connecting ----

    def connect(self, host: str, port: int, timeout: float | None, deadline: float | None) -> None:
        """Active OPEN, and wait for its outcome.

        :param timeout: the socket's: whether it waits decides who tells the outcome
        :raises OSError: as ``fastnet.socket.Socket.connect``
        """
        self._check_open()
        if self._phase == CONNECTED or self.listener is not None:
            fail(errno.EISCONN)
        if self._put_off is not None:
            fail(errno.EISCONN)
        began = self._phase == UNCONNECTED
        if began and self._options.value(stdlib.IPPROTO_TCP, TCP_FASTOPEN_CONNECT) and self._may_send_at_once(host):
            self._put_off = (host, port)
            return
        if began:
            self._open(host, port, fast=bool(self._options.value(stdlib.IPPROTO_TCP, TCP_FASTOPEN_CONNECT)))
        self._wait_until_open(timeout, deadline, began)

    def _wait_until_open(self, timeout: float | None, deadline: float | None, began: bool) -> None:
        if self._is_opening():
            if timeout is not None and (timeout == 0.0 or not began):
                self._turn()
                fail(errno.EINPROGRESS if began else errno.EALREADY)
            while self._is_opening():
                self._wait(deadline)
                self._check_open()
            if timeout is not None:
                # The standard library waits in poll() here and asks SO_ERROR; the kernel's socket is none the wiser.
                self._raise_error()
                return
        connection = self.connection
        if connection is None or connection.state == State.CLOSED:
            error = self._take_error() or errno.ECONNABORTED
            self._disconnect()
            fail(error)
        self._phase = CONNECTED

    def connect_with(self, host: str, port: int, view: memoryview, deadline: float | None) -> int:
        """Active OPEN with data for the SYN (MSG_FASTOPEN); how many bytes were taken.

        Without a cookie the SYN asks for one, and what does not wait is told EINPROGRESS and has nothing taken, as on Linux.

        :raises OSError: EOPNOTSUPP (tcp_fastopen), EISCONN, EALREADY, and as ``connect``
        """
        self._check_open()
        if not self.driver.stack.settings.tcp_fastopen & 1:
            fail(errno.EOPNOTSUPP)
        if self._phase == CONNECTED or self.listener is not None:
            fail(errno.EISCONN)
        if self._phase == CONNECTING:
            fail(errno.EALREADY)
        if self._put_off is not None:
            host, port = self._put_off
        waits = deadline != 0.0
        at_once = self._may_send_at_once(host)
        taken = self._open(host, port, view if waits or at_once else None, True)
        self._put_off = None
        if not waits and at_once and taken:
            self._turn()
            return taken
        self._wait_until_open(None if waits else 0.0, deadline, True)
        return taken

    def _may_send_at_once(self, host: str) -> bool:
        """Would a SYN to there bring data?"""
        return self.driver.stack.may_send_at_once(host, bool(self._options.value(stdlib.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE)))

    def _open(self, host: str, port: int, view: memoryview | None = None, fast: bool = False) -> int:
        if port == 0:
            # Linux sends a SYN even so; nobody can listen there.
            fail(errno.ECONNREFUSED)
        if self.v6only and ":" not in host:
            fail(errno.ENETUNREACH)
        local, local_port = self.name or (self._bound_host, 0)
        if ":" in host and ":" not in local:
            # No packet of IPv6 has an IPv4 source.
            fail(errno.EAFNOSUPPORT)
        taken = 0

        def prepare(connection: ActiveConnection) -> None:
            nonlocal taken
            self._options.apply(connection)
            if isinstance(connection, FastConnection):
                connection.cookieless = bool(self._options.value(stdlib.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE))
            if view is not None:
                taken = connection.send(view)

        try:
            connection = self.driver.stack.connect(host, port, local, local_port, prepare, fast)
        except OSError as error:
            fail(errno.EADDRNOTAVAIL if error.errno == errno.EADDRINUSE else error.errno or errno.EINVAL)
        except ValueError:
            # A stack with networks for addresses has none to choose.
            fail(errno.EADDRNOTAVAIL)
        connection.owner = self
        self.connection = connection
        self._phase = CONNECTING
        self._error = 0
        if not local_port:
            flow = connection.handshake.flow
            self.name = (flow.local_address, flow.local_port)
            self.driver.names.take(self, *self.name)
        self.driver.flush()
        self._show()
        return taken

    def _is_opening(self) -> bool:
        # One that was accepted in SYN-RECEIVED, with TCP Fast Open, is as good as open.
        return self._phase != CONNECTED and self.connection is not None and self.connection.state in OPENING

    def _disconnect(self) -> None:
        """Back to a socket without a connection (tcp_disconnect()): it keeps its port, and an address that the program bound."""
        if self.connection is not None:
            self.connection.owner = None
            self.connection = None
        self._phase = UNCONNECTED
        self._put_off = None
        self._shut_read = False
        if self.name is not None and not self._bound:
            self.driver.names.leave(self, *self.name, False)
            self.name = (self._bound_host, self.name[1])
            self.driver.names.take(self, *self.name)
        self._show()

    # ---- listening ----

    def listen(self, backlog: int) -> None:
        """Passive OPEN; on a listener, set a new backlog.

        :raises OSError: EINVAL (connected), EADDRINUSE
        """
        self._check_open()
        if self.connection is not None:
            fail(errno.EINVAL)
        self._check_device()
        if self.listener is not None:
            self.listener.set_backlog(backlog)
            return
        if self.name is None or not self.name[1]:
            self._take_port(self._bound_host, 0)
        assert self.name is not None
        self.driver.names.check_listening(self, *self.name)
        self.listener = self.driver.stack.listen(*self.name, backlog, self.v6only)
        self.listener.owner = self
        self._options.apply_to_listener(self.listener)
        self._show()

    def accept(self, deadline: float | None) -> "OpenSocket":
        """Wait for a connection. It has the options that are set here now.

        :raises OSError: EINVAL (not listening)
        """
        while True:
            self._check_open()
            if self.listener is None:
                fail(errno.EINVAL)
            connection = self.listener.accept()
            if connection is not None:
                self._options.apply_to_accepted(connection)
                accepted = OpenSocket(self.driver, connection, self._options.inherited(), self.family)
                self.driver.flush()
                self._show()
                return accepted
            self._wait(deadline)

    # ---- data ----

    def receive(self, size: int, flags: int, deadline: float | None) -> bytes:
        """RECEIVE at most ``size`` bytes, with MSG_WAITALL as many; b"" at the end."""
        if flags & stdlib.MSG_WAITALL and not flags & stdlib.MSG_PEEK:
            whole = bytearray(size)
            return bytes(whole[: self.receive_into(memoryview(whole), flags, deadline)])
        connection = self._readable(size, flags, deadline)
        if connection is None:
            return b""
        if flags & stdlib.MSG_PEEK:
            assert connection.receiver is not None
            return connection.receiver.buffer.peek(0, size)
        data = connection.receive(size)
        self.driver.flush()
        self._show()
        return data

    def receive_into(self, target: memoryview, flags: int, deadline: float | None) -> int:
        """RECEIVE into memory; how many bytes."""
        # The kernel, too, returns what there is where it may not wait.
        to_fill = len(target) if flags & stdlib.MSG_WAITALL and deadline is None else 1
        taken = 0
        while True:
            try:
                connection = self._readable(len(target), flags, deadline)
            except OSError:
                if taken:
                    return taken
                raise
            if connection is None:
                return taken
            assert connection.receiver is not None
            if flags & stdlib.MSG_PEEK:
                data = connection.receiver.buffer.peek(0, len(target))
                target[: len(data)] = data
                return len(data)
            size = connection.receiver.buffer.take_into(target)
            connection.was_read()
            self.driver.flush()
            self._show()
            taken += size
            if taken >= to_fill:
                return taken
            target = target[size:]

    def _readable(self, size: int, flags: int, deadline: float | None) -> Connection | None:
        """The connection, once bytes can be read; None at the end, or if none are wanted."""
        while True:
            if self._put_off is not None:
                # Nothing comes before something was sent.
                self._check_open()
                self._wait(deadline)
                continue
            connection = self._need_connection()
            if flags & stdlib.MSG_OOB:
                fail(errno.EINVAL)
            if connection.readable() and size:
                return connection
            if size == 0 or connection.fin_received or self._shut_read:
                return None
            self._raise_error()
            self._check_device()
            if connection.state == State.CLOSED:
                return None
            self._wait(deadline)

    def send(self, view: memoryview, flags: int, deadline: float | None) -> int:
        """SEND, at least one byte; how many were taken."""
        if self._put_off is not None and len(view):
            return self.connect_with(*self._put_off, view, deadline)
        while True:
            self._check_open()
            self._raise_error()
            self._check_device()
            connection = self._need_connection(errno.EPIPE)
            # While the connection is being opened, a send waits for that.
            if not self._is_opening():
                more = flags & stdlib.MSG_MORE != 0
                taken = connection.send_urgent(view) if flags & stdlib.MSG_OOB else connection.send(view)
                if taken or not len(view):
                    if more != self._more:
                        connection.set_cork(more or bool(self._options.value(stdlib.IPPROTO_TCP, stdlib.TCP_CORK)))
                        self._more = more
                    self.driver.flush()
                    self._show()
                    return taken
                self._show()
            self._wait(deadline)

    # ---- the end ----

    def shutdown(self, how: int) -> None:
        """Close one direction, or both. What is still being opened is given up, and a listener stops with SHUT_RD, as on Linux.

        :raises OSError: ENOTCONN, EINVAL (not SHUT_RD, SHUT_WR or SHUT_RDWR)
        """
        self._check_open()
        if how not in (stdlib.SHUT_RD, stdlib.SHUT_WR, stdlib.SHUT_RDWR):
            fail(errno.EINVAL)
        if self.listener is not None:
            if how != stdlib.SHUT_WR:
                self.listener.close(self.driver.stack.clock())
                self.listener = None
                # What nobody has accepted is reset now.
                self.driver.flush()
                self.wake()
            return
        connection = self._need_connection()
        if connection.state == State.CLOSED:
            fail(errno.ENOTCONN)
        if connection.state == State.SYN_SENT:
            connection.abort(self.driver.stack.clock())
            self._disconnect()
            # As tcp_disconnect() leaves it.
            self._error = errno.ECONNRESET
            self.wake()
            return
        if how != stdlib.SHUT_WR:
            self._shut_read = True
        if how != stdlib.SHUT_RD:
            connection.shutdown()
            self.driver.flush()
        self.wake()

    def _close(self) -> None:
        """CLOSE. Bytes left unread, or SO_LINGER of 0 s, make it a RST; SO_LINGER of some seconds waits for the last ACK."""
        self.closed = True
        now = self.driver.stack.clock()
        if self.name is not None:
            self.driver.names.leave(self, *self.name, self._bound)
        if self.listener is not None:
            self.listener.close(now)
            # What nobody has accepted is reset now.
            self.driver.flush()
        connection = self.connection
        if connection is not None:
            on, seconds = self._options.value(stdlib.SOL_SOCKET, stdlib.SO_LINGER)
            if on and seconds == 0:
                connection.abort(now)
            else:
                connection.close(now)
            self.driver.flush()
            if on and seconds:
                self._wait_for_last_ack(connection, time.monotonic() + seconds)
        self._changed.notify_all()

    def _wait_for_last_ack(self, connection: Connection, deadline: float) -> None:
        unacknowledged = (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
        # Where nobody polls any more there is nothing to wait for, and nothing that close() could tell.
        with contextlib.suppress(OSError):
            while connection.state in unacknowledged and self.driver.wait(self._changed, deadline):
                pass

    # ---- options: sockopt.py has them ----

    def set_option(self, level: int, option: int, raw: bytes) -> None:
        """Set an option, from the bytes that a kernel would see.

        :raises OSError: ENOPROTOOPT, EINVAL, ENOENT
        """
        self._check_open()
        if (level, option) == (stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY) and self.name is not None and self.name[1]:
            # Who shares the port was decided by it.
            fail(errno.EINVAL if self.family == stdlib.AF_INET6 else errno.ENOPROTOOPT)
        self._options.set(level, option, raw, self.connection, self.listener)
        # What waited may go now, and a timer may have been set.
        self.driver.flush()
        self._show()

    def option(self, level: int, option: int) -> bytes:
        """An option, or what there is to know, as the bytes that a kernel would give.

        :raises OSError: ENOPROTOOPT
        """
        self._check_open()
        if (level, option) == (stdlib.IPPROTO_TCP, stdlib.TCP_INFO):
            return tcp_info(self.connection, self.listener, self.driver.stack.clock())
        if level == stdlib.SOL_SOCKET and option in STATUS:
            return struct.pack("i", STATUS[option](self))
        return self._options.get(level, option, self.connection)

    # ---- what all need ----

    def _check_open(self) -> None:
        if self.closed:
            fail(errno.EBADF)

    def _need_connection(self, otherwise: int = errno.ENOTCONN) -> Connection:
        self._check_open()
        if self.connection is None:
            fail(otherwise)
        return self.connection

    def _take_error(self) -> int:
        # As SO_ERROR: told once; after that the connection is just closed.
        error, self._error = self._error, 0
        connection = self.connection
        if not error and connection is not None:
            error, connection.error = connection.error, 0
        if error:
            self._show()
        return error

    def _status(self) -> int:
        # SO_ERROR: also what ICMP said and no call has failed for.
        error = self._take_error()
        if not error and self.connection is not None:
            error, self.connection.soft_error = self.connection.soft_error, 0
        if not error and self.driver.stack.failure is not None:
            error = errno.ENETDOWN
        return error

    def _raise_error(self) -> None:
        error = self._take_error()
        if error:
            fail(error)

    def _check_device(self) -> None:
        # Also for the second call, and for what never had a connection.
        if self.driver.stack.failure is not None:
            raise self.driver.stack.down()

    def _wait(self, deadline: float | None) -> None:
        self._check_device()
        if deadline == 0.0:
            self._turn()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not self.driver.wait(self._changed, deadline):
            raise TimeoutError("timed out")

    def _turn(self) -> None:
        # By hand: give the stack one turn, so that a loop over a non-blocking socket gets somewhere.
        if not self.driver.threaded:
            self.driver.step(0)


STATUS: dict[int, Callable[[OpenSocket], int]] = {
    stdlib.SO_ACCEPTCONN: lambda s: s.listener is not None,
    stdlib.SO_DOMAIN: lambda s: s.family,
    stdlib.SO_ERROR: OpenSocket._status,
    stdlib.SO_PROTOCOL: lambda s: stdlib.IPPROTO_TCP,
    stdlib.SO_TYPE: lambda s: stdlib.SOCK_STREAM,
}
"""Options of SOL_SOCKET that can only be read."""

