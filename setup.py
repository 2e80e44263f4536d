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

sources = [*Path("fastnet").rglob("*.pyx")]
sources += [path for path in Path("fastnet").rglob("*.py") if path.with_suffix(".pxd").exists()]

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        define_macros=[("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "0")] if DEBUG else [],
        extra_compile_args=[*WARNINGS, *(["-Werror"] if WERROR else []), *(["-O1", "-g"] if DEBUG else ["-O3", "-g0"])],
    )
    for path in sorted(sources)
]

if os.environ.get("FASTNET_NO_EXTENSIONS") == "1":
    extensions = []

setup(
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, nthreads=JOBS),
    options={"build_ext": {"parallel": JOBS}},
)
