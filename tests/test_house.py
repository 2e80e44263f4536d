"""What holds the house together where no linter looks: compiled leaves, double declarations, settings, the state table."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import fastnet
from fastnet.config import BOUNDS, WORDS, SettingError, Settings
from fastnet.counters import NAMES, OWN, Counters
from fastnet.tcp.states import TRANSITIONS, Event, State, next_state

PACKAGE = Path(fastnet.__file__).parent


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("_*.p[yx][xd]")), ids=lambda path: path.name)
def test_leaves_know_only_leaves(path: Path) -> None:
    imported = re.findall(r"^(?:from|c?import) +(fastnet[\w.]*)", path.read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"fastnet\._\w+", name) for name in imported), imported


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.pyx")), ids=lambda path: path.name)
def test_every_compiled_module_is_typed_for_python(path: Path) -> None:
    assert path.with_suffix(".pyi").exists()


def test_no_rule_of_tcp_is_in_a_pyx() -> None:
    assert not list((PACKAGE / "tcp").glob("*.pyx")) and not list((PACKAGE / "ip").glob("*.pyx"))


def test_counters_of_both_files_are_the_same() -> None:
    declared = re.findall(r"cdef public long long (\w+)", (PACKAGE / "counters.pxd").read_text())
    documented = re.findall(r"^    (\w+): int$", (PACKAGE / "counters.py").read_text(), re.MULTILINE)
    assert sorted(declared) == sorted(documented) == sorted(NAMES)
    assert set(OWN) < set(NAMES)


def test_counters() -> None:
    counters = Counters()
    counters.count("TcpInErrs")
    counters.ListenDrops += 2
    assert {name: value for name, value in counters.as_dict().items() if value} == {"TcpInErrs": 1, "ListenDrops": 2}
    counters.clear()
    assert not any(counters.as_dict().values())


def test_every_counter_is_counted_somewhere() -> None:
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyx"))
    for name in NAMES:
        assert len(re.findall(rf"(counters\.{name} [+-]=|\"{name}\",)", text)) > 0, name


@pytest.mark.parametrize("pure", ["0", "1"])
def test_pure_means_uncompiled(pure: str) -> None:
    program = "import fastnet.stack, fastnet.tcp.connection as c; print(c.__file__)"
    environment = {**os.environ, "FASTNET_PURE": pure}
    file = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment).stdout
    assert file.strip().endswith(".py") == (pure == "1")


# ---- settings ----


def test_every_setting_has_bounds_and_a_default_within() -> None:
    assert {field.name for field in fields(Settings)} == set(BOUNDS) | set(WORDS)
    Settings()


def test_settings_by_name() -> None:
    settings = Settings()
    settings.set("tcp_synack_retries", "3")
    settings.set("tcp_rmem", "4096 8192 16384")
    settings.set("tcp_wmem", "4096,8192,16384")
    assert (settings.tcp_synack_retries, settings.tcp_rmem, settings.tcp_wmem) == (3, (4096, 8192, 16384), (4096, 8192, 16384))
    assert Settings.of({"somaxconn": 5}).somaxconn == 5
    assert Settings.of(settings) is settings and Settings.of(None) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("tcp_nonsense", "1", "no setting 'tcp_nonsense'"),
        ("tcp_synack_retries", "many", "whole numbers"),
        ("tcp_synack_retries", "", "whole numbers"),
        ("tcp_synack_retries", "1 2", "one number"),
        ("tcp_synack_retries", "256", "0 to 255"),
        ("tcp_synack_retries", "-1", "0 to 255"),
        ("tcp_syncookies", "3", "0 to 2"),
        ("tcp_rmem", "4096", "three numbers"),
        ("tcp_rmem", "9000 8000 7000", "rising order"),
        ("tcp_rmem", "1 2 3", "1024 to"),
    ],
)
def test_bad_settings_say_what_is_wrong(name: str, value: str, says: str) -> None:
    settings = Settings()
    with pytest.raises(SettingError, match=re.escape(says)):
        settings.set(name, value)
    assert settings == Settings(), "and change nothing"


# ---- the state table ----


def test_transitions_are_those_of_the_table_and_no_others() -> None:
    for state in State:
        for event in Event:
            if (state, event) in TRANSITIONS:
                assert next_state(state, event) == TRANSITIONS[state, event]
            else:
                with pytest.raises(RuntimeError, match="no transition"):
                    next_state(state, event)


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.CLOSED}
    while True:
        more = {after for (before, _), after in TRANSITIONS.items() if before in reached} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(State)
    assert {before for before, _ in TRANSITIONS} == reached


def test_states_are_numbered_as_linux_does() -> None:
    """enum tcp_states: ss, tcp_info and eBPF tools use these numbers."""
    assert (State.ESTABLISHED, State.SYN_RECEIVED, State.TIME_WAIT, State.LISTEN, State.CLOSING) == (1, 3, 6, 10, 11)
