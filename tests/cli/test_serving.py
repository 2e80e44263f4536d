"""How ``fastnet serve`` begins and ends: what is in its way is said in a line, and the end is a whole one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastnet._tun import Tun
from fastnet.netns import Namespace, configure
from tests.devices.test_capture import dpkt_reads
from tests.peer import IP, TCP, checked

FASTNET = [sys.executable, "-c", "from fastnet.cli.main import main; main()"]
CURL = ("--", "curl", "-s", "http://198.18.0.2:8080/")


def fastnet(*arguments: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*before, *FASTNET, *arguments], capture_output=True, text=True, timeout=60, check=False)


def flags(path: Path) -> list[tuple[str, str]]:
    """The TCP packets of a capture: the source's last number, and the flags."""
    packets = [checked(raw) for raw in dpkt_reads(path.read_bytes()) if raw[9] == 6]
    return [(packet[IP].src[-1], str(packet[TCP].flags)) for packet in packets]


@pytest.mark.parametrize("body", ["", "x" * 100])
def test_a_capture_has_the_end_of_the_connection(body: str, tmp_path: Path) -> None:
    """The command ends before the kernel has sent all that it closed."""
    path = tmp_path / "page.pcapng"
    assert fastnet("serve", "http", "--body", body, "--capture", str(path), *CURL).returncode == 0
    seen = flags(path)
    assert sum("F" in flag for _, flag in seen) == 2 and seen[-1][1] == "A", seen


def test_a_command_that_is_ended_is_served_to_its_end(tmp_path: Path) -> None:
    """At the end of --duration it hears SIGTERM, and has an answer to what it asks then."""
    program = (
        "import signal, socket, sys\n"
        "def end(*_):\n"
        "    s.sendall(b'the last words'); print(s.recv(100)); s.close(); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end); s = socket.create_connection(('198.18.0.2', 8080), 5)\n"
        "while True: signal.pause()\n"
    )
    path = tmp_path / "words.pcapng"
    done = fastnet("serve", "echo", "--duration", "3", "--capture", str(path), "--", sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (7, "b'the last words'\n"), done
    assert sum("F" in flag for _, flag in flags(path)) == 2


def test_a_connection_that_stays_open_is_not_waited_for_long() -> None:
    """The peer reads nothing and closes nothing: what the command has left behind has it still."""
    program = (
        "import os, socket, time\n"
        "s = socket.create_connection(('198.18.0.2', 8080), 5); s.recv(1)\n"
        "if os.fork() == 0: time.sleep(1000)\n"
    )
    done = fastnet("serve", "chargen", "--json", "--", sys.executable, "-c", program)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and summary["event"] == "summary" and summary["open"] == 1


def test_a_summary_after_a_command() -> None:
    done = fastnet("serve", "http", *CURL)
    assert (done.returncode, done.stdout) == (0, "hello from fastnet\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("fastnet: 1 connections in ") and line.endswith(" bytes out, 0 refused")
    done = fastnet("serve", "http", "--json", *CURL)
    assert done.stderr == "" and json.loads(done.stdout.splitlines()[-1])["open"] == 0


# ---- what is in the way ----


def refused(done: "subprocess.CompletedProcess[str]", says: str) -> None:
    assert (done.returncode, done.stdout) == (3, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("fastnet: ") and says in line, line


def test_a_device_that_is_in_use() -> None:
    with Namespace(), Tun("fastnet0", 1500):
        refused(fastnet("serve", "http"), "fastnet0 is in use by another program: choose another name")


def test_a_name_of_another_interface() -> None:
    with Namespace():
        refused(fastnet("serve", "http", "--tun", "lo"), "lo is there already and is no TUN device of the wanted kind: choose another name")


def test_a_network_that_is_in_use() -> None:
    """A second server beside the first, under another name of a device: packets would all go to the first."""
    with Namespace(), Tun("first", 1500) as tun:
        configure(tun, "198.18.0.1/24")
        says = "first has 198.18.0.1/24 already: choose others with --kernel and --address"
        refused(fastnet("serve", "http"), says)
        refused(fastnet("serve", "http", "--kernel", "198.18.0.9/24"), says)
        refused(fastnet("serve", "http", "--kernel", "198.18.0.1/16"), says)
        done = fastnet("serve", "http", "--kernel", "198.18.1.1/24", "--address", "198.18.1.2", "--duration", "0.1")
        assert done.returncode == 0 and "0 connections" in done.stderr


def test_an_address_that_the_device_has_already_stays() -> None:
    with Namespace(), Tun("first", 1500) as tun:
        configure(tun, "198.18.0.1/24")
        configure(tun, "198.18.0.1/24")


def test_no_permission_to_make_a_device() -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv and os.geteuid() == 0, "util-linux, which is in every Debian system, has setpriv"
    with Namespace():
        done = fastnet("serve", "http", before=(setpriv, "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"))
    refused(done, "it takes root or CAP_NET_ADMIN in this network namespace; or give --private")


def test_no_namespace_to_be_had() -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv
    done = fastnet("serve", "http", "--private", before=(setpriv, "--bounding-set", "-sys_admin,-net_admin", "--inh-caps", "-sys_admin"))
    refused(done, "no permission to make a network namespace: run as root, or ")


BOTH = ("--address", "198.18.0.2", "--address", "2001:2::2", "--kernel", "198.18.0.1/24", "--kernel", "2001:2::1/64")


@pytest.mark.parametrize("url", ["http://198.18.0.2:8080/", "http://[2001:2::2]:8080/"])
def test_both_families(url: str) -> None:
    done = fastnet("serve", "http", *BOTH, "--", "curl", "-s", url)
    assert done.returncode == 0 and done.stdout == "hello from fastnet\n", done.stderr


def test_ipv6_alone() -> None:
    done = fastnet("serve", "http", *BOTH[2:4], *BOTH[6:], "--", "curl", "-s", "http://[2001:2::2]:8080/")
    assert done.returncode == 0 and done.stdout == "hello from fastnet\n", done.stderr


@pytest.mark.parametrize("url", ["http://198.18.0.2:8080/", "http://[2001:2::2]:8080/"])
def test_a_program_with_both_families(url: str) -> None:
    """Under ``run --patched``: http.server binds to :: for both."""
    asks = f'for i in $(seq 100); do curl -sf -m 1 "{url}" && break; sleep 0.1; done'
    script = f"{sys.executable} -m http.server --bind :: 8080 & {asks}; kill $!"
    done = fastnet("run", "--patched", *BOTH, "--", "sh", "-c", script)
    assert "Directory listing" in done.stdout and "nothing" not in done.stderr, done.stderr


def test_an_asgi_application_with_both_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': scope['client'][0].encode()})\n"
    )
    monkeypatch.chdir(tmp_path)
    for url, peer in (("http://198.18.0.2:8080/", "198.18.0.1"), ("http://[2001:2::2]:8080/", "2001:2::1")):
        done = fastnet("serve", "asgi", "app:app", *BOTH, "--", "curl", "-s", url)
        assert done.returncode == 0 and done.stdout == peer, done.stderr
