"""A private namespace with a TUN device, a stack on it, and a driver that polls it."""

from collections.abc import Iterator

import pytest

from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.stack import Stack

STACK = "198.18.0.2"


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as entered:
        yield entered


@pytest.fixture
def driver(namespace: Namespace) -> Iterator[Driver]:
    """A driver in its thread; the kernel is 198.18.0.1."""
    with Driver(Stack(namespace.add_tun(), (STACK, "198.18.0.3"))) as running:
        yield running
