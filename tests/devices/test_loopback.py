"""A stack that talks to itself."""

import errno
import socket
import threading

import pytest

from fastnet.clock import ManualClock
from fastnet.devices import LoopbackDevice, MemoryDevice
from fastnet.driver import Driver
from fastnet.socket import Socket, create_connection, create_server
from fastnet.stack import Stack
from fastnet.tcp.states import State

ADDRESSES = ("198.18.0.1", "198.18.0.2")


def test_a_connection_to_oneself_without_a_clock() -> None:
    """Both ends are in one stack: two 4-tuples that mirror each other."""
    clock = ManualClock()
    stack = Stack(LoopbackDevice(), ADDRESSES, clock=clock)
    listener = stack.listen("0.0.0.0", 80)
    client = stack.connect("198.18.0.2", 80)
    for _ in range(5):
        stack.poll(clock())
    server = listener.accept()
    assert server is not None and client.state == server.state == State.ESTABLISHED
    there, here = client.handshake.flow, server.handshake.flow
    assert (there.local_address, there.local_port) == (here.remote_address, here.remote_port) == ("198.18.0.2", there.local_port)
    client.send(b"hello")
    for _ in range(5):
        stack.poll(clock())
    assert server.receive(10) == b"hello"


def test_it_is_as_large_as_said() -> None:
    """Its MTU goes into the MSS that is offered, and its limit bounds what waits."""
    device = LoopbackDevice()
    assert Stack(device, ADDRESSES).context.writer.ipv4.mss == 16384 - 40
    for _ in range(4096 + 3):
        device.inject(b"x")
    assert device.dropped == 3


def test_simultaneous_open_with_oneself() -> None:
    """One socket, connected to its own name (RFC 9293 section 3.5, figure 7, with one end twice): Linux does it too."""
    with Driver(Stack(LoopbackDevice(), ADDRESSES)) as driver, Socket(driver) as sock:
        sock.settimeout(10)
        sock.bind(("198.18.0.1", 4000))
        sock.connect(("198.18.0.1", 4000))
        assert sock.getsockname() == sock.getpeername() == ("198.18.0.1", 4000)
        sock.sendall(b"to myself")
        assert sock.recv(100) == b"to myself"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
        assert driver.stack.counters.IpInAddrErrors == 0


@pytest.mark.parametrize("mtu", [576, 16384])
def test_bytes_both_ways(mtu: int) -> None:
    with Driver(Stack(LoopbackDevice(mtu), ADDRESSES)) as driver, create_server(driver, ("", 0)) as listener:
        client = create_connection(driver, ("198.18.0.1", listener.getsockname()[1]), timeout=20)
        server, peer = listener.accept()
        assert peer == client.getsockname() and peer[0] == "198.18.0.1"
        data = bytes(range(256)) * 8000

        def echo() -> None:
            rest = len(data)
            while rest:
                chunk = server.recv(50_000)
                server.sendall(chunk)
                rest -= len(chunk)

        thread = threading.Thread(target=echo)
        thread.start()
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        back = bytearray()
        while len(back) < len(data):
            back += client.recv(1 << 16)
        sender.join(20)
        thread.join(20)
        assert back == data
        client.close()
        server.close()


def test_nobody_else_is_reached_and_nobody_listens() -> None:
    with Driver(Stack(LoopbackDevice(), ADDRESSES)) as driver:
        with pytest.raises(ConnectionRefusedError):
            create_connection(driver, ("198.18.0.2", 80))
        with pytest.raises(OSError, match="unreachable") as failure:
            create_connection(driver, ("198.18.0.3", 80))
        assert failure.value.errno == errno.ENETUNREACH


def test_127_0_0_1_is_an_address_like_any_other_here() -> None:
    with Driver(Stack(LoopbackDevice(), ("127.0.0.1",))) as driver, create_server(driver, ("127.0.0.1", 80)) as listener:
        client = create_connection(driver, ("127.0.0.1", 80), timeout=10)
        server, peer = listener.accept()
        assert peer == client.getsockname() and peer[0] == "127.0.0.1"
        client.close()
        server.close()


def test_another_device_is_not_asked_to() -> None:
    """What goes to the stack itself is delivered without it; 127.0.0.0/8 is for devices that loop back."""
    stack = Stack(MemoryDevice(), ADDRESSES)
    listener = stack.listen("198.18.0.1", 80)
    stack.connect("198.18.0.1", 80)
    stack.flush(stack.clock())
    assert listener.accept() is not None and stack.device.drain() == []
    with pytest.raises(OSError, match="no TCP connection"):
        stack.connect("127.0.0.1", 80)


def test_a_full_device_drops_and_says_so() -> None:
    device = LoopbackDevice(limit=1)
    stack = Stack(device, ADDRESSES)
    for _ in range(3):
        stack.connect("198.18.0.2", 80)
    stack.flush(stack.clock())
    assert device.dropped == 2 and stack.counters.DeviceTxErrors == 2
