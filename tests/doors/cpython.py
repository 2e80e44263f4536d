"""CPython's own tests of sockets and of what is built on them, over fastnet: a stack on a loopback device that owns 127.0.0.1 and ::1.

    python -m tests.doors.cpython            what fails, and whether it is known
    python -m tests.doors.cpython --write    docs/cpython-tests.md

The tests are the ones that the interpreter ships, unchanged, under ``fastnet.patched()``. One that passes without a fastnet socket having
been made says nothing about fastnet, and is not counted; nor is one that fails over the kernel too.
"""

import argparse
import importlib.util
import platform
import re
import socket
import subprocess
import sys
import time
import unittest
from collections import Counter
from pathlib import Path
from typing import Any

import fastnet
from fastnet.ambient import Ambient
from fastnet.devices import LoopbackDevice
from fastnet.driver import Driver
from fastnet.opensocket import OpenSocket
from fastnet.stack import Stack

PAGE = Path(__file__).parents[2] / "docs" / "cpython-tests.md"

MODULES: dict[str, tuple[str, ...]] = {
    "test_socket": (
        "GeneralModuleTests", "BasicTCPTest", "BasicTCPTest2", "TCPCloserTest", "TCPTimeoutTest", "NonBlockingTCPTests", "BufferIOTest",
        "FileObjectClassTestCase", "UnbufferedFileObjectClassTestCase", "LineBufferedFileObjectClassTestCase",
        "SmallBufferedFileObjectClassTestCase", "UnicodeReadFileObjectClassTestCase", "UnicodeWriteFileObjectClassTestCase",
        "UnicodeReadWriteFileObjectClassTestCase", "NetworkConnectionNoServer", "NetworkConnectionAttributesTest",
        "NetworkConnectionBehaviourTest", "ContextManagersTest", "InheritanceTest", "NonblockConstantTest", "SendmsgTCPTest",
        "RecvmsgTCPTest", "RecvmsgIntoTCPTest", "InterruptedSendTimeoutTest", "SendfileUsingSendTest", "SendfileUsingSendfileTest",
        "CreateServerTest", "CreateServerFunctionalTest",
    ),
    "test_selectors": (),
    "test_socketserver": (),
    "test_ftplib": (),
    "test_httplib": (),
    "test_poplib": (),
    "test_smtplib": (),
    "test_xmlrpc": (),
    "test_asyncore": (),
    "test_telnetlib": (),
    "test_timeout": (),
    "test_wsgiref": (),
}  # fmt: skip
"""Module -> its classes, all of them where none is named."""

REASONS: dict[str, str] = {
    **{
        f"test_asyncore.TestAPI_UseIPv{version}{kind}.test_handle_expt":
            "urgent bytes stay in the stream (RFC 6093 section 4): there is no EPOLLPRI"
        for version in (4, 6)
        for kind in ("Poll", "Select")
    },
    **{
        f"test_selectors.{kind}SelectorTestCase.test_unregister_after_fd_close_and_reuse":
            "it takes a number back with dup2 that it closed, and that the stack may have by then"
        for kind in ("Default", "Epoll", "Poll", "Select")
    },
    **{
        f"test_selectors.{kind}SelectorTestCase.test_above_fd_setsize": "left out: with the descriptors of fastnet's pairs it takes 20 s"
        for kind in ("Default", "Epoll", "Poll")
    },
    **{
        f"test_selectors.{kind}SelectorTestCase.test_select_read_write":
            "wants what was sent a moment before, without waiting: it arrives with the next turn of the stack's thread"
        for kind in ("Default", "Epoll", "Poll", "Select")
    },
    "test_socketserver.SocketServerTest.test_ForkingTCPServer": "a child process has no thread that polls the stack",
}
"""Test -> why it does not pass, or is not run."""

LATE: dict[str, str] = {
    r"(TimeoutError|timed out)\b": "a wait of its own ran out",
    r"elapsed|not (less|greater) than|took too long": "it measures how long something took",
}
"""What the last line of a failure says when a busy machine may be to blame -> that reason. No other failure gets a second try."""


class Judge(unittest.TestResult):
    """Notes the outcome of each test that had a fastnet socket.

    :ivar passed: tests that did; ``failed``: the others, with what they said
    :ivar left_out: tests that skip themselves, with the reason
    :ivar without: how many passed without a fastnet socket
    """

    def __init__(self, aloud: bool) -> None:
        super().__init__()
        self.aloud = aloud
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.without = 0
        self.made = 0
        self._before = 0

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        self._before = self.made
        self._began = time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().stopTest(test)
        if self.aloud:
            print(f"{time.monotonic() - self._began:6.2f} s  {name(test)}", flush=True)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        if self.made > self._before:
            self.passed.append(name(test))
        else:
            self.without += 1

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.left_out[name(test)] = reason

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self.failed[name(test)] = self.failures[-1][1]

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self.failed[name(test)] = self.errors[-1][1]

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.failed[name(test)] = self._exc_info_to_string(err, test)


def name(test: unittest.TestCase) -> str:
    """module.Class.test, as ``python -m unittest`` has it."""
    return test.id().removeprefix("test.")


def suite(loader: unittest.TestLoader, module: str, classes: tuple[str, ...]) -> unittest.TestSuite:
    """The tests of one module."""
    if importlib.util.find_spec(f"test.{module}") is None:
        # Some have gone with later versions.
        return unittest.TestSuite()
    loaded = importlib.import_module(f"test.{module}")
    if hasattr(loaded, "MAIN_TIMEOUT"):
        loaded.MAIN_TIMEOUT = 20.0
    if module == "test_selectors":
        # Its pairs are AF_UNIX where there is such a thing.
        loaded.socketpair = pair
    if not classes:
        return loader.loadTestsFromModule(loaded)
    return unittest.TestSuite(loader.loadTestsFromTestCase(getattr(loaded, kind)) for kind in classes if hasattr(loaded, kind))


def judge(only: list[str], aloud: bool, hopeless: bool) -> Judge:
    """Run them all, or those whose names begin with one of ``only``.

    :param hopeless: also those that are known not to pass
    """
    result = Judge(aloud)
    make = OpenSocket.__init__

    def counted(self: OpenSocket, *arguments: Any, **keywords: Any) -> None:
        result.made += 1
        make(self, *arguments, **keywords)

    OpenSocket.__init__ = counted  # type: ignore[method-assign]
    from test import support

    support.verbose = 0
    # A test whose other half has failed waits so long for it.
    support.LONG_TIMEOUT = support.LOOPBACK_TIMEOUT = 20.0
    driver = Driver(Stack(LoopbackDevice(), ("127.0.0.1", "::1")))
    with fastnet.patched(Ambient(driver, ("127.0.0.0/8",))):
        for module, classes in MODULES.items():
            if only and not any(f"{module}.".startswith(prefix) or prefix.startswith(f"{module}.") for prefix in only):
                continue
            tests = cases(suite(unittest.TestLoader(), module, classes))
            chosen = [test for test in tests if not only or name(test).startswith(tuple(only))]
            unittest.TestSuite(test for test in chosen if hopeless or name(test) not in REASONS).run(result)
    return result


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        return here, listener.accept()[0]


def may_be_late(text: str) -> str:
    """Why a failure may be the machine's: one of the reasons of ``LATE``; empty where it may not."""
    last = text.strip().splitlines()[-1]
    return next((reason for pattern, reason in LATE.items() if re.search(pattern, last)), "")


def fails_on_the_kernel(test: str) -> bool:
    """Does a test say nothing about fastnet, but about the machine, or a library that is not of its version?"""
    command = [sys.executable, "-W", "ignore", "-m", "unittest", f"test.{test}"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300).returncode != 0


def cases(tests: Any) -> list[unittest.TestCase]:
    """The tests of a suite of suites."""
    return [case for part in tests for case in cases(part)] if isinstance(tests, unittest.TestSuite) else [tests]


def page(result: Judge) -> str:
    """docs/cpython-tests.md."""
    kinds = Counter(test.rpartition(".")[0] for test in result.passed)
    lines = ["<!-- Written by `python -m tests.doors.cpython --write`. -->", "", "# CPython's own tests, over fastnet", ""]
    lines += [
        "The interpreter's tests, unchanged, under `fastnet.patched()`: a stack on a loopback device owns 127.0.0.1 and ::1. Counted are",
        "tests in which a fastnet socket was made. `tests/doors/test_cpython.py` runs most of them in CI, where none may fail but those in",
        "the last table. test_selectors, which makes pairs of AF_UNIX sockets, is given pairs of fastnet's instead.",
        "`python -m tests.doors.cpython test_socket.BasicTCPTest` runs some of them by hand.",
        "",
        f"CPython {platform.python_version()}: {len(result.passed)} pass.",
        "",
        "| class | pass |",
        "|---|---|",
    ]
    lines += [f"| {kind} | {count} |" for kind, count in sorted(kinds.items())]
    lines += ["", "| not among them | why |", "|---|---|"]
    lines += [f"| {test} | {reason} |" for test, reason in sorted(REASONS.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="CPython's own tests of sockets, over fastnet.")
    parser.add_argument("only", nargs="*", help="beginnings of names: test_socket.BasicTCPTest")
    parser.add_argument("--write", action="store_true", help="write docs/cpython-tests.md")
    parser.add_argument("--hopeless", action="store_true", help="also those that are known not to pass")
    parser.add_argument("--verbose", action="store_true", help="name each test with its time, and show all that a failed one said")
    arguments = parser.parse_args()
    result = judge(arguments.only, arguments.verbose, arguments.hopeless)
    for module in MODULES:
        if importlib.util.find_spec(f"test.{module}") is None:
            print(f"not of this Python: {module}")
    for test, reason in sorted(result.left_out.items()) if arguments.verbose else ():
        print(f"skips itself: {test}: {reason}")
    # Some wait for fractions of a second, which a busy machine does not have: once more, alone.
    late = {test: reason for test, text in result.failed.items() if test not in REASONS and (reason := may_be_late(text))}
    again = judge(list(late), arguments.verbose, False).passed if late else []
    for test in [test for test in late if test in again]:
        print(f"passes the second time: {test}: {late[test]}: {result.failed[test].strip().splitlines()[-1]}")
        del result.failed[test]
        result.passed.append(test)
    for test in [test for test in result.failed if test not in REASONS and fails_on_the_kernel(test)]:
        print(f"fails over the kernel too: {test}")
        del result.failed[test]
    unknown = {test: text for test, text in result.failed.items() if test not in REASONS}
    for test, text in unknown.items():
        print(f"{test}\n{text}" if arguments.verbose else f"fails: {test}: {text.strip().splitlines()[-1]}")
    for test in sorted(set(REASONS) & set(result.passed)):
        print(f"passes, though there is a reason why not: {test}")
    print(
        f"{len(result.passed)} pass, {len(result.failed)} do not, {len(unknown)} of them without a known reason; {len(late)} tried twice, "
        f"{len(result.left_out)} skip themselves, {result.without} pass without a fastnet socket"
    )
    if arguments.write:
        PAGE.write_text(page(result))
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
