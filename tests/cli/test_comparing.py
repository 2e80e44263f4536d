"""What ``fastnet compare`` says of what was measured: every column of every table, and the JSON."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from fastnet.cli import comparing
from fastnet.cli.main import group
from fastnet.cli.tables import print_table, ratio
from fastnet.load import bulk, compare, flood
from fastnet.load.memory import Cycles


def handshakes() -> compare.Comparison:
    """Three rounds; the kernel's are 1,000 handshakes a second at 10 us each, in the second round twice as many."""

    def row(name: str, rates: tuple[float, ...], cpus: tuple[float, ...], base: int) -> compare.Row:
        samples = [
            compare.Sample(rate, cpu * 1e-6, 0, 100, base + i, base + 10 + i, (base + 20 + i) * 1e-6, (base + 40 + i) * 1e-6)
            for i, (rate, cpu) in enumerate(zip(rates, cpus, strict=True))
        ]
        return compare.Row(name, samples)

    rows = {
        "fastnet": row("fastnet", (3000, 1000, 2000), (5, 4, 2), 100),
        "kernel": row("kernel", (1000, 2000, 1000), (10, 20, 10), 200),
        "floor": row("floor", (9000, 8000, 7000), (1, 2, 3), 300),
    }
    return compare.Comparison(rows, 128, "server", 0.5, 3)


def cells(text: str, name: str) -> list[str]:
    """The row of a table that begins so."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(name + " ")]
    return line.strip().removeprefix(name).split()


def shown(show: Any, result: Any) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    show(result, False, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_of_handshakes() -> None:
    """Medians of rates, costs and latencies; sums of failures and retransmissions; medians of the rounds' ratios."""
    text = shown(comparing.show, handshakes())
    assert "TCP handshakes, 128 in flight, medians of 3 rounds of 0.5 s" in text
    assert cells(text, "fastnet") == ["2,000", "2.00", "4.00", "0.20", "303", "333", "121", "141"]
    assert cells(text, "kernel, C loop") == ["1,000", "1.00", "10.00", "1.00", "603", "633", "221", "241"]
    assert cells(text, "stateless floor") == ["8,000", "7.00", "2.00", "0.10", "903", "933", "321", "341"]


def test_without_a_kernel_there_are_no_ratios() -> None:
    result = handshakes()
    del result.rows["kernel"]
    assert result.ratio("fastnet", "rate") is None is result.ratio("kernel", "rate")
    assert cells(shown(comparing.show, result), "fastnet") == ["2,000", "4.00", "303", "333", "121", "141"]
    assert ratio(None) == "" and ratio(0.0) == "0.00" and ratio(1.005) == "1.00"


def test_a_round_in_which_the_kernel_cost_nothing_has_no_ratio() -> None:
    result = handshakes()
    result.rows["kernel"].samples[0].cpu = 0
    assert result.ratio("fastnet", "cpu") == pytest.approx(0.2)
    for sample in result.rows["kernel"].samples:
        sample.cpu = 0
    assert result.ratio("fastnet", "cpu") is None


def test_the_json_of_handshakes(capsys: pytest.CaptureFixture[str]) -> None:
    comparing.show(handshakes(), True)
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["schema"], found["in_flight"], found["ending"], found["duration"], found["rounds"]) == (1, 128, "server", 0.5, 3)
    row = found["rows"]["fastnet"]
    assert (row["rate"], row["rate_ratio"], row["failures"], row["retransmissions"]) == (2000, 2, 303, 333)
    assert (row["cpu"], row["cpu_ratio"], row["p50"], row["p99"]) == pytest.approx((4e-6, 0.2, 121e-6, 141e-6))
    assert [sample["rate"] for sample in row["samples"]] == [3000, 1000, 2000] and row["samples"][0]["completed"] == 100


def of_bulk() -> bulk.Bulk:
    samples = {("kernel", "to"): [2e9, 1e9, 3e9], ("kernel", "from"): [1e9, 1e9, 1e9]}
    samples |= {("offload", "to"): [1e9] * 3, ("offload", "from"): [5e8, 7.5e8, 1e9]}
    samples |= {("plain", "to"): [5e8] * 3, ("plain", "from"): [1e8] * 3}
    return bulk.Bulk(3, 2.0, samples)


def test_the_table_of_bulk() -> None:
    """Gbit/s of bytes/s, and each direction against the kernel's."""
    text = shown(comparing.show_bulk, of_bulk())
    assert "One connection, medians of 3 rounds of 2 s" in text
    assert cells(text, bulk.ROWS["kernel"]) == ["16.0", "1.00", "8.0", "1.00"]
    assert cells(text, bulk.ROWS["offload"]) == ["8.0", "0.50", "6.0", "0.75"]
    assert cells(text, bulk.ROWS["plain"]) == ["4.0", "0.25", "0.8", "0.10"]


def test_the_json_of_bulk(capsys: pytest.CaptureFixture[str]) -> None:
    comparing.show_bulk(of_bulk(), True)
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["schema"], found["bulk"], found["rounds"], found["duration"]) == (1, True, 3, 2.0)
    assert found["rows"]["offload"]["from"] == {"rate": 7.5e8, "ratio": 0.75, "samples": [5e8, 7.5e8, 1e9]}


def of_floods() -> flood.Floods:
    def sample(cpu: float, n: int) -> flood.Sample:
        return flood.Sample(
            sent=1000, rate=1e5 * n, cpu=cpu * 1e-6, ok=10 * n, failed=n, handshake_p50=0.001 * n, handshake_p99=0.002 * n,
            exchange_p50=0.003 * n, exchange_p99=0.004 * n, cookies_sent=900 * n, cookies_received=90 * n, growth=n << 19,
        )  # fmt: skip

    rows = {name: [sample(cpu * n, n) for n in (1, 3, 2)] for name, cpu in (("fastnet", 2), ("kernel", 4), ("floor", 1))}
    return flood.Floods("syn", 1000, 0, 20, 3, rows)


def test_the_tables_of_floods() -> None:
    """The floor has neither cookies nor visitors, and what the kernel's memory grew by nobody knows. Growth is the worst round's."""
    text = shown(comparing.show_floods, of_floods())
    assert "Flood: syn, 1,000 packets, 3 rounds" in text and "Meanwhile: 20 honest clients, 3 rounds; times in ms" in text
    load, visits = text.split("Meanwhile")
    assert cells(load, "fastnet") == ["200,000", "4.00", "2.00", "5,400", "540", "1.5"]
    assert cells(load, "kernel") == ["200,000", "8.00", "4.00", "5,400", "540"]
    assert cells(load, "floor") == ["200,000", "2.00", "1.00", "1.5"]
    assert cells(visits, "fastnet") == ["60", "6", "2.00", "4.00", "6.00", "8.00"] == cells(visits, "kernel")
    assert "floor" not in visits


def test_the_json_of_floods(capsys: pytest.CaptureFixture[str]) -> None:
    comparing.show_floods(of_floods(), True)
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["flood"] == "syn" and found["rows"]["fastnet"]["ok"] == 60


class Clients:
    """Stands for ``MemoryClient``: cycles of 1, 2, 3, ... ms for each thousand."""

    made: tuple[Any, ...] = ()
    runs: list[int]

    def __init__(self, flows: int, settings: Any) -> None:
        Clients.made, Clients.runs = (flows, settings.tcp_sack), []

    def run(self, rounds: int) -> Cycles:
        self.runs.append(rounds)
        return Cycles(1000, 0.001 * (7 * len(self.runs) % 5 + 1))


def test_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that warms up and is not counted, and then the rounds, whose median it is."""
    monkeypatch.setattr(comparing, "MemoryClient", Clients)
    done = CliRunner().invoke(group, ["compare", "--memory", "--rounds", "3", "--in-flight", "50", "--json", "--set", "tcp_sack=0"])
    assert done.exit_code == 0, done
    assert Clients.made == (50, 0) and Clients.runs == [501, 2000, 2000, 2000]
    found = json.loads(done.stdout)
    rates = sorted(1000 / (0.001 * (7 * i % 5 + 1)) for i in (2, 3, 4))
    assert found == {
        "schema": 1, "memory": True, "flows": 50, "cycles_per_second": rates[1], "samples": rates,
        "left_out": ["TUN and system calls", "the kernel's rows", "the client's own time"],
    }  # fmt: skip
    done = CliRunner().invoke(group, ["compare", "--memory", "--rounds", "3"])
    assert Clients.made == (128, 1) and Clients.runs == [196, 781, 781, 781]
    per_second = round(rates[1])
    assert f"fastnet in memory, 128 flows at once: {per_second:,} full cycles/s ({1e6 / rates[1]:.2f} us each), one core" in done.stdout
    assert done.stdout.endswith("Left out: TUN and system calls, the kernel's rows, the client's own time.\n")
    CliRunner().invoke(group, ["compare", "--memory", "--in-flight", "4096"])
    assert Clients.runs == [7, *[24] * 5], "five rounds when nothing is said"


# ---- tables ----


def test_a_title_is_plain_and_a_file_has_room() -> None:
    """No colours of numbers in a title; in a pipe a table is as wide as it wants to be, and numbers stand at the right."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    print_table("5 rounds of 2.0 s", ("a\nb",), [("one", "1"), ("another", "1,000")], console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[0] == "5 rounds of 2.0 s"
    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    lines = [line.rstrip() for line in text.splitlines()]
    one, another = (next(line for line in lines if line.strip().startswith(name)) for name in ("one", "another"))
    assert len(one) == len(another) and one.endswith(" 1") and another.endswith(" 1,000")
    head = [line for line in lines if line.strip()][1:3]
    assert head[0].strip() == "a" and head[1].split() == ["server", "b"], "a heading of one line stands on the lower"
    file = Console(file=io.StringIO(), width=20)
    print_table("title", tuple("column of a word" for _ in range(5)), [("name", *["x"] * 5)], file)
    assert file.width == 120 and "…" not in file.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("width", "widest"), [(80, 31), (32, 31), (31, 29)])
def test_a_table_that_does_not_fit_loses_its_padding_first(width: int, widest: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_table("t", ("1234567890",) * 2, [("server", "x", "y")], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text and text.count("1234567890") == 2
    assert max(len(line.rstrip()) for line in text.splitlines() if "1234" in line) == widest
