"""``fastnet sweep``: options, output, exit codes, a picture and a cluster."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fastnet.cli.sweep import command
from fastnet.sweep import Cell, Grid, measure, sweep
from fastnet.sweep.grid import NAMES
from fastnet.sweep.plot import figure

QUICK = ["--duration", "500ms", "--rate", "1M", "--rtt", "20ms"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*QUICK, *arguments])


def cells_of(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    cells: list[dict[str, object]] = [entry["cell"] for entry in json.loads(result.stdout)["cells"]]
    return cells


def test_the_same_options_give_the_same_bytes() -> None:
    arguments = ("--loss", "0,5%", "--seed", "0..2", "--jobs", "2", "--json")
    first, second = run(*arguments), run(*arguments)
    assert first.exit_code == 0 and first.stdout == second.stdout
    assert [(cell["loss"], cell["seed"]) for cell in cells_of(first)] == [(loss, seed) for loss in (0, 0.05) for seed in range(3)]


def test_the_command_and_python_agree() -> None:
    found = json.loads(run("--json", "--control", "reno").stdout)["cells"][0]
    assert found["goodput"] == measure(Cell(duration=0.5, rate=1e6, rtt=0.02, control="reno")).goodput


def test_every_field_of_a_cell_is_an_option() -> None:
    named = {parameter.name for parameter in command.params}
    assert set(NAMES) <= named


def test_every_axis_reaches_the_cell() -> None:
    cell = cells_of(run(
        "--loss", "1%", "--queue", "20p", "--control", "cubic+reno", "--seed", "3", "--flows", "2", "--spacing", "100ms", "--hold", "200ms",
        "--discipline", "red", "--ecn", "on", "--ack-loss", "0.02", "--cross", "10%", "--policer", "900k", "--bucket", "5000",
        "--blackout", "50ms", "--blackout-at", "300ms", "--warmup", "10ms", "--mtu", "1280", "--set", "tcp_sack=0", "--json",
    ))[0]  # fmt: skip
    assert cell == {
        "loss": 0.01, "rtt": 0.02, "rate": 1e6, "queue": "20p", "control": "cubic+reno", "seed": 3, "flows": 2, "spacing": 0.1, "hold": 0.2,
        "discipline": "red", "ecn": True, "ack_loss": 0.02, "cross": 0.1, "policer": 900e3, "bucket": 5000, "blackout": 0.05,
        "blackout_at": 0.3, "duration": 0.5, "warmup": 0.01, "mtu": 1280, "settings": {"tcp_sack": 0},
    }  # fmt: skip


def test_csv() -> None:
    result = run("--csv", "--seed", "0,1")
    assert [row["seed"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["0", "1"]


def test_the_table_has_what_was_varied() -> None:
    result = run("--loss", "0,5%", "--seed", "1")
    assert result.exit_code == 0
    head, _, first, second = [line for line in result.stdout.splitlines() if line.strip()]
    assert head.split()[:3] == ["loss", "goodput", "Mbit/s"] and "seed" not in head
    assert first.split()[0] == "0%" and second.split()[0] == "5%"


@pytest.mark.parametrize(("arguments", "says"), [
    (["--rtt", "50"], "'50' is no number such as 1us, 1ms, 1s"), (["--loss", "0..2:1"], "loss is 0 to 1"),
    (["--json", "--csv"], "one of them"),
    (["--control", "vegas"], "no congestion control 'vegas'"), (["--set", "tcp_nonsense=1"], "no setting"),
    (["--set", "tcp_sack"], "NAME=VALUE"),
    (["--ecn", "maybe"], "neither on nor off"), (["--plot", "x.png", "--seed", "0,1"], "of one cell"),
    (["--dask", "x", "--jobs", "2"], "goes with"),
    (["--jobs", "0"], "--jobs"), (["--discipline", "fifo"], "droptail"), (["--warmup", "1s"], "shorter than duration"),
])  # fmt: skip
def test_wrong_options(arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and says in result.output


def test_as_a_program() -> None:
    program = [str(Path(sys.executable).with_name("fastnet")), "sweep", *QUICK, "--json"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["cells"]) == 1


# ---- pictures ----


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture(ending: str, begins: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"run.{ending}"
    result = run("--loss", "2%", "--plot", str(path))
    assert result.exit_code == 0 and "goodput" in result.stdout
    assert path.read_bytes().startswith(begins)


def test_what_a_picture_shows() -> None:
    result = measure(Cell(loss=0.02, duration=2), trace=True)
    sequence, windows, queue = figure(result).axes
    assert [line.get_label() for line in windows.get_lines()] == ["CWND", "SSTHRESH", "in flight"]
    assert [line.get_label() for line in queue.get_lines()] == ["queue", "full"]
    sent, again = sequence.get_lines()
    assert len(again.get_xdata()) == result.retransmitted > 0
    assert len(sent.get_xdata()) > 100


def test_pictures_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="no trace"):
        figure(measure(Cell(duration=0.1)))
    result = run("--plot", "run.nonsense")
    assert result.exit_code == 3 and "nonsense" in result.stderr


@pytest.mark.parametrize(("extra", "arguments"), [("plot", ["--plot", "run.png"]), ("dask", ["--dask", "tcp://127.0.0.1:1"])])
def test_without_the_extra(extra: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)
    result = run(*arguments)
    assert result.exit_code == 3 and f"fastnet-tcp[{extra}]" in result.stderr


# ---- a cluster ----


@pytest.mark.filterwarnings("ignore")
def test_on_a_cluster() -> None:
    """A scheduler and two workers, processes of their own, on loopback."""
    from distributed import LocalCluster

    from fastnet.sweep import dask_executor

    grid = Grid(loss=[0, 0.05], seed=range(3), duration=0.5, rate=1e6, rtt=0.02)
    here = list(sweep(grid, jobs=1))
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with dask_executor(address) as executor:
            assert list(sweep(grid, executor)) == here
        options = ["--loss", "0,5%", "--seed", "0..2", "--json", "--dask", address]
        program = [str(Path(sys.executable).with_name("fastnet")), "sweep", *QUICK, *options]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["cells"] == json.loads(json.dumps([result.as_dict() for result in here]))


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_is_not_there() -> None:
    """Port 1 of loopback, where nobody listens."""
    program = [str(Path(sys.executable).with_name("fastnet")), "sweep", *QUICK, "--dask", "tcp://127.0.0.1:1"]
    environment = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("fastnet: ") and "Traceback" not in done.stderr
