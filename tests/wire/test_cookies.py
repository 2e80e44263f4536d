"""SYN cookies with the kernel's own clients, and under a flood from addresses that do not exist."""

import socket
import threading
import time

import numpy as np

from fastnet.driver import Driver
from fastnet.load.memory import SYN, SYN_OPTIONS, MemoryClient
from tests.wire.test_kernel_clients import connect, listening


def test_the_kernels_options_survive_a_cookie(driver: Driver) -> None:
    """Timestamps, SACK, window scale; and a megabyte each way."""
    listener = listening(driver)
    assert listener.listener is not None
    listener.listener.set("tcp_syncookies", 2)
    data = bytes(range(256)) * 4096
    heard = []

    def client() -> None:
        with connect() as sock:
            sender = threading.Thread(target=sock.sendall, args=(data,))
            sender.start()
            got = b""
            while len(got) < len(data):
                got += sock.recv(1 << 20)
            sender.join()
            heard.append(got)

    thread = threading.Thread(target=client)
    thread.start()
    connection, _ = listener.accept()
    with driver.lock:
        (handshake,) = (e.handshake for e in driver.stack.context.endpoints if hasattr(e, "handshake"))
        assert handshake.timestamps and handshake.sack and handshake.wscale and handshake.snd_shift > 0 and handshake.mss == 1460
    left = len(data)
    while left:
        part = connection.recv(1 << 20)
        left -= len(part)
        connection.sendall(part)
    thread.join(10)
    connection.close()
    assert heard == [data]
    counters = driver.stack.counters
    assert (counters.SyncookiesSent, counters.SyncookiesRecv, counters.SyncookiesFailed) == (1, 1, 0)


def test_a_flood_keeps_no_client_out(driver: Driver) -> None:
    """A syn queue of 17, some thousand SYNs, and a hundred clients, none of which has to send its SYN twice."""
    listener = listening(driver, backlog=16)
    flows = np.arange(20_000, dtype=np.uint32)
    packets = [bytes(packet) for packet in MemoryClient(1, port=8080).batch(flows, flows, 0, SYN, SYN_OPTIONS)]
    over = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            while not over.is_set():
                for i, packet in enumerate(packets):
                    raw.sendto(packet, ("198.18.0.2", 0))
                    # Not so fast that the device's queue is what loses SYNs.
                    if i % 20 == 0:
                        time.sleep(0.01)
                    if over.is_set():
                        return

    def serve() -> None:
        for _ in range(100):
            with listener.accept()[0] as connection:
                connection.sendall(connection.recv(100))

    server = threading.Thread(target=serve)
    # Threads are born in the namespace.
    attacker = threading.Thread(target=flood)
    attacker.start()
    deadline = time.monotonic() + 10
    while driver.stack.counters.SyncookiesSent < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    server.start()
    took = []
    for i in range(100):
        started = time.monotonic()
        with connect() as sock:
            took.append(time.monotonic() - started)
            sock.sendall(b"%d" % i)
            assert sock.recv(100) == b"%d" % i
    over.set()
    attacker.join()
    server.join(10)
    assert not server.is_alive()
    counters = driver.stack.counters
    assert counters.SyncookiesRecv >= 90 and counters.SyncookiesFailed == 0 and counters.TCPReqQFullDrop == 0
    assert sorted(took)[95] < 0.9, "a SYN that is lost comes again after a second"
