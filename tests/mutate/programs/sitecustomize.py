"""Every Python that a test under ``tests.mutate.reach`` starts imports this: it notes which lines of fastnet the program runs.

The program's forks are seen too, where they end with ``os._exit``. A process that is killed leaves no note.
"""

import atexit
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

NOTES = "FASTNET_REACH_NOTES"
"""The directory for notes; without it nothing is noted."""
TEST = "FASTNET_REACH_TEST"
"""The test that runs."""


def begin(notes: Path, test: str) -> None:
    """Measure from now on, and leave a note at the end of this process and of its forks."""
    import coverage

    tree = Path(__file__).parents[3]
    cover = coverage.Coverage(data_file=None, include=[str(tree / "fastnet" / "*")], branch=False, config_file=False)
    leave = os._exit

    def forked() -> None:
        cover.stop()
        cover.erase()
        cover.start()

    def note() -> None:
        cover.stop()
        data = cover.get_data()
        lines = {str(Path(file).relative_to(tree)): data.lines(file) for file in data.measured_files()}
        # In a namespace of its own it may have no right to write there. Process ids repeat in PID namespaces.
        with suppress(OSError):
            (notes / os.urandom(8).hex()).write_text(json.dumps({"test": test, "lines": lines}))

    def leave_a_note(status: int) -> NoReturn:
        note()
        leave(status)

    os.register_at_fork(after_in_child=forked)
    os._exit = leave_a_note
    atexit.register(note)
    cover.start()


if os.environ.get(NOTES) and os.environ.get(TEST):
    begin(Path(os.environ[NOTES]), os.environ[TEST])
