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
    # From Python, None is not passed where an object of C's is expected, and nothing is copied behind the constructors' backs.
    "allow_none_for_extension_args": False,
    "auto_pickle": False,
}

# The protocol in .py does without what makes leaves quick: None, a wrong index and a division by zero raise there, as uncompiled. A
# leaf checks its arguments and has pointers and sizes that nobody else writes.
PROTOCOL_DIRECTIVES = {**DIRECTIVES, "boundscheck": True, "nonecheck": True, "cdivision": False}

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
    "aio/acceptor", "load/_acceptloop", "tcp/ecn", "tcp/fastaccept", "tcp/fastconnect", "tcp/fastopen", "tcp/isn", "tcp/memory",
    "tcp/opening", "tcp/patience", "tcp/refusals", "tcp/sources", "tcp/tuning",
}  # fmt: skip


def optimization(path: Path) -> str:
    """The compiler's option for one module."""
    if DEBUG:
        return "-O1"
    if path.with_suffix("").relative_to("fastnet").as_posix() in SELDOM_CALLED:
        return SELDOM
    return LEAVES if path.name.startswith("_") else PROTOCOL


# Connections and requests are made from C, through their bases' tp_new. Cython's vectorcall for constructors is a detour there, which costs
# 50 instructions for each handshake; it gains only where Python calls the class.
PROTOCOL_MACROS = [("CYTHON_VECTORCALL_TPNEW", "0")]

leaves = [*Path("fastnet").rglob("*.pyx")]
protocol = [path for path in Path("fastnet").rglob("*.py") if path.with_suffix(".pxd").exists()]

# Directives and options are this file's, and Cython looks for changes of a module's own files alone.
for path in (*leaves, *protocol):
    translated = path.with_suffix(".c")
    if translated.exists() and translated.stat().st_mtime < Path(__file__).stat().st_mtime:
        translated.unlink()


def extension(path: Path) -> Extension:
    """The module that one file makes."""
    tracing = [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "0")] if DEBUG else []
    return Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        define_macros=tracing + (PROTOCOL_MACROS if path.suffix == ".py" else []),
        extra_compile_args=[*WARNINGS, *(["-Werror"] if WERROR else []), optimization(path), "-g" if DEBUG else "-g0"],
    )


def extensions() -> list[Extension]:
    """All of them, as C."""
    if os.environ.get("FASTNET_NO_EXTENSIONS") == "1":
        return []
    groups = ((leaves, DIRECTIVES), (protocol, PROTOCOL_DIRECTIVES))
    return [
        module
        for paths, directives in groups
        for module in cythonize([extension(path) for path in sorted(paths)], compiler_directives=directives, nthreads=JOBS)
    ]


setup(ext_modules=extensions(), options={"build_ext": {"parallel": JOBS}})
