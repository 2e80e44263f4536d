"""``fastnet run --patched`` puts this where every Python imports it as it starts, before the program (site, sitecustomize).

A sitecustomize that this one hides is imported as well.
"""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder


def _import_hidden() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if os.path.abspath(path) != here])
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    _import_hidden()
    try:
        from fastnet.patch import patch_process
    except ImportError as error:
        print(f"fastnet: {sys.executable}: {error}: the sockets of this program are the kernel's", file=sys.stderr)
    else:
        patch_process()
