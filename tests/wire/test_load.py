"""The raw client, its servers, and the comparison: bounded runs whose counts add up."""

import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from ipaddress import IPv4Address
from pathlib import Path

import dpkt
import pytest

from fastnet._ring import PacketRing
from fastnet.load import bulk, compare, servers
from fastnet.load._client import HandshakeClient
from fastnet.load._responder import respond
from fastnet.load.memory import MemoryClient
from fastnet.netns import Namespace
from fastnet.stack import Stack

SOURCES = int(IPv4Address("198.19.0.0"))


def number(address: str) -> int:
    return int(IPv4Address(address))


def client_on(namespace: Namespace, target: str, **options: object) -> HandshakeClient:
    tun = namespace.add_tun("198.18.0.1/30", "tun0")
    namespace.route("198.19.0.0/16", tun)
    compare.prepare_kernel()
    return HandshakeClient(tun, number(target), 8080, SOURCES, **{"sources": 4096, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["server", "close"])
def test_against_the_kernel(namespace: Namespace, ending: str) -> None:
    client = client_on(namespace, "198.18.0.1", ending=ending)
    with socket.socket() as listener:
        if ending == "server":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        listener.bind(("198.18.0.1", 8080))
        listener.listen(1024)
        accepted = []

        def serve() -> None:
            for _ in range(2000):
                connection, peer = listener.accept()
                accepted.append(peer)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert client.run(10, 2000) == 2000
        thread.join(10)
    assert len(set(accepted)) == 2000, "each with a 4-tuple of its own"
    assert len({address for address, _ in accepted}) == 2000, "and thousands of addresses"
    assert client.refused == client.timed_out == client.invalid == client.unsent == 0
    assert 0 < client.percentile(0.5) <= client.percentile(0.99) <= client.percentile(1) < 1


def test_refused_is_counted(namespace: Namespace) -> None:
    client = client_on(namespace, "198.18.0.1")
    assert client.run(5, 100) == 0
    assert client.refused == 100 and client.timed_out == 0


def test_silence_is_counted(namespace: Namespace) -> None:
    """SYNs to nobody are sent again, and given up when the run is over."""
    client = client_on(namespace, "198.18.7.7", in_flight=10)
    started = time.monotonic()
    assert client.run(0.5) == 0
    assert time.monotonic() - started < 3
    assert client.started == 10 and client.retransmitted >= 10
    assert client.percentile(0.5) == 0


def test_the_floor(namespace: Namespace) -> None:
    client = client_on(namespace, "198.18.1.2")
    tun1 = namespace.add_tun("198.18.1.1/24", "tun1")
    stop = False

    def serve() -> None:
        while not stop:
            respond(tun1, 10_000_000)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert client.run(10, 3000) == 3000
    finally:
        stop = True
        thread.join()
    assert client.refused == client.timed_out == client.invalid == 0


def test_bytes_of_the_clients_syn(namespace: Namespace) -> None:
    client = client_on(namespace, "198.18.1.2", in_flight=3, seed=5)
    tun1 = namespace.add_tun("198.18.1.1/24", "tun1")
    client.run(0.1)
    ring = PacketRing(64, 2048)
    deadline = time.monotonic() + 5
    while ring.count < 3 and time.monotonic() < deadline:
        tun1.receive(ring)
    for i in range(3):
        raw = ring.packet(i).tobytes()
        ip = dpkt.ip.IP(raw)
        assert dpkt.in_cksum(raw[:20]) == 0
        assert dpkt.in_cksum(raw[12:20] + b"\0\x06" + (len(raw) - 20).to_bytes(2, "big") + raw[20:]) == 0
        assert ip.data.flags == dpkt.tcp.TH_SYN and ip.data.dport == 8080
        assert int.from_bytes(ip.src, "big") == SOURCES + 5 + i
        kinds = [kind for kind, _ in dpkt.tcp.parse_opts(ip.data.opts)]
        assert kinds == [2, 4, 8, 1, 3], "MSS, SACK-permitted, timestamps, NOP, window scale: as Linux"


@pytest.mark.parametrize(("field", "value"), [("in_flight", 0), ("in_flight", 9000), ("sources", 0), ("ending", "somehow")])
def test_bad_clients(namespace: Namespace, field: str, value: object) -> None:
    with pytest.raises(ValueError, match="is"):
        client_on(namespace, "198.18.1.2", **{field: value})


@pytest.mark.parametrize("ending", ["server", "close"])
def test_compare(ending: str) -> None:
    """Every row completes handshakes and none fails; the numbers hang together."""
    result = compare.run(rounds=1, duration=0.3, in_flight=32, ending=ending)
    assert tuple(result.rows) == compare.ROWS
    as_dict = result.as_dict()
    assert as_dict["schema"] == compare.SCHEMA
    json.dumps(as_dict)
    for name, row in as_dict["rows"].items():
        (sample,) = row["samples"]
        # More than once round; how many more is the machine's affair.
        assert sample["completed"] > 32 and row["failures"] == 0, name
        assert math.isclose(row["rate"], sample["completed"] / 0.3, rel_tol=0.5)
        assert 0 < row["p50"] <= row["p99"] < 0.3
    assert as_dict["rows"]["kernel"]["rate_ratio"] == as_dict["rows"]["kernel"]["cpu_ratio"] == 1


def test_compare_only_some_rows() -> None:
    assert set(compare.run(["fastnet"], rounds=1, duration=0.1).rows) == {"fastnet"}
    with pytest.raises(ValueError, match="no row windows"):
        compare.run(["windows"])


def test_a_server_that_does_not_start_is_told() -> None:
    def serve(ready: object) -> None:
        os.close(2)  # The traceback of the child is of no interest.
        raise OSError("nothing to serve with")

    with pytest.raises(RuntimeError, match="before it was ready"), compare.ServerProcess(serve, 0):
        pass


def test_server_stack_resets_what_it_accepts() -> None:
    """The loop of the fastnet row, in memory: what it is compared by is what it does."""
    client = MemoryClient(64)
    flows, _ = client.open(64)
    assert len(flows) == 64 and client.stack.counters.TcpPassiveOpens == 64
    client.reset(flows)
    assert client.stack.counters.TcpCurrEstab == 0
    cycles = client.run(3)
    assert cycles.cycles == 192 and cycles.rate > 0
    client.hold(100)
    assert client.stack.counters.TcpCurrEstab == 100
    assert servers.BACKLOG == 4096 and isinstance(client.stack, Stack)


# ---- the command ----

FASTNET = [sys.executable, "-c", "from fastnet.cli.main import main; main()"]


def fastnet(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FASTNET, *arguments], capture_output=True, text=True, timeout=timeout, check=False)


def test_serve_http_runs_a_command_and_stops_with_it() -> None:
    done = fastnet("serve", "http", "--", "curl", "-s", "-w", " %{http_code}", "http://198.18.0.2:8080/")
    assert (done.returncode, done.stdout) == (0, "hello from fastnet\n 200")


def test_serve_passes_the_commands_exit_code_on() -> None:
    assert fastnet("serve", "echo", "--", "sh", "-c", "exit 7").returncode == 7
    assert fastnet("serve", "echo", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_serve_http_options() -> None:
    url = "http://198.18.0.2:99/"
    options = ("--status", "503", "--body-size", "100000")
    done = fastnet("serve", "http", "--port", "99", *options, "--", "curl", "-s", "-w", "%{http_code}", url)
    assert len(done.stdout) == 100_003 and done.stdout.endswith("503")
    done = fastnet("serve", "http", "--port", "99", "--delay", "0.3", "--", "curl", "-s", "-o", "/dev/null", "-w", "%{time_total}", url)
    assert float(done.stdout) >= 0.3
    done = fastnet("serve", "http", "--port", "99", "--", "curl", "-s", "-I", url)
    assert "Content-Length: 19" in done.stdout and "hello" not in done.stdout


def test_serve_http_keeps_connections_and_answers_pipelined_requests() -> None:
    program = (
        "import socket; s = socket.create_connection(('198.18.0.2', 8080), 5); "
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' * 3 + b'GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'); "
        "print(b''.join(iter(lambda: s.recv(9999), b'')).count(b'hello from fastnet'))"
    )
    done = fastnet("serve", "http", "--", sys.executable, "-c", program)
    assert done.stdout == "4\n"


def test_serve_http_bounds_what_pipelined_requests_can_make_it_keep() -> None:
    """Thousands of requests in one write and a large body: answers wait for the peer, not in memory; each comes, in order."""
    program = (
        "import socket; s = socket.create_connection(('198.18.0.2', 8080), 5); "
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' * 500 + b'GET / HTTP/1.0\\r\\n\\r\\n'); "
        "print(sum(len(x) for x in iter(lambda: s.recv(1 << 20), b'')) // 100_000)"
    )
    done = fastnet("serve", "http", "--body-size", "100000", "--", sys.executable, "-c", program)
    assert done.stdout.splitlines()[0] == "501", done


def test_serve_http_refuses_what_is_no_request() -> None:
    program = (
        "import socket; s = socket.create_connection(('198.18.0.2', 8080), 5); s.sendall(b'\\x16\\x03\\x01 nonsense\\r\\n\\r\\n'); "
        "print(s.recv(9999).split(b'\\r\\n')[0].decode(), s.recv(1))"
    )
    assert fastnet("serve", "http", "--", sys.executable, "-c", program).stdout == "HTTP/1.1 400 Bad Request b''\n"


def test_serve_http_ends_slow_and_idle_connections() -> None:
    program = (
        "import socket; s = socket.create_connection(('198.18.0.2', 8080), 5); s.sendall(b'GET / HTTP/1.1\\r\\n'); "
        "print(s.recv(9999).split(b'\\r\\n')[0].decode()); s = socket.create_connection(('198.18.0.2', 8080), 5); "
        "s.sendall(b'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'); print(s.recv(9999)[:12], s.recv(1))"
    )
    options = ("--request-timeout", "0.3", "--keep-alive-timeout", "0.2")
    done = fastnet("serve", "http", *options, "--", sys.executable, "-c", program)
    assert done.stdout == "HTTP/1.1 408 Request Timeout\nb'HTTP/1.1 200' b''\n"


@pytest.mark.parametrize(
    ("mode", "program", "says"),
    [
        ("echo", "s.sendall(b'abc' * 50000); s.shutdown(1); print(sum(len(x) for x in iter(lambda: s.recv(65536), b'')))", "150000"),
        ("discard", "s.sendall(b'abc' * 50000); s.shutdown(1); print(s.recv(10))", "b''"),
        ("chargen", "d = s.recv(75, 256); print(len(d), d[:3], d[-2:])", "75 b' !\"' b' !'"),
        ("accept-close", "print(s.recv(10))", "b''"),
    ],
)
def test_serve_modes(mode: str, program: str, says: str) -> None:
    script = f"import socket; s = socket.create_connection(('198.18.0.2', 8080), 5); {program}"
    done = fastnet("serve", mode, "--", sys.executable, "-c", script)
    if mode == "chargen":
        assert done.stdout.startswith("75 ")
    else:
        assert done.stdout.strip() == says, done


def test_serve_json_and_settings() -> None:
    done = fastnet(
        "serve", "accept-close", "--reset", "--set", "tcp_synack_retries=1", "--json", "--", "sh", "-c",
        "for i in 1 2 3; do curl -s http://198.18.0.2:8080/; done; sleep 1.3; true",
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["tick", "summary"]
    assert events[-1]["accepted"] == 3 and events[-1]["counters"]["TcpPassiveOpens"] == 3


def test_serve_ends_cleanly_on_sigint() -> None:
    process = subprocess.Popen(
        [*FASTNET, "serve", "echo", "--private"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "fastnet: echo on 198.18.0.2 port 8080 (fastnet0); Ctrl-C ends it\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0 and "0 connections" in err and "Traceback" not in err + out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("serve", "juggle"), 2, "juggle"),
        (("serve", "http", "--set", "nonsense=1"), 2, "no setting 'nonsense'; there are: "),
        (("serve", "http", "--set", "somaxconn"), 2, "NAME=VALUE"),
        (("serve", "http", "--set", "somaxconn=-1"), 2, "takes 0 to"),
        (("serve", "http", "--address", "198.51.100.1"), 2, "another address of the network"),
        (("serve", "http", "--address", "nowhere"), 2, "nowhere"),
        (("serve", "http", "--body", "x", "--body-size", "3"), 2, "give one of"),
        (("serve", "http", "--port", "0"), 2, "1<=x<=65535"),
        (("serve", "http", "--private", "--tun", "name that is too long"), 3, "interface name"),
        (("serve", "http", "--", "no-such-program"), 3, "no-such-program: No such file"),
        (("compare", "--rounds", "0"), 2, "range 1<=x<=100"),
        (("compare", "--row", "windows"), 2, "windows"),
        (("compare", "--bulk", "--memory"), 2, "--bulk goes without --memory"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments: tuple[str, ...], code: int, says: str) -> None:
    done = fastnet(*arguments)
    assert done.returncode == code, done
    assert says in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_compare_command() -> None:
    done = fastnet("compare", "--rounds", "1", "--duration", "0.5", "--json", "--row", "fastnet", "--row", "kernel")
    assert done.returncode == 0, done
    assert set(json.loads(done.stdout)["rows"]) == {"fastnet", "kernel"}
    table = fastnet("compare", "--rounds", "1", "--duration", "0.1", "--row", "floor").stdout
    assert "stateless floor" in table and "handshakes" in table


def test_compare_bulk() -> None:
    """Both directions of every row carry data, and the table is the JSON's."""
    done = fastnet("compare", "--bulk", "--rounds", "1", "--duration", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["rows"]) == set(bulk.ROWS)
    for row in result["rows"].values():
        assert all(row[direction]["rate"] > 1e6 and len(row[direction]["samples"]) == 1 for direction in bulk.DIRECTIONS)
    table = fastnet("compare", "--bulk", "--rounds", "1", "--duration", "0.1").stdout
    assert all(title in table for title in bulk.ROWS.values())


def test_compare_in_memory() -> None:
    done = fastnet("compare", "--memory", "--rounds", "1", "--in-flight", "16")
    assert done.returncode == 0 and "full cycles/s" in done.stdout and "Left out: TUN" in done.stdout
    result = json.loads(fastnet("compare", "--memory", "--rounds", "1", "--json").stdout)
    assert result["memory"] and result["cycles_per_second"] > 0 and result["left_out"]


def test_without_a_tun_it_says_so() -> None:
    """/dev/net/tun hidden in a mount namespace of its own."""
    if not Path("/usr/bin/unshare").exists():
        raise AssertionError("util-linux, which is in every Debian system, has unshare")
    script = "mount -t tmpfs none /dev/net && exec " + " ".join(repr(word) if " " in word else word for word in FASTNET).replace("'", '"')
    for command in ("compare --rounds 1", "serve http --private"):
        done = subprocess.run(["unshare", "-m", "sh", "-c", f"{script} {command}"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 3, done
        assert "there is no /dev/net/tun: load the module (modprobe tun)" in done.stderr.splitlines()[-1]
