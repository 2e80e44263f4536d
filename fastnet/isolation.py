"""A function in a process of its own, and nothing left of it whatever ends it or its caller.

    caller --- guard --- init --- main, and whatever it starts

The guard makes a PID namespace; without root a user namespace first, which takes a process with a single thread. Init is the first
process of that namespace: when it ends, the kernel kills all others in it (pid_namespaces(7)). It ends with main, and with the caller: it
reads from a pipe whose only writing end is the caller's, so that it hears of the caller's end however that comes about. If the guard is
killed, PR_SET_PDEATHSIG kills init.

Signals: a terminal sends SIGINT to the whole process group, ``kill`` to the caller alone. Init is in the group too. What the caller hears
and init does not was for the caller alone, and is passed on to main; otherwise main has it already. What init heard before main was there
goes on to it at once: until init lets it go, main holds signals back, and one that it has twice is one.

Where there is no permission for a PID namespace with a /proc of its own, main is killed with init, but what main has started is not.
"""

import ctypes
import errno
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
NOTHING_SPECIAL = 0xE
"""MS_NOSUID | MS_NODEV | MS_NOEXEC: what /proc is mounted with."""
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None, use_errno=True)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What is passed on to main."""
BROKEN_PIPE = 128 + signal.SIGPIPE
"""Exit code when whoever read standard output has gone, as of a program that SIGPIPE ends."""
GROUP_DELAY = 0.05
"""Seconds that init waits for its own copy of a signal before it takes it to be the caller's alone."""
GROUP_MEMORY = 0.5
"""Seconds that the caller may take to report a signal of which init has its copy already."""

_pid_outside = 0
_in_user_namespace = False


def unshare(flags: int) -> None:
    """Move the calling thread to new namespaces.

    :raises OSError: EPERM, EINVAL, ENOSPC, with a line that says what to do
    """
    if libc.unshare(flags) == 0:
        return
    number = ctypes.get_errno()
    hint = {
        errno.EPERM: "no permission to make a network namespace: run as root, or allow unprivileged user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0)",
        errno.EINVAL: "a user namespace can only be made by a process with a single thread: use netns.isolated()",
        errno.ENOSPC: "too many namespaces: see sysctl user.max_net_namespaces and user.max_user_namespaces",
    }.get(number, os.strerror(number))
    raise OSError(number, hint)


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int) -> None:
    """mount(2).

    :raises OSError: as that
    """
    if libc.mount(source, target, kind, flags, None):
        number = ctypes.get_errno()
        raise OSError(number, f"mounting a private {target.decode()}: {os.strerror(number)}")


def enter_user_namespace(flags: int) -> None:
    """Move the calling process, which has a single thread, to a user namespace in which it is root, and to other new namespaces.

    :raises OSError: as ``unshare``
    """
    global _in_user_namespace
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    _in_user_namespace = True
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def in_user_namespace() -> bool:
    """Is this process in a user namespace that ``enter_user_namespace`` has made?"""
    return _in_user_namespace


def pid_outside() -> int:
    """The id of this process as others than those in its PID namespace know it, in ``main`` of ``isolated``."""
    return _pid_outside or os.getpid()


def isolated(main: Callable[[], int]) -> int:
    """Run a function in a child process of its own and return its exit status.

    The child has one thread, whatever libraries have started before, and it may enter a ``Namespace`` without root. When it ends, what it
    has started is killed; when the calling process ends, in whatever way, all of that is. SIGINT, SIGTERM and SIGHUP are passed on to
    it, if the caller is in the main thread.

    :returns: what ``main`` returned; 1 after an exception, whose traceback is on standard error; 128 + n after signal n; 141 when standard
        output was a pipe that nobody reads any more
    """
    sys.stdout.flush()
    sys.stderr.flush()
    hears, tells = os.pipe()
    caller = os.getpid()
    # Held back until there is somebody to pass them on to; the guard never sees them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    before: dict[int, Any] = {}
    waking = -1
    try:
        guard = os.fork()
        if guard == 0:
            _leave(lambda: _guard(main, hears, tells, caller, mask))
        if threading.current_thread() is threading.main_thread():
            # CPython's own handler writes the number into the pipe. A handler in Python would wait until waitpid() returns, if the signal
            # came just before that began. The reading end stays open here, too: after init's end, writing must not fail.
            os.set_blocking(tells, False)
            waking = signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
            before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _, status = os.waitpid(guard, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if before:
            signal.set_wakeup_fd(waking)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(tells)
        os.close(hears)
    return _exit_code(status)


def _exit_code(status: int) -> int:
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _leave(main: Callable[[], int]) -> NoReturn:
    """End the process with what a function returns or raises, without going back to where it was forked."""
    status = 1
    try:
        status = main()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            status = error.code or 0
        else:
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        status = BROKEN_PIPE
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        status = status or BROKEN_PIPE
    except BaseException:
        status = status or 1
    finally:
        os._exit(status)


def _die_with(parent: int) -> None:
    """Be killed when the parent ends.

    :param parent: its id; 0: it is in another PID namespace
    """
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def follow(parent: int) -> None:
    """In a forked child that its parent kills in the end: be killed however the parent ends. SIGINT is the parent's to hear.

    :param parent: its id
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _die_with(parent)


def _enter_pid_namespace() -> None:
    """The calling process's next child is the first process of a PID namespace, with mounts of its own."""
    flags = CLONE_NEWPID | CLONE_NEWNS
    if os.geteuid() == 0:
        unshare(flags)
    else:
        enter_user_namespace(flags)


def _mount_proc() -> None:
    """/proc with the processes of this PID namespace; nobody outside sees it."""
    mount(None, b"/", None, MS_REC | MS_SLAVE)
    mount(b"proc", b"/proc", b"proc", NOTHING_SPECIAL)


def _can_have_proc() -> bool:
    """May a PID namespace be made, and a /proc mounted in it? Tried out in a process of its own, as it cannot be taken back."""

    def attempt() -> int:
        def inside() -> int:
            _mount_proc()
            return 0

        try:
            _enter_pid_namespace()
            child = os.fork()
            if child == 0:
                _quietly(inside)
            return _exit_code(os.waitpid(child, 0)[1])
        except OSError:
            return 1

    child = os.fork()
    if child == 0:
        _quietly(attempt)
    return os.waitpid(child, 0)[1] == 0


def _quietly(main: Callable[[], int]) -> NoReturn:
    status = 1
    try:
        status = main()
    finally:
        os._exit(status)


def _guard(main: Callable[[], int], hears: int, tells: int, caller: int, mask: set[Any]) -> int:
    """Make the namespaces, and wait for init."""
    _die_with(caller)
    os.close(tells)
    contained = _can_have_proc()
    if contained:
        _enter_pid_namespace()
    elif os.geteuid():
        # Whoever enters a Namespace without one says why.
        with suppress(OSError):
            enter_user_namespace(0)
    guard = os.getpid()
    init = os.fork()
    if init == 0:
        _leave(lambda: _init(main, hears, guard, mask, contained))
    os.close(hears)
    return _exit_code(os.waitpid(init, 0)[1])


def _init(main: Callable[[], int], hears: int, guard: int, mask: set[Any], contained: bool) -> int:
    """Start main; pass signals on to it; bury whatever dies; end with main, or with the caller."""
    _die_with(0 if contained else guard)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    # Nothing to be done there: the pipe has the number.
    before = {number: signal.signal(number, lambda *_: None) for number in (*SIGNALS, signal.SIGCHLD)}
    waking = signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    parent = os.getpid()
    waits, lets_go = os.pipe()
    child = os.fork()
    if child == 0:

        def begin() -> int:
            global _pid_outside
            _die_with(parent)
            os.close(lets_go)
            os.read(waits, 1)
            os.close(waits)
            signal.set_wakeup_fd(waking)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            for descriptor in (woken, wakes, hears):
                os.close(descriptor)
            if contained:
                _pid_outside = int(os.readlink("/proc/self"))
                _mount_proc()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return main()

        _leave(begin)
    for number in signal.sigpending() & set(SIGNALS):
        os.kill(child, number)
    os.close(waits)
    os.close(lets_go)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
    heard: dict[int, float] = {}
    due: dict[int, float] = {}
    while True:
        timeout = max(0.0, min(due.values()) - time.monotonic()) if due else None
        readable, _, _ = select.select([woken, hears], [], [], timeout)
        now = time.monotonic()
        if woken in readable:
            for number in os.read(woken, 4096):
                heard[number] = now
        if signal.SIGCHLD in heard:
            del heard[signal.SIGCHLD]
            status = _bury(child)
            if status is not None:
                return status
        if hears in readable:
            numbers = os.read(hears, 4096)
            if not numbers:
                os.kill(child, signal.SIGKILL)
                return 128 + signal.SIGKILL
            # The caller may have handlers of its own for others.
            due.update(dict.fromkeys(set(numbers) & set(SIGNALS), now + GROUP_DELAY))
        for number, at in list(due.items()):
            if heard.pop(number, 0.0) > now - GROUP_MEMORY and os.getpgid(child) == os.getpgid(0):
                del due[number]
            elif at <= now:
                del due[number]
                os.kill(child, number)


def _bury(child: int) -> int | None:
    """Whoever has died needs that; the exit code of the child, once it has."""
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if process == 0:
            return None
        if process == child:
            return _exit_code(status)
