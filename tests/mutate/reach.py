"""Which test reaches which line: the suite, or a part of it, once under coverage.py, with the name of the running test as its context.

    python -m tests.mutate.reach OUT.json [pytest's arguments]

Lines that run at import have no test of their own. What a test does in another process is not seen.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest


class Plugin:
    """Tells coverage.py which test runs."""

    def __init__(self, cover: coverage.Coverage) -> None:
        self.cover = cover
        self.seconds: dict[str, float] = {}
        self.bad: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.cover.switch_context(item.nodeid)
        began = time.monotonic()
        yield
        self.seconds[item.nodeid] = time.monotonic() - began
        self.cover.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.bad.add(report.nodeid)


def main() -> int:
    """Run, and write what was found."""
    cover = coverage.Coverage(data_file=None, include=[str(Path("fastnet").resolve() / "*")], branch=False, config_file=False)
    plugin = Plugin(cover)
    cover.start()
    code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]], plugins=[plugin])
    cover.stop()
    data = cover.get_data()
    names = [name for name in plugin.seconds if name not in plugin.bad]
    number = {name: index for index, name in enumerate(names)}
    lines = {
        str(Path(file).relative_to(Path.cwd())): {
            line: sorted(number[name] for name in contexts if name in number) for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    found = {"tests": [[name, round(plugin.seconds[name], 3)] for name in names], "lines": lines}
    Path(sys.argv[1]).write_text(json.dumps(found))
    print(f"{len(names)} tests, {len(plugin.bad)} that failed or were skipped are left out")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
