"""Build of the compiled part of fastnet: every ``.pyx``, and every ``.py`` that has a ``.pxd`` beside it."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTNET_DEBUG") == "1"

# One table of directives for all modules.
DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # types come from the .pxd; annotations are for people and mypy
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "linetrace": DEBUG,
}

sources = [*Path("fastnet").rglob("*.pyx")]
sources += [path for path in Path("fastnet").rglob("*.py") if path.with_suffix(".pxd").exists()]

extensions = [
    Extension(
        ".".join(path.with_suffix("").parts),
        [str(path)],
        define_macros=[("CYTHON_TRACE", "1")] if DEBUG else [],
        extra_compile_args=["-O1", "-g"] if DEBUG else ["-O3"],
    )
    for path in sorted(sources)
]

setup(
    ext_modules=cythonize(
        extensions, compiler_directives=DIRECTIVES, nthreads=os.cpu_count() or 1
    )
)
