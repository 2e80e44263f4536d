"""TCP_INFO, field by field: what the stack and the kernel say of one connection, and of the same exchange with the roles changed."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from fastnet.devices import ImpairedDevice, Impairment
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket, create_connection, create_server
from fastnet.stack import Stack
from fastnet.tcpinfo import LAYOUT, TcpInfo
from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"


def info(sock: Any) -> TcpInfo:
    return TcpInfo.of(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, LAYOUT.size))


def settled(*socks: Any) -> list[TcpInfo]:
    """The infos once nothing is on its way and nothing changes any more."""
    before: list[TcpInfo] = []
    for _ in range(100):
        now = [info(sock) for sock in socks]
        if before and all(i.unacked == i.notsent_bytes == 0 for i in now) and [i.segs_in for i in now] == [i.segs_in for i in before]:
            return now
        before = now
        time.sleep(0.06)
    raise AssertionError(f"never quiet: {before}")


def read(sock: Any, size: int) -> None:
    while size:
        size -= len(sock.recv(size))


def talk(client: Any, server: Any) -> None:
    """Questions and answers, then something longer each way; each is waited for."""
    for sock in (client, server):
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(5):
        client.sendall(bytes(100))
        read(server, 100)
        server.sendall(bytes(300))
        read(client, 300)
    for a, b in ((client, server), (server, client)):
        a.sendall(bytes(12_000))
        read(b, 12_000)


def ends(driver: Driver, client: str) -> tuple[Any, Any]:
    """A connection: the client's end, and the server's. The kernel has Reno: BBR says other things."""
    if client == "stack":
        with socket.create_server((KERNEL, 7)) as server:
            ours: Any = create_connection(driver, (KERNEL, 7), timeout=10)
            theirs = server.accept()[0]
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
            return ours, theirs
    with create_server(driver, (STACK, 7)) as listener:
        listener.settimeout(10)
        theirs = socket.create_connection((STACK, 7), timeout=10)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        return theirs, listener.accept()[0]


def test_both_ends_and_both_roles(namespace: Namespace) -> None:
    with Driver(Stack(namespace.add_tun(), (STACK,))) as driver:
        of_role: dict[str, tuple[TcpInfo, TcpInfo]] = {}
        for who in ("kernel", "stack"):
            client, server = ends(driver, who)
            with client, server:
                talk(client, server)
                here, there = settled(client, server)
                of_role[who] = here, there
                for a, b in ((here, there), (there, here)):
                    assert a.data_segs_out == b.data_segs_in, who
                    assert a.bytes_sent == b.bytes_received == 13_500 - 1000 * (a is here), who
                    assert a.snd_mss == b.rcv_mss and a.advmss == b.advmss and a.pmtu == b.pmtu, who
                    assert a.snd_wnd == b.rcv_wnd or b.rcv_wnd == 0, who
                # The SYN-ACK is not counted at the server's end.
                assert here.segs_out == there.segs_in and here.segs_in == there.segs_out + 1, who
                assert here.snd_wscale == there.rcv_wscale and there.snd_wscale == here.rcv_wscale
        same = """
            state ca_state retransmits probes backoff options ato snd_mss rcv_mss unacked sacked lost retrans fackets last_ack_sent pmtu
            snd_ssthresh advmss reordering total_retrans bytes_acked bytes_received notsent_bytes data_segs_in data_segs_out delivered
            delivered_ce bytes_sent bytes_retrans dsack_dups reord_seen rcv_ooopack rehash total_rto total_rto_recoveries
            total_rto_time received_ce accecn_fail_mode max_pacing_rate rwnd_limited sndbuf_limited fastopen_client_fail
        """
        for position in (0, 1):
            kernel, stack = of_role["kernel"][position], of_role["stack"][position]
            for name in same.split():
                assert getattr(kernel, name) == getattr(stack, name), (name, position)
            for i in (kernel, stack):
                assert 0 <= i.busy_time < 3_000_000 and i.snd_cwnd >= 10 and 0 < i.min_rtt <= i.rtt
                assert 0 < i.last_data_recv < 10_000 and 0 < i.last_data_sent < 10_000 and i.rcv_space > 0


@pytest.mark.parametrize("client", ["kernel", "stack"])
def test_the_end_is_counted_like_the_kernel_s(namespace: Namespace, client: str) -> None:
    """A FIN is one sequence number, acknowledged and received, and no data."""
    with Driver(Stack(namespace.add_tun(), (STACK,))) as driver:
        here, there = ends(driver, client)
        with here, there:
            here.sendall(bytes(10))
            read(there, 10)
            here.shutdown(socket.SHUT_WR)
            assert there.recv(1) == b""
            a, b = settled(here, there)
            assert (a.bytes_acked, a.bytes_sent, a.data_segs_out) == (12, 10, 1)
            assert (b.bytes_received, b.data_segs_in) == (11, 1)


@pytest.mark.parametrize("sender", ["kernel", "stack"])
def test_loss_shows_at_both_ends(namespace: Namespace, sender: str) -> None:
    device = ImpairedDevice(namespace.add_tun(), Impairment(loss=0.02), seed=3)
    with Driver(Stack(device, (STACK,))) as driver:
        source, target = ends(driver, sender)
        with source, target:
            target.settimeout(60)
            size = 1_500_000
            source.settimeout(60)
            thread = threading.Thread(target=source.sendall, args=(bytes(size),))
            thread.start()
            read(target, size)
            thread.join()
            a, b = settled(source, target)
            assert a.bytes_sent - a.bytes_retrans == b.bytes_received == size == a.bytes_acked - 1
            assert a.bytes_retrans > 0 and a.total_retrans >= a.bytes_retrans // a.snd_mss and b.rcv_ooopack > 0
            assert a.data_segs_out > b.data_segs_in >= size // a.snd_mss
            assert a.delivered >= size // a.snd_mss and a.busy_time > 1000 and a.snd_ssthresh < 0x7FFFFFFF


@pytest.mark.parametrize("sender", ["kernel", "stack"])
def test_who_holds_the_sender_back(namespace: Namespace, sender: str) -> None:
    """A peer that does not read: the window is what the sender waits for."""
    with Driver(Stack(namespace.add_tun(), (STACK,))) as driver:
        source, target = ends(driver, sender)
        with source, target:
            source.setblocking(False)
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                try:
                    source.send(bytes(100_000))
                except BlockingIOError:
                    time.sleep(0.02)
            i = info(source)
            assert i.rwnd_limited > 200_000 and i.busy_time >= i.rwnd_limited and i.notsent_bytes > 0


def test_the_view_of_bytes_that_a_shorter_kernel_gives() -> None:
    whole = TcpInfo(state=1, wscale=0x73, total_rto=3, bytes_acked=1 << 40)
    raw = LAYOUT.pack(*(getattr(whole, name) for name in TcpInfo.__slots__))
    assert TcpInfo.of(raw) == whole and (whole.snd_wscale, whole.rcv_wscale) == (3, 7)
    assert TcpInfo.of(raw[:240]).total_rto == 0 and TcpInfo.of(raw[:240]).bytes_acked == 1 << 40


def test_a_socket_says_it_in_words(namespace: Namespace) -> None:
    with Driver(Stack(namespace.add_tun(), (STACK,))) as driver:
        client, server = ends(driver, "kernel")
        with client, server:
            assert isinstance(server, Socket)
            said = server.tcp_info()
            assert isinstance(said, TcpInfo) and said.state == 1 and said.snd_mss == 1448
