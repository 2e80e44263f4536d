"""Every benchmark says what one item took, beside pytest-benchmark's own table."""

from collections.abc import Iterator

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    rows = [
        (bench["name"], bench.get("extra_info", {}).get("per_item"))
        for bench in (entry.as_dict(include_data=False) for entry in getattr(session, "benchmarks", []))
    ]
    rows = [row for row in rows if row[1]]
    if rows:
        terminalreporter.section("per item, best round")
        for name, text in rows:
            terminalreporter.write_line(f"{text:>28}  {name}")


@pytest.fixture
def per_item(benchmark) -> Iterator[list[tuple[int, str]]]:
    """Append (items of a round, unit) to have the best round divided by them."""
    asked: list[tuple[int, str]] = []
    yield asked
    if asked and benchmark.stats:
        items, unit = asked[0]
        best = benchmark.stats.stats.min
        benchmark.extra_info["per_item"] = f"{best / items * 1e9:.1f} ns/{unit}"
