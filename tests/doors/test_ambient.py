"""Which addresses a program's sockets find on the stack, and how the environment describes it."""

from __future__ import annotations

from typing import Any

import pytest

import fastnet.ambient
from fastnet.ambient import Ambient, LaterAmbient, as_environment, from_environment
from fastnet.config import SettingError, Settings
from fastnet.devices import LoopbackDevice, MemoryDevice
from fastnet.driver import Driver
from fastnet.stack import Stack

VARIABLES = ("TUN", "MTU", "OFFLOAD", "ADDRESS", "NETWORKS", "SET")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"FASTNET_{name}", raising=False)


class Device(MemoryDevice):
    """Stands for ``Tun``: how it was opened."""

    def __init__(self, name: str, mtu: int, *, offload: bool) -> None:
        super().__init__(mtu)
        self.opened = (name, mtu, offload)


@pytest.fixture
def tun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastnet.ambient, "Tun", Device)


def test_whose_an_address_is() -> None:
    """A server's: the stack's addresses and the wildcard. A client's target: what the networks reach, and the stack itself."""
    ambient = Ambient(Driver(Stack(MemoryDevice(), ("198.18.0.2", "10.1.0.0/16", "10.9.9.9"))))
    assert [ambient.is_local(host) for host in ("198.18.0.2", "10.1.2.3", None, "", "0.0.0.0")] == [True] * 5
    assert [ambient.is_local(host) for host in ("198.18.0.3", "127.0.0.1", "::1", "localhost", "10.2.0.1")] == [False] * 5
    assert [ambient.leads_to(host) for host in ("198.18.0.2", "198.18.0.77", "198.19.255.255", "10.9.9.9")] == [True] * 4
    assert [ambient.leads_to(host) for host in ("198.20.0.0", "198.17.255.255", "10.1.2.3", None, "", "localhost", "::1")] == [False] * 7
    own = Ambient(ambient.driver, ("192.0.2.0/24",))
    assert own.leads_to("192.0.2.9") and not own.leads_to("198.18.0.77") and own.leads_to("198.18.0.2")
    with pytest.raises(ValueError, match="host bits"):
        Ambient(ambient.driver, ("192.0.2.1/24",))


def test_loopback_is_the_stacks_where_its_device_loops_back() -> None:
    looping = Ambient(Driver(Stack(LoopbackDevice(), ("127.0.0.1",))))
    assert looping.is_local("127.0.0.1")
    everything = Ambient(Driver(Stack(MemoryDevice(), ())))
    assert not everything.is_local("127.0.0.1") and everything.is_local("192.0.2.1")


@pytest.mark.usefixtures("tun")
def test_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNET_TUN", "tun7")
    ambient = from_environment()
    stack: Any = ambient.driver.stack
    assert stack.device.opened == ("tun7", 1500, True) and stack.addresses == ("198.18.0.2",)
    assert [str(network) for network in ambient.networks] == ["198.18.0.0/15", "2001:2::/48"] and not ambient.driver.threaded
    monkeypatch.setenv("FASTNET_MTU", "9000")
    monkeypatch.setenv("FASTNET_OFFLOAD", "0")
    monkeypatch.setenv("FASTNET_ADDRESS", "10.0.0.1 , 10.0.0.2,")
    monkeypatch.setenv("FASTNET_NETWORKS", "10.0.0.0/8,192.0.2.0/24")
    monkeypatch.setenv("FASTNET_SET", "tcp_sack = 0, somaxconn=5")
    ambient = from_environment()
    stack = ambient.driver.stack
    assert stack.device.opened == ("tun7", 9000, False) and stack.addresses == ("10.0.0.1", "10.0.0.2")
    assert [str(network) for network in ambient.networks] == ["10.0.0.0/8", "192.0.2.0/24"]
    assert (stack.settings.tcp_sack, stack.settings.somaxconn) == (0, 5)


@pytest.mark.usefixtures("tun")
@pytest.mark.parametrize(("name", "value", "error", "says"), [
    ("TUN", "", ValueError, "names no TUN device"), ("MTU", "big", ValueError, "number of bytes, not 'big'"),
    ("MTU", "-5", ValueError, "number of bytes"), ("OFFLOAD", "2", ValueError, "is 0 or 1, not '2'"),
    ("SET", "tcp_sack", SettingError, "'tcp_sack' is not name=value"), ("SET", "tcp_sack=7", SettingError, "takes 0 to 1"),
    ("ADDRESS", "nowhere", ValueError, "nowhere"), ("NETWORKS", "10.0.0.1/8", ValueError, "host bits"),
])  # fmt: skip
def test_what_the_environment_cannot_say(name: str, value: str, error: type, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNET_TUN", "tun7")
    monkeypatch.setenv(f"FASTNET_{name}", value)
    with pytest.raises(error, match=says):
        from_environment()


@pytest.mark.usefixtures("tun")
def test_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``fastnet run`` sets is what its program reads; settings that are the defaults are left out."""
    settings = Settings(tcp_sack=0, tcp_rmem=(4096, 8192, 16384), tcp_congestion_control="reno")
    made = as_environment("tun3", ("10.0.0.1", "10.0.0.2"), settings, 1400, False)
    assert made["FASTNET_SET"] == "tcp_sack=0,tcp_congestion_control=reno,tcp_rmem=4096 8192 16384"
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    stack: Any = from_environment().driver.stack
    assert stack.device.opened == ("tun3", 1400, False) and stack.addresses == ("10.0.0.1", "10.0.0.2")
    assert stack.settings == settings
    assert as_environment("t", (), Settings(), 1500, True)["FASTNET_SET"] == ""
    assert as_environment("t", (), Settings(), 1500, True)["FASTNET_OFFLOAD"] == "1"


@pytest.mark.usefixtures("tun")
def test_the_device_is_taken_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions about addresses take nothing; the first use does, once, and its thread polls."""
    monkeypatch.setenv("FASTNET_TUN", "tun7")
    monkeypatch.setenv("FASTNET_ADDRESS", "10.0.0.1,10.1.0.0/16")
    later = LaterAmbient()
    assert [later.is_local(host) for host in (None, "", "0.0.0.0", "10.0.0.1", "10.1.7.7")] == [True] * 5
    assert [later.is_local(host) for host in ("10.0.0.2", "127.0.0.1", "localhost", "198.18.0.2")] == [False] * 4
    assert [later.leads_to(host) for host in ("198.18.3.4", "10.0.0.1", "10.1.7.7")] == [True] * 3
    assert [later.leads_to(host) for host in ("10.0.0.2", None, "", "localhost", "192.0.2.1")] == [False] * 5
    assert later.taken is None
    driver = later.driver
    try:
        assert driver.threaded and later.taken is driver is later.driver
    finally:
        driver.stop()
    later.let_go()
    assert later.taken is None
