"""fastnet: a TCP/IP stack in user space that you program from Python."""

import os

if os.environ.get("FASTNET_PURE") == "1":
    from fastnet import _uncompiled

    _uncompiled.install()
