"""The fixtures of tests/wire: a private namespace with a TUN device, a stack on it, and a driver that polls it."""

from tests.wire.conftest import driver, namespace

__all__ = ["driver", "namespace"]
