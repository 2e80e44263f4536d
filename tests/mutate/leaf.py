"""Builds one leaf, and nothing else, quickly: ``python -m tests.mutate.leaf fastnet/_ring.pyx``, in the tree that it belongs to.

What setup.py builds follows the dates of files, and a copy of a tree has dates of its own: there, it would build everything.
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import setuptools


def main() -> None:
    """Build it in place, with setup.py's directives, for a C compiler that only has to be quick."""
    make = setuptools.setup
    os.environ["FASTNET_NO_EXTENSIONS"] = "1"
    setuptools.setup = lambda **_: None
    try:
        names: dict[str, Any] = runpy.run_path("setup.py")
    finally:
        setuptools.setup = make
    modules = names["cythonize"]([names["extension"](Path(sys.argv[1]))], compiler_directives=names["DIRECTIVES"], force=True, quiet=True)
    for module in modules:
        module.extra_compile_args = [*module.extra_compile_args, "-O0", "-w"]
    make(ext_modules=modules, script_args=["--quiet", "build_ext", "--inplace", "--force"])


if __name__ == "__main__":
    main()
