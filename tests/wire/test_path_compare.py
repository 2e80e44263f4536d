"""The bench of long and lossy paths runs to its end: data comes in each row, a lost request is answered. Figures are not judged here."""

import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "path_compare.py"
ROWS = ["kernel to kernel", "fastnet to kernel", "kernel to fastnet"]


def test_one_short_round() -> None:
    command = [sys.executable, str(BENCH), "--rounds", "1", "--duration", "0.3", "--warm-up", "0.2", "--rate", "20"]
    command += ["--controls", "cubic", "--losses", "3"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    tables = [[line for line in table.splitlines() if line.startswith(tuple(ROWS))] for table in output.split("\n\n")]
    bulk, lossy, requests = [table for table in tables if table]
    for table in (bulk, lossy):
        assert [line[:20].strip() for line in table] == ROWS
        assert all(int(line[20:32].replace(",", "")) >= 0 for line in table), output
    times = [[float(number) for number in re.findall(r"[\d.]+", line[20:])] for line in requests[:3]]
    for first, none, later, answer in times:
        # 50 ms there and back; what is lost takes that and a timeout longer.
        assert none >= 50 and min(first, later, answer) > 100, output
