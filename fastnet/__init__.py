"""fastnet: a TCP/IP stack in user space that you program from Python."""

import os
from typing import TYPE_CHECKING, Any

if os.environ.get("FASTNET_PURE") == "1":
    from fastnet import _uncompiled

    _uncompiled.install()

if TYPE_CHECKING:
    from fastnet.patch import patched as patched

__all__ = ["patched"]


def __getattr__(name: str) -> Any:
    """What is exported is imported when it is used: ``import fastnet`` alone costs nothing."""
    if name == "patched":
        from fastnet.patch import patched

        return patched
    raise AttributeError(f"module 'fastnet' has no attribute {name!r}")
