"""What holds the house together where no linter looks: compiled leaves, double declarations, settings, the state table."""

import importlib.util
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


def test_every_counter_is_asserted_on_somewhere() -> None:
    """A name that only stands in a comment does not count; this file, which has none of its own, does not either."""
    text = "".join(
        re.sub(r"#.*", "", path.read_text()) for path in Path(__file__).parent.rglob("*.py") if path != Path(__file__)
    )
    missing = [name for name in NAMES if not re.search(rf"(counter\(\"|counters\.|\"){name}\b", text)]
    assert missing == []


def test_counters_that_are_not_linuxs_are_said_to_be_so() -> None:
    """The kernel's own list, as /proc/net has it; it has every name that is not in ``OWN``."""
    known = set()
    for path, bare in (("snmp", False), ("snmp6", False), ("netstat", True)):
        lines = Path("/proc/net", path).read_text().splitlines() if Path("/proc/net", path).exists() else []
        for line in lines:
            group, *names = line.replace(":", "").split()
            known |= {group} if path == "snmp6" else {name if bare else group + name for name in names}
    if "TcpInSegs" in known and "TW" in known and "Ip6InDiscards" in known:
        assert set(NAMES) - set(OWN) <= known and not set(OWN) & known


def test_the_servers_leave_urgent_data_and_the_ds_field_alone() -> None:
    """RFC 9293 SHLD-13, SHLD-23: programs should not use the one, nor change the other; ours do not."""
    for path in [*(PACKAGE / "server").glob("*.py"), *(PACKAGE / "load").glob("*.py"), *(PACKAGE / "cli").glob("*.py")]:
        assert not re.search(r"send_urgent|MSG_OOB|IP_TOS|\.tos\b", path.read_text()), path


@pytest.mark.parametrize(("change", "says"), [
    (("", ""), None),
    (("::test_a_segment", "::test_a_segment_that_is_none"), "does not exist"),
    (("tests/one.py", "tests/none.py"), "does not exist"),
    (("def test_a_segment", "@pytest.mark.skip\ndef test_a_segment"), "may not run: pytest.mark.skip"),
    (("def test_a_segment", "@pytest.mark.skipif(True, reason='x')\ndef test_a_segment"), "may not run"),
    (("def test_a_segment", "@pytest.mark.xfail(strict=True)\ndef test_a_segment"), "may not run"),
    (("    assert 1", "    if 1:\n        pytest.skip('no')"), "may not run: pytest.skip"),
    (("    assert 1", "    pytest.importorskip('x')"), "may not run"),
    (("import pytest", "import pytest\npytestmark = pytest.mark.skipif(True, reason='x')"), "may not run"),
    (("def test_a_segment", "# skip\ndef test_a_segment"), None),
    (("def test_a_segment", "def other(): pytest.skip('x')\ndef test_a_segment"), None),
    (("tests/one.py::test_a_segment", "some day"), "neither a test nor a reason"),
    (("tests/one.py::test_a_segment", "out of scope: so it is"), None),
    (("tests/one.py::test_a_segment", "tests/one.py::test_a_segment; tests/one.py::test_none"), "does not exist"),
    (("tests/one.py::test_a_segment", "tests/one.py::test_a_segment but not the rest"), None),
])  # fmt: skip
def test_a_proof_must_be_a_test_that_runs(
    change: tuple[str, str], says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/generate.py over a table of one line."""
    spec = importlib.util.spec_from_file_location("generate", PACKAGE.parent / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "HERE", tmp_path)
    (tmp_path / "tests").mkdir()
    table = "label\tlevel\tsection\tsubject\tproof\nMUST-0\tMUST\t0\tx\ttests/one.py::test_a_segment\n"
    module = "import pytest\n\ndef test_a_segment():\n    assert 1\n"
    (tmp_path / "rfc9293.tsv").write_text(table.replace(*change) if change[0] else table)
    (tmp_path / "tests" / "one.py").write_text(module.replace(*change) if change[0] else module)
    if says is None:
        assert "MUST-0" in generate.rfc9293()
    else:
        with pytest.raises(SystemExit, match=re.escape(says)):
            generate.rfc9293()


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


def test_what_is_left_out_over_ipv6_is_there() -> None:
    """A test that was renamed would be left out no more, or stay in the list for ever."""
    protocol = Path(__file__).with_name("protocol")
    for line in (protocol / "ipv4.tsv").read_text().splitlines():
        if not line.startswith("#"):
            file, name, reason = line.split("\t")
            assert f"def {name}(" in (protocol / file).read_text() and reason, line
