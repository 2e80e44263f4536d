"""Which test reaches which line: the suite, or a part of it, once under coverage.py, with the name of the running test as its context.

    python -m tests.mutate.reach OUT.json [pytest's arguments]

Lines that run at import have no test of their own. What a test does in a child that it forked is seen, where the child ends with
``os._exit``; what it does in a new Python, too (programs/sitecustomize.py), unless the test gives that another PYTHONPATH. A process
that is killed leaves no note of what it ran.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import coverage
import pytest

START = Path.cwd()
PROGRAMS = Path(__file__).with_name("programs")
"""What a new Python finds first: its sitecustomize."""


class Plugin:
    """Tells coverage.py which test runs."""

    def __init__(self, cover: coverage.Coverage) -> None:
        self.cover = cover
        self.seconds: dict[str, float] = {}
        self.bad: set[str] = set()
        self.running = ""
        self.directory = Path(tempfile.mkdtemp())
        self.leave = os._exit

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.running = item.nodeid
        os.environ["FASTNET_REACH_TEST"] = item.nodeid
        self.cover.switch_context(item.nodeid)
        began = time.monotonic()
        yield
        self.seconds[item.nodeid] = time.monotonic() - began
        self.cover.switch_context("")
        self.running = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.bad.add(report.nodeid)

    def forked(self) -> None:
        """This is a child now: what it runs is its own."""
        self.cover.stop()
        self.cover.erase()
        self.cover.start()
        self.cover.switch_context(self.running)

    def exit(self, code: int) -> NoReturn:
        """Leave a note of what the child ran, and end it."""
        self.cover.stop()
        data = self.cover.get_data()
        lines = {relative(file): data.lines(file) for file in data.measured_files()}
        # Process ids repeat: in PID namespaces, and in time.
        (self.directory / os.urandom(8).hex()).write_text(json.dumps({"test": self.running, "lines": lines}))
        self.leave(code)

    def children(self) -> Iterator[tuple[str, dict[str, list[int]]]]:
        """The test and the lines of each child that left a note."""
        for note in self.directory.iterdir():
            found = json.loads(note.read_text())
            yield found["test"], found["lines"]


def relative(file: str) -> str:
    return str(Path(file).relative_to(START))


def main() -> int:
    """Run, and write what was found."""
    cover = coverage.Coverage(data_file=None, include=[str(Path("fastnet").resolve() / "*")], branch=False, config_file=False)
    plugin = Plugin(cover)
    os.register_at_fork(after_in_child=plugin.forked)
    os.environ["FASTNET_REACH_NOTES"] = str(plugin.directory)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROGRAMS), str(START), *filter(None, [os.environ.get("PYTHONPATH")])])
    parent = os.getpid()
    os._exit = lambda status: plugin.exit(status) if os.getpid() != parent else plugin.leave(status)
    cover.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]], plugins=[plugin])
    cover.stop()
    data = cover.get_data()
    names = [name for name in plugin.seconds if name not in plugin.bad]
    number = {name: index for index, name in enumerate(names)}
    lines = {
        relative(file): {
            line: sorted(number[name] for name in contexts if name in number) for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    for test, reached in plugin.children():
        for file, numbers in reached.items() if test in number else ():
            for line in numbers:
                tests = lines.setdefault(file, {}).get(line)
                if tests is None:
                    lines[file][line] = [number[test]]
                # A line without a test runs at import, here as there.
                elif tests and number[test] not in tests:
                    tests.append(number[test])
    found = {"tests": [[name, round(plugin.seconds[name], 3)] for name in names], "lines": lines}
    Path(sys.argv[1]).write_text(json.dumps(found))
    print(f"{len(names)} tests, {len(plugin.bad)} that failed or were skipped are left out")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
