"""Every small change that could be made to a module: a list of ``Mutant``.

Python sources are read with ``ast`` and changed as text, so that every other line stays as it is. A Cython source has no such
reader here: there, operators and constants are found by the tokens of its code lines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.Mod: ("%", "+"),
}
SYMBOL = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
WITHOUT_AN_EDGE = {"HALF"}
"""Half of the circle of sequence numbers: of two that are exactly so far apart neither comes first, and RFC 1982 section 3.2 leaves it open
which a comparison says. One that includes that distance, or leaves it out, is right either way, so that is no change.
"""
EXTREMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change.

    :ivar path: the module, relative to the repository
    :ivar line: its line, from 1
    :ivar function: the function that it is in, dotted; empty for the module itself
    :ivar operator: what kind of change
    :ivar before: the source that changes; ``after``: what stands there instead
    :ivar start: where in the source, characters; ``end``: where it ends
    """

    path: str
    line: int
    function: str
    operator: str
    before: str
    after: str
    start: int
    end: int

    def apply(self, source: str) -> str:
        """The source of the module with the change made."""
        return source[: self.start] + self.after + source[self.end :]

    def changed_line(self, source: str) -> tuple[str, str]:
        """The line before and after, without its indentation; what a table shows."""
        first = source.rfind("\n", 0, self.start) + 1
        last = source.find("\n", self.end)
        whole = source[first:last]
        other = source[first : self.start] + self.after + source[self.end : last]
        return " ".join(whole.split()), " ".join(other.split())


class Finder(ast.NodeVisitor):
    """Walks one Python module and notes what can be changed."""

    def __init__(self, path: str, source: str) -> None:
        self.path, self.source = path, source
        self.found: list[Mutant] = []
        self.scope: list[str] = []
        # ast counts columns in bytes of UTF-8.
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        text = self.lines[line - 1]
        return self.starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def note(self, operator: str, line: int, start: int, end: int, after: str) -> None:
        self.found.append(Mutant(self.path, line, ".".join(self.scope), operator, self.source[start:end], after, start, end))

    def replace(self, operator: str, node: ast.expr | ast.stmt, after: str) -> None:
        self.note(operator, node.lineno, *self.span(node), after)

    def between(self, operator: str, left: ast.expr, right: ast.expr, before: str, after: str) -> None:
        """Change the sign that stands between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = re.sub(r"#[^\n]*", lambda comment: " " * len(comment[0]), self.source[start:end])
        pattern = rf"\b{before.replace(' ', chr(92) + 's+')}\b" if before.isalpha() or " " in before else re.escape(before)
        match = re.search(pattern, gap)
        if match is not None:
            start += match.start()
            self.note(operator, self.source.count("\n", 0, start) + 1, start, start + len(match[0]), after)

    # ---- scopes ----

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name == "__repr__":
            return
        self.scope.append(node.name)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self.body(node.body)
        self.scope.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        self.body(node.body)
        self.scope.pop()

    def visit_Module(self, node: ast.Module) -> None:
        self.body(node.body)

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.visit(statement)

    # ---- what is no behaviour ----

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace("statement dropped", node, "pass")

    def visit_Assert(self, node: ast.Assert) -> None:
        """An assertion says what holds anyway."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """What a person reads."""

    # ---- statements ----

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        self.condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self.condition(node.test)
            self.generic_visit(node)
        else:
            self.body(node.body)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def condition(self, test: ast.expr) -> None:
        start, end = self.span(test)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.source[slice(*self.span(test.operand))]
            self.note("condition negated", test.lineno, start, end, f"({inner})")
        else:
            self.note("condition negated", test.lineno, start, end, f"not ({self.source[start:end]})")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            if ast.unparse(node.value).startswith("super().__init__"):
                return
            self.replace("statement dropped", node, "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = ast.unparse(node.targets[0])
        if target.startswith("__"):
            return
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript) and not (self.scope and self.scope[-1] == "__init__"):
            self.replace("statement dropped", node, "pass")
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.replace("statement dropped", node, "pass")
        if type(node.op) in ARITHMETIC:
            before, after = ARITHMETIC[type(node.op)]
            self.between("arithmetic", node.target, node.value, before + "=", after + "=")
        self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if value is None:
            self.replace("statement dropped", node, "pass")
        elif not isinstance(value, ast.Constant):
            text = ast.unparse(value)
            boolean = isinstance(value, ast.Compare | ast.BoolOp) or text.startswith("not ")
            self.replace("return value", value, f"not ({text})" if boolean else "None")
        if value is not None:
            self.visit(value)

    def visit_Break(self, node: ast.Break) -> None:
        self.replace("statement dropped", node, "pass")

    visit_Continue = visit_Break  # noqa: N815

    # ---- expressions ----

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            edge = isinstance(right, ast.Name) and right.id in WITHOUT_AN_EDGE
            # The first of two is the comparison with or without its edge.
            for after in COMPARISONS[type(op)][edge:]:
                self.between("comparison", left, right, SYMBOL[type(op)], after)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text = isinstance(node.left, ast.JoinedStr) or (isinstance(node.left, ast.Constant) and isinstance(node.left.value, str))
        if type(node.op) in ARITHMETIC and not text:
            self.between("arithmetic", node.left, node.right, *ARITHMETIC[type(node.op)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        before, after = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between("boolean", left, right, before, after)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.replace("boolean", node, self.source[slice(*self.span(node.operand))])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in EXTREMES:
            self.replace("call", node.func, EXTREMES[node.func.id])
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace("constant", node, str(not node.value))
        elif isinstance(node.value, int):
            text = self.source[slice(*self.span(node))]
            self.replace("off by one", node, f"{node.value + 1:#x}" if text.startswith("0x") else str(node.value + 1))
            if node.value > 1:
                self.replace("off by one", node, f"{node.value - 1:#x}" if text.startswith("0x") else str(node.value - 1))


TOKENS: dict[str, tuple[str, tuple[str, ...]]] = {
    " < ": ("comparison", (" <= ", " >= ")),
    " <= ": ("comparison", (" < ", " > ")),
    " > ": ("comparison", (" >= ", " <= ")),
    " >= ": ("comparison", (" > ", " < ")),
    " == ": ("comparison", (" != ",)),
    " != ": ("comparison", (" == ",)),
    " + ": ("arithmetic", (" - ",)),
    " - ": ("arithmetic", (" + ",)),
    " << ": ("arithmetic", (" >> ",)),
    " >> ": ("arithmetic", (" << ",)),
    " & ": ("arithmetic", (" | ",)),
    " | ": ("arithmetic", (" & ",)),
    " += ": ("arithmetic", (" -= ",)),
    " -= ": ("arithmetic", (" += ",)),
    " and ": ("boolean", (" or ",)),
    " or ": ("boolean", (" and ",)),
    "True": ("constant", ("False",)),
    "False": ("constant", ("True",)),
}


def cython(path: str, source: str) -> Iterator[Mutant]:
    """The same changes in a ``.pyx``, by its tokens."""
    pattern = re.compile("|".join(re.escape(token) for token in sorted(TOKENS, key=len, reverse=True)) + r"|(?<![\w.])\d+(?![\w.])")
    start, function, quoted = 0, "", False
    for number, line in enumerate(source.splitlines(keepends=True), 1):
        bare = line.strip()
        quotes = line.count('"""')
        begins = re.match(r"(?:cdef|cpdef|def) .*?(\w+)\(", bare)
        if begins is not None and bare.endswith((":", ",", "(")):
            function = begins[1]
        code = not quoted and not quotes and begins is None and not bare.startswith(("#", "import", "from", "cimport", "cdef extern", '"'))
        if function and code and "raise " not in bare:
            text = line.split("  #")[0]
            for match in pattern.finditer(text):
                operator, others = TOKENS.get(match[0], ("off by one", ()))
                for after in others or (str(int(match[0]) + 1),):
                    yield Mutant(path, number, function, operator, match[0], after, start + match.start(), start + match.end())
            test = re.match(r"\s*(?:el)?if (.*):\s*$", text)
            if test is not None:
                yield Mutant(
                    path, number, function, "condition negated", test[1], f"not ({test[1]})", start + test.start(1), start + test.end(1)
                )
            call = re.fullmatch(r"\s*([\w.]+(?:\[.*\])? = .*|[\w.]+\(.*\)|continue|break)\s*", text)
            if call is not None and not re.search(r"[\[({,]\s*$", text) and "cdef" not in text and "." in call[1].split("=")[0]:
                yield Mutant(path, number, function, "statement dropped", call[1], "pass", start + call.start(1), start + call.end(1))
        if quotes % 2:
            quoted = not quoted
        start += len(line)


def mutants(path: str, source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of the source. A few are no programs any more: see ``is_program``."""
    if path.endswith(".pyx"):
        return list(cython(path, source))
    finder = Finder(path, source)
    finder.visit(ast.parse(source))
    return sorted(dict.fromkeys(finder.found), key=lambda mutant: (mutant.start, mutant.operator, mutant.after))


def is_program(mutant: Mutant, source: str) -> bool:
    """Does Python still read it? Of a Cython source its compiler says."""
    if mutant.path.endswith(".pyx"):
        return True
    try:
        compile(mutant.apply(source), mutant.path, "exec")
    except SyntaxError:
        return False
    return True
