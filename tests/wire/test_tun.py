"""The TUN device and private namespaces: what goes in and out, what goes wrong, and what is left behind."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import dpkt
import pytest

from fastnet._ring import PacketRing
from fastnet._tun import Tun
from fastnet.netns import Namespace, isolated, sysctl

INTERFACES = "import os; print(sorted(os.listdir('/sys/class/net')))"


def links() -> list[str]:
    """Interfaces of the calling thread's network namespace."""
    with open("/proc/thread-self/net/dev") as file:
        return [line.split(":")[0].strip() for line in file.readlines()[2:]]


def receive(tun: Tun, ring: PacketRing, wanted: int) -> None:
    deadline = time.monotonic() + 5
    while ring.count < wanted and time.monotonic() < deadline:
        tun.wait(100_000_000)
        tun.receive(ring)


def test_packets_both_ways(namespace: Namespace) -> None:
    tun = namespace.add_tun()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("198.18.0.1", 5000))
        sock.settimeout(5)
        for i in range(5):
            sock.sendto(b"out %d" % i, ("198.18.0.2", 6000))
        ring = PacketRing(3, 2048)
        receive(tun, ring, 3)
        assert ring.count == 3, "as many as fit"
        assert tun.receive(ring) == 0
        packets = [dpkt.ip.IP(ring.packet(i).tobytes()) for i in range(3)]
        assert [packet.data.data for packet in packets] == [b"out 0", b"out 1", b"out 2"]
        ring.clear()
        receive(tun, ring, 2)
        assert ring.count == 2
        ring.clear()
        for i in range(3):
            udp = dpkt.udp.UDP(sport=6000, dport=5000, data=b"in %d" % i)
            udp.ulen = len(udp)
            ring.append(bytes(dpkt.ip.IP(src=socket.inet_aton("198.18.0.2"), dst=socket.inet_aton("198.18.0.1"), p=17, data=udp)))
        assert tun.transmit(ring) == 3 and ring.count == 0
        assert [sock.recv(100) for _ in range(3)] == [b"in 0", b"in 1", b"in 2"]


def test_what_the_kernel_refuses_is_counted(namespace: Namespace) -> None:
    tun = namespace.add_tun()
    ring = PacketRing(4, 2048)
    ring.append(b"\xff not a packet of any version")
    ring.append(b"")
    assert tun.transmit(ring) == 0
    assert tun.tx_errors == 2 and tun.last_errno == errno.EINVAL


def test_wait_and_wake(namespace: Namespace) -> None:
    tun = namespace.add_tun()
    ring = PacketRing(16, 2048)
    while tun.wait(50_000_000):
        tun.receive(ring)
        ring.clear()
    started = time.monotonic()
    assert not tun.wait(20_000_000)
    assert time.monotonic() - started >= 0.02
    tun.wake()
    assert not tun.wait(5_000_000_000), "woken before it slept"
    threading.Timer(0.1, tun.wake).start()
    assert not tun.wait(5_000_000_000), "woken by another thread"
    assert time.monotonic() - started < 4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("198.18.0.2", 1))
    assert tun.wait(5_000_000_000), "packets wait"


def test_mtu_is_set_on_the_interface(namespace: Namespace) -> None:
    tun = namespace.add_tun(mtu=1280)
    assert "mtu 1280" in subprocess.run(["ip", "link", "show", tun.name], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("mtu", [0, 67, 65536, -5])
def test_mtu_out_of_range(mtu: int) -> None:
    with pytest.raises(ValueError, match="68 to 65535"):
        Tun("x", mtu)


@pytest.mark.parametrize("name", ["sixteen-letters-", "with blank", "a/b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="interface name"):
        Tun(name)


def test_a_name_in_use(namespace: Namespace) -> None:
    with Tun("taken"):
        with pytest.raises(OSError, match="in use by another program") as failure:
            Tun("taken")
        assert failure.value.errno == errno.EBUSY
    Tun("taken").close()
    with pytest.raises(OSError, match="no TUN device of the wanted kind"):
        Tun("lo")


def test_a_closed_device(namespace: Namespace) -> None:
    tun = namespace.add_tun()
    tun.close()
    tun.close()
    with pytest.raises(ValueError, match="closed"):
        tun.fileno()
    with pytest.raises(OSError, match="reading from"):
        tun.receive(PacketRing(1, 100))


def test_no_permission_is_said() -> None:
    """A process without rights, in the namespace where it has none."""

    def main() -> int:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            Tun("x")
        except OSError as error:
            return 0 if error.errno in (errno.EACCES, errno.EPERM) and "no permission" in (error.strerror or "") else 2
        return 3

    assert isolated(main) == 0


def test_two_queues_of_one_device(namespace: Namespace) -> None:
    with Tun("many", multi_queue=True) as one, Tun("many", multi_queue=True) as other:
        assert one.name == other.name == "many"


def test_the_virtio_header_is_out_of_sight(namespace: Namespace) -> None:
    """The kernel's header lies in the headroom: the packets look the same with it."""
    from fastnet.netns import configure

    with Tun("offload", offload=True) as tun, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        configure(tun, "198.18.3.1/24")
        sock.bind(("198.18.3.1", 5000))
        sock.settimeout(5)
        sock.sendto(b"out", ("198.18.3.2", 6000))
        ring = PacketRing(4, 2048)
        receive(tun, ring, 1)
        assert dpkt.ip.IP(ring.packet(0).tobytes()).data.data == b"out"
        ring.clear()
        udp = dpkt.udp.UDP(sport=6000, dport=5000, data=b"in", ulen=10)
        ring.append(bytes(dpkt.ip.IP(src=socket.inet_aton("198.18.3.2"), dst=socket.inet_aton("198.18.3.1"), p=17, data=udp)))
        assert tun.transmit(ring) == 1
        assert sock.recv(100) == b"in"


# ---- namespaces ----


def test_a_namespace_is_private_and_leaves_nothing() -> None:
    before = links()
    with Namespace() as namespace:
        tun = namespace.add_tun()
        assert links() == ["lo", tun.name] or sorted(links()) == sorted(["lo", tun.name])
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            socket.create_connection(sock.getsockname(), timeout=2).close()
    assert links() == before
    with pytest.raises(ValueError, match="closed"):
        tun.fileno()


def test_an_exception_leaves_it_too() -> None:
    before = links()
    with pytest.raises(KeyboardInterrupt), Namespace() as namespace:
        namespace.add_tun()
        raise KeyboardInterrupt
    assert links() == before


def test_routes_and_addresses(namespace: Namespace) -> None:
    tun = namespace.add_tun()
    namespace.route("198.19.0.0/16", tun)
    namespace.add_address("198.18.5.5/32")
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    assert "198.19.0.0/16 dev fastnet0" in routes
    assert "198.18.5.5" in subprocess.run(["ip", "addr"], capture_output=True, text=True, check=True).stdout
    sysctl("net.ipv4.ip_forward", 1)
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        assert file.read().strip() == "1"
    with pytest.raises(OSError, match="No such file"):
        sysctl("net.ipv4.no_such_thing", 1)


def test_isolated_tells_how_it_ended() -> None:
    assert isolated(lambda: 7) == 7
    assert isolated(lambda: sys.exit(5)) == 5

    def killed() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert isolated(killed) == 128 + signal.SIGTERM


def test_without_root() -> None:
    """An unprivileged user gets the whole of it through a user namespace, or is told which sysctl forbids it."""
    program = """
import ctypes, os, sys
from fastnet.netns import Namespace, isolated
from fastnet.stack import Stack

def main():
    try:
        with Namespace() as namespace:
            stack = Stack(namespace.add_tun(), ("198.18.0.2",))
            stack.listen("0.0.0.0", 80)
            stack.poll(0)
    except OSError as error:
        print(error.strerror)
        return 9
    return 0

os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
# A process that has changed its user may not write its own maps until this; one that was started as that user may.
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
sys.exit(isolated(main))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    if done.returncode == 9:
        assert "sysctl" in done.stdout or "no permission to open /dev/net/tun" in done.stdout, done
    else:
        assert done.returncode == 0, done


def test_what_the_kernel_refuses_is_an_oserror(namespace: Namespace) -> None:
    """Not an exception of a library's that nobody expects."""
    tun = namespace.add_tun()
    namespace.route("198.19.0.0/16", tun)
    with pytest.raises(OSError, match="the kernel's network: File exists") as caught:
        namespace.route("198.19.0.0/16", tun)
    assert caught.value.errno == errno.EEXIST
