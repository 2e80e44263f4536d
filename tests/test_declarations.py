"""The two files of a compiled module agree, and the C that comes of them asks Python no more than is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.declarations import HOT, LIST, ROOT, differences, listed, lookups, of_pxd, out_of_reach

PAIRS = [path for path in sorted((ROOT / "fastnet").rglob("*.pxd")) if path.with_suffix(".py").exists()]
MODULE = '''
LIMIT = 3

class Base:
    __slots__ = ("size",)

    def grow(self, by):
        more = by + LIMIT
        self.size += more

def twice(number):
    return 2 * number
'''
DECLARED = """
cdef int LIMIT

cdef class Base:
    cdef public long long size  # bytes

    @cython.locals(
        more=cython.longlong,
    )
    cpdef grow(
        self, long long by
    )

cpdef bint twice(int number) except -1
"""


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_declared_is_there(path: Path) -> None:
    """A type for a local that was renamed types nothing, and the code goes on ten times slower."""
    assert differences(path.read_text(), path.with_suffix(".py").read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("", "", []),
        ("int LIMIT", "int LIMIT, MOST", ["global MOST"]),
        ("class Base", "class Basis", ["class Basis"]),
        ("class Base", "class Base(Other)", ["base of Base: Other and "]),
        ("long long size", "long long length", ["attribute Base.length", "attribute Base.size"]),
        ("    cdef public long long size  # bytes\n", "", ["attribute Base.size"]),
        ("more=", "rest=", ["local rest of Base.grow"]),
        ("grow(", "shrink(", ["function Base.shrink"]),
        ("long long by", "long long amount", ["parameters of Base.grow: ['self', 'amount'] and ['self', 'by']"]),
        ("twice(int number)", "thrice(int number)", ["function thrice"]),
    ],
)
def test_each_difference_is_found(old: str, new: str, says: list[str]) -> None:
    assert differences(DECLARED.replace(old, new, 1), MODULE) == says


def test_what_is_imported_can_be() -> None:
    """A global that a ``.pxd`` types is C's alone: what several modules use stands in one without a ``.pxd`` (numbers.py)."""
    declared = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): of_pxd(path.read_text()).names
        for path in (ROOT / "fastnet").rglob("*.pxd")
    }
    found = {
        str(path.relative_to(ROOT)): names
        for folder in ("fastnet", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if (names := out_of_reach(path.read_text(), declared))
    }
    assert found == {}
    assert out_of_reach("from fastnet.a import B, C", {"fastnet.a": ["C"]}) == ["C of fastnet.a"]


@pytest.mark.parametrize("module", HOT)
def test_look_ups_that_are_left(module: str) -> None:
    """As many as ``tests/lookups.tsv`` says, function by function; ``python -m tests.declarations`` prints what it should say."""
    source = ROOT / "fastnet" / f"{module}.py"
    c = source.with_suffix(".c")
    if not c.exists() or c.stat().st_mtime < max(source.stat().st_mtime, source.with_suffix(".pxd").stat().st_mtime):
        pytest.skip(f"fastnet/{module}.c is not there, or older than its source: make build")
    known = {function: count for (name, function), (count, _) in listed().items() if name == module}
    assert dict(lookups(module)) == known


def test_each_look_up_has_a_reason() -> None:
    rows = listed()
    assert [where for where, (_, reason) in rows.items() if len(reason) < 5] == []
    assert {module for module, _ in rows} <= set(HOT) and len(rows) == len(LIST.read_text().splitlines()) - 1
