"""Build of the compiled part of fastnet: every ``.pyx``, and every ``.py`` that has a ``.pxd`` beside it.

FASTNET_DEBUG=1 builds with bounds checks and line tracing; FASTNET_WERROR=1 makes the C compiler's warnings errors;
FASTNET_NO_EXTENSIONS=1 leaves the compiled part out (the Makefile installs first, and then builds in place).
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTNET_DEBUG") == "1"
WERROR = os.environ.get("FASTNET_WERROR") == "1"
JOBS = os.cpu_count() or 1

# One table of directives for all modules.
DIRECTIVES = {
    "language_level": 3,
    # Types come from the .pxd; annotations are for people and mypy.
    "annotation_typing": False,
    # Lengths are checked once, where a packet is parsed; see fastnet/_headers.pyx.
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "overflowcheck": False,
    "cdivision": True,
    "linetrace": DEBUG,
    "profile": DEBUG,
}

# What Cython's own code cannot keep to is left out: unused helpers and parameters, casts of function types, missing initializers.
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wvla",
    "-Wformat=2",
    "-Wno-unused-function",
    "-Wno-unused-parameter",
    "-Wno-cast-function-type",
    "-Wno-missing-field-initializers",
]

# What the optimizer gains, in instructions of a handshake in memory: -O3 of everything 7,130; -O3 of the leaves with -O2 of the rest 7,180;
# with -O1 of the rest 7,420. The compiler's time goes down by a quarter each. So leaves have -O3, and what is not called for each
# segment has -O1.
LEAVES = "-O3"
PROTOCOL = "-O2"
SELDOM = "-O1"
SELDOM_CALLED = {
    "aio/acceptor", "load/_acceptloop", "tcp/ecn", "tcp/isn", "tcp/memory", "tcp/opening", "tcp/patience", "tcp/refusals", "tcp/sources",
    "tcp/tuning",
}  # fmt: skip


def optimization(path: Path) -> str:
    """The compiler's option for one module."""
    if DEBUG:
        return "-O1"
    if path.with_suffix("").relative_to("fastnet").as_posix() in SELDOM_CALLED:
        return SELDOM
    return LEAVES if path.name.startswith("_") else PROTOCOL


sources = [*Path("fastnet").rglob("*.pyx")]
sources += [path for path in Path("fastnet").rglob("*.py") if path.with_suffix(".pxd").exists()]

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        define_macros=[("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "0")] if DEBUG else [],
        extra_compile_args=[*WARNINGS, *(["-Werror"] if WERROR else []), optimization(path), "-g" if DEBUG else "-g0"],
    )
    for path in sorted(sources)
]

if os.environ.get("FASTNET_NO_EXTENSIONS") == "1":
    extensions = []

setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=JOBS),
    options={"build_ext": {"parallel": JOBS}},
)
