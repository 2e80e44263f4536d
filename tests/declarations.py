"""What a ``.pxd`` declares, and where the compiled module still asks Python: to be compared with the ``.py`` and with a list.

``python -m tests.declarations`` prints the rows of ``tests/lookups.tsv`` for the tree as it is built.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "lookups.tsv"

HOT = (
    "stack", "tcp/protocol", "tcp/connection", "tcp/tcb", "tcp/sender", "tcp/recovery", "tcp/scoreboard", "tcp/flights", "tcp/rack",
    "tcp/rtt", "tcp/receiver", "tcp/congestion/base", "tcp/congestion/cubic", "tcp/congestion/hystart",
)  # fmt: skip
"""Modules that every packet goes through, below ``fastnet/``."""
OPENS = ("__init__", "connect", "listen", "has_connection", "is_local", "source_address", "establish")
"""What is called once for a stack, a listener or a connection is left out."""

ASKS_PYTHON = re.compile(
    r"\b(__Pyx_PyObject_GetAttrStr\w*|__Pyx_PyObject_SetAttrStr|PyObject_(?:Get|Set)Attr|__Pyx_GetModuleGlobalName|__Pyx_PyObject_\w*Call\w*"
    r"|PyObject_\w*[cC]all\w*|__Pyx_PyNumber_\w+|PyNumber_\w+|__Pyx_PyLong_As_\w+|__Pyx_PyInt_As_\w+|__Pyx_PyIndex_AsSsize_t"
    r"|PyObject_RichCompare\w*|PyObject_GetIter|__Pyx_PyObject_GetItem|__Pyx_PyObject_IsTrue)\("
)
"""An attribute or a global by name, a call through Python, arithmetic or a comparison of Python's, a Python number made a C one."""


@dataclass
class Function:
    """One function or method of a ``.pxd``: its parameters, and the locals that ``@cython.locals`` types."""

    name: str
    parameters: list[str]
    locals: list[str]


@dataclass
class Class:
    """One class: its base, its attributes, its methods by name."""

    base: str = ""
    attributes: list[str] = field(default_factory=list)
    methods: dict[str, Function] = field(default_factory=dict)


@dataclass
class Declarations:
    """A whole ``.pxd``, or what corresponds to one in a ``.py``."""

    names: list[str] = field(default_factory=list)
    classes: dict[str, Class] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)


def statements(text: str) -> list[str]:
    """Its lines, those within brackets joined, without comments."""
    found: list[str] = []
    for line in text.splitlines():
        line = re.sub(r"#.*", "", line).rstrip()
        if not line:
            continue
        if found and found[-1].count("(") > found[-1].count(")"):
            found[-1] += " " + line.strip()
        else:
            found.append(line)
    return found


def last_words(text: str) -> list[str]:
    """``unsigned int a, list b=*`` -> a, b."""
    return [match[0] for part in text.split(",") if (match := re.findall(r"\w+", part.split("=")[0])[-1:])]


def of_pxd(text: str) -> Declarations:
    """What a ``.pxd`` beside a ``.py`` declares."""
    result = Declarations()
    now: Class | None = None
    typed: list[str] = []
    for line in statements(text):
        inside = line.startswith(" ")
        line = line.strip()
        if not inside:
            now = None
        if match := re.match(r"cdef class (\w+)(?:\((\w+)\))?:", line):
            now = result.classes[match[1]] = Class(match[2] or "")
        elif line.startswith("@cython.locals("):
            typed = re.findall(r"(\w+)=", line)
        elif match := re.match(r"(?:cdef|cpdef) (?:.*[ *])?(\w+)\((.*?)\)(?: noexcept| except.*)?(?: nogil)?$", line):
            function = Function(match[1], last_words(match[2]), typed)
            (now.methods if now is not None else result.functions)[match[1]] = function
            typed = []
        elif line.startswith("cdef "):
            names = last_words(re.sub(r"^cdef (?:public |readonly )?", "", line))
            (now.attributes if now is not None else result.names).extend(names)
    return result


def function_of(node: ast.FunctionDef) -> Function:
    """One function of a ``.py``."""
    parameters = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
    assigned = {name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    return Function(node.name, parameters, sorted(assigned | set(parameters)))


def of_py(text: str) -> Declarations:
    """The same of a ``.py``: its globals are those that it assigns or imports; locals are all names that a function assigns."""
    result = Declarations()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            result.functions[node.name] = function_of(node)
        elif isinstance(node, ast.ClassDef):
            found = result.classes[node.name] = Class(ast.unparse(node.bases[0]) if node.bases else "")
            slots = False
            for item in node.body:
                if isinstance(item, ast.FunctionDef):
                    found.methods[item.name] = function_of(item)
                elif isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "__slots__":
                    value = ast.literal_eval(item.value)
                    found.attributes = [value] if isinstance(value, str) else list(value)
                    slots = True
                elif isinstance(item, ast.AnnAssign) and not slots:
                    found.attributes.append(ast.unparse(item.target))
            if not slots and not found.attributes:
                stored = [one for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)]
                found.attributes = sorted({one.attr for one in stored if ast.unparse(one.value) == "self"})
        else:
            for name in ast.walk(node):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    result.names.append(name.id)
                elif isinstance(name, ast.alias):
                    result.names.append(name.asname or name.name)
    return result


def differences(pxd: str, py: str) -> list[str]:
    """What a ``.pxd`` types that its ``.py`` does not have, and attributes that only one of them has."""
    declared, written = of_pxd(pxd), of_py(py)
    found = [f"global {name}" for name in declared.names if name not in written.names]
    pairs = [(name, function, written.functions.get(name)) for name, function in declared.functions.items()]
    for name, kind in declared.classes.items():
        other = written.classes.get(name)
        if other is None:
            found.append(f"class {name}")
            continue
        if kind.base != other.base:
            found.append(f"base of {name}: {kind.base} and {other.base}")
        found += [f"attribute {name}.{one}" for one in sorted((set(kind.attributes) ^ set(other.attributes)) - {"__weakref__"})]
        pairs += [(f"{name}.{method}", function, other.methods.get(method)) for method, function in kind.methods.items()]
    for name, function, counterpart in pairs:
        if counterpart is None:
            found.append(f"function {name}")
            continue
        if function.parameters != counterpart.parameters:
            found.append(f"parameters of {name}: {function.parameters} and {counterpart.parameters}")
        found += [f"local {one} of {name}" for one in function.locals if one not in counterpart.locals]
    return found


def out_of_reach(py: str, declared: dict[str, list[str]]) -> list[str]:
    """Names that a file imports from a compiled module and that are C's alone there: the import fails, but only when both are compiled.

    :param declared: compiled module -> the globals that its ``.pxd`` declares
    """
    return [
        f"{name.name} of {node.module}"
        for node in ast.walk(ast.parse(py))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if name.name in declared.get(node.module or "", [])
    ]


def lookups(module: str) -> Counter[str]:
    """How often each function of a hot module asks Python, as the C that Cython wrote has it; what raises, and ``def`` lines, left out."""
    source = ROOT / "fastnet" / f"{module}.py"
    owner: dict[int, str] = {}
    for node in ast.parse(source.read_text()).body:
        for item in node.body if isinstance(node, ast.ClassDef) else [node]:
            if not isinstance(item, ast.FunctionDef) or item.name in OPENS:
                continue
            name = f"{node.name}.{item.name}" if isinstance(node, ast.ClassDef) else item.name
            owner |= dict.fromkeys(range(item.body[0].lineno, (item.end_lineno or 0) + 1), name)
            for raising in ast.walk(item):
                if isinstance(raising, ast.Raise):
                    for line in range(raising.lineno, (raising.end_lineno or 0) + 1):
                        owner.pop(line, None)
    marker = re.compile(rf'^ *(?:/\*| \*) "fastnet/{module}\.py":(\d+)$')
    found: Counter[str] = Counter()
    line_number = 0
    inside = False
    for line in source.with_suffix(".c").read_text().splitlines():
        if re.match(r"(?:static|PyObject|CYTHON).*\b__pyx_(?:f|pf)_\w+\(.*\{$", line):
            inside = True
        elif line == "}":
            inside = False
            line_number = 0
        elif match := marker.match(line):
            line_number = int(match[1])
        elif inside and line_number in owner and not line.lstrip().startswith("*"):
            found[owner[line_number]] += len(ASKS_PYTHON.findall(line))
    return +found


def listed() -> dict[tuple[str, str], tuple[int, str]]:
    """``tests/lookups.tsv``: how often a function may ask Python, and why."""
    rows = [line.split("\t") for line in LIST.read_text().splitlines()[1:]]
    return {(module, function): (int(count), reason) for module, function, count, reason in rows}


if __name__ == "__main__":
    known = listed() if LIST.exists() else {}
    print("module\tfunction\tcount\treason")
    for module in HOT:
        for function, count in sorted(lookups(module).items()):
            print(module, function, count, known.get((module, function), (0, ""))[1], sep="\t")
