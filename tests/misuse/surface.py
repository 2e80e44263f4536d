"""Every class that is compiled, every method, constructor and attribute of it, and what to hand to them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastnet
from tests.misuse.world import World

ROOT = Path(fastnet.__file__).parent
# Their job is to run for as long as one says, or to talk to a device that is not in memory.
LEFT_OUT = {"fastnet._tun", "fastnet.load._client", "fastnet.load._responder", "fastnet.load._acceptloop", "fastnet.aio._wait"}


class Shrinks(list):  # type: ignore[type-arg]
    """A sequence that becomes shorter while it is read."""

    def __getitem__(self, index: Any) -> Any:
        self.clear()
        return (1, 2)

    def __iter__(self) -> Iterator[Any]:
        while self:
            yield self.pop()
            self.clear()


class Index:
    """A number that says so only when asked, and raises."""

    def __index__(self) -> int:
        raise ValueError("no number")


BAD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "0": lambda: 0,
    "-1": lambda: -1,
    "2**31": lambda: 2**31,
    "2**32-1": lambda: 2**32 - 1,
    "2**62+1": lambda: 2**62 + 1,
    "2**63-1": lambda: 2**63 - 1,
    "-2**63": lambda: -(2**63),
    "2**64": lambda: 2**64,
    "10**30": lambda: 10**30,
    "nan": lambda: float("nan"),
    "text": lambda: "x",
    "bytes": lambda: b"x",
    "empty": lambda: b"",
    "bytearray": lambda: bytearray(70000),
    "list": list,
    "tuple": tuple,
    "shrinks": lambda: Shrinks([(1, 2)] * 3),
    "pairs": lambda: [(1, 2), None, (3,)],
    "object": object,
    "function": lambda: lambda *a: None,
    "index": Index,
}


def modules() -> list[str]:
    """Every module that setup.py compiles."""
    paths = [*ROOT.rglob("*.pyx"), *(path for path in ROOT.rglob("*.py") if path.with_suffix(".pxd").exists())]
    names = sorted(".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in paths)
    return [name for name in names if name not in LEFT_OUT]


def classes() -> list[type]:
    found = []
    for name in modules():
        module = importlib.import_module(name)
        found += [kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == name]
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def functions() -> list[tuple[str, Any]]:
    found = []
    for name in modules():
        module = importlib.import_module(name)
        for label, value in vars(module).items():
            if callable(value) and not isinstance(value, type) and getattr(value, "__module__", None) == name:
                found.append((f"{name}.{label}", value))
    return found


def parameters(function: Any) -> list[str]:
    try:
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        return ["x", "y"]
    return names[1:] if names[:1] == ["self"] else names


# What a parameter of this name takes; anything else takes a small number.
NAMES = {
    "seg": "Segment", "request": "Request", "offer": "Request", "handshake": "Request", "context": "Context", "flow": "FourTuple",
    "tcb": "Connection", "endpoint": "Connection", "connection": "Connection", "listener": "Listener", "demux": "Demux",
    "ring": "PacketRing", "buffer": "ByteRing", "source": "ByteRing", "pool": "Pool", "ack": "Acknowledgment", "flight": "Flight",
    "writer": "SegmentWriter", "counters": "Counters", "settings": "Settings", "timers": "TimerWheel", "segments": "tuple",
    "rtt": "RttEstimator", "congestion": "Cubic", "earlier": "Sender", "stack": "Stack", "table": "SourceTable", "ecn": "Ecn",
}  # fmt: skip
VALUES: dict[str, Any] = {
    "address": "198.18.0.1", "local": "198.18.0.1", "remote": "198.18.0.2", "name": "backlog", "data": b"data", "packet": b"packet",
    "options": b"", "blocks": [(1, 2)], "before": (1, 2), "secret": bytes(16), "size": 10, "n": 4, "kind": "syn", "flows": [],
    "random": lambda n: bytes(n), "flush": lambda: None, "owner": None, "mss": 1460, "state": 1, "mtu": 1500, "flags": 16, "backlog": 8,
}  # fmt: skip


def good(name: str, live: dict[type, Any], world: World) -> Any:
    if name == "now":
        return world.now
    wanted = NAMES.get(name)
    if wanted == "tuple":
        return (next(one for kind, one in live.items() if kind.__name__ == "Segment"),)
    if name == "target":
        wanted = "ByteRing"
    for kind, one in live.items():
        if kind.__name__ == wanted:
            return one
    return VALUES.get(name, 1)


class Misuse:
    """One thing that a program does wrong, with a name that says what."""

    def __init__(self, name: str, act: Callable[[World], Any]) -> None:
        self.name = name
        self.act = act


def subjects(kind: type) -> dict[str, Callable[[World], Any]]:
    """Ways to get an object of a class: a live one, and one that was never filled."""
    return {
        "live": lambda world: world.live()[kind],
        "bare": lambda world: kind.__new__(kind),  # type: ignore[call-overload]
    }


def call(get: Callable[[World], Any], method: str, position: int, bad: str) -> Callable[[World], Any]:
    def act(world: World) -> Any:
        thing = get(world)
        live = world.live()
        function = getattr(thing, method)
        names = parameters(getattr(type(thing), method))
        arguments = [good(name, live, world) for name in names]
        if position >= 0:
            arguments[position] = BAD[bad]()
        elif position == -2:
            arguments = [BAD[bad]() for _ in names]
        return function(*arguments)

    return act


def assign(get: Callable[[World], Any], name: str, bad: str) -> Callable[[World], Any]:
    def act(world: World) -> Any:
        setattr(get(world), name, BAD[bad]())

    return act


def construct(kind: type, position: int, bad: str, twice: bool) -> Callable[[World], Any]:
    def act(world: World) -> Any:
        live = world.live()
        names = parameters(kind)
        arguments = [good(name, live, world) for name in names]
        if position >= 0:
            arguments[position] = BAD[bad]()
        if twice:
            return live[kind].__init__(*arguments)
        made = kind(*arguments)
        return made.__init__(*arguments)

    return act


def surface() -> list[Misuse]:
    """All of it, in an order that is always the same."""
    found: list[Misuse] = []
    for kind in classes():
        title = f"{kind.__module__}.{kind.__name__}"
        for bad in ("None", "-1", "2**62+1", "object"):
            for position in range(-1, len(parameters(kind))):
                found.append(Misuse(f"{title}(): argument {position} is {bad}", construct(kind, position, bad, False)))
                found.append(Misuse(f"{title}.__init__ of a live one: argument {position} is {bad}", construct(kind, position, bad, True)))
        for way, get in subjects(kind).items():
            for name in sorted(dir(kind)):
                if name.startswith("__") and name not in ("__len__", "__contains__", "__eq__", "__hash__", "__repr__", "__enter__"):
                    continue
                value = inspect.getattr_static(kind, name)
                label = f"{way} {title}.{name}"
                if callable(getattr(kind, name, None)):
                    count = len(parameters(getattr(kind, name)))
                    found.append(Misuse(f"{label}(good arguments)", call(get, name, -1, "None")))
                    for bad in BAD:
                        if count > 1:
                            found.append(Misuse(f"{label}(all {bad})", call(get, name, -2, bad)))
                        found += [
                            Misuse(f"{label}(argument {position} is {bad})", call(get, name, position, bad)) for position in range(count)
                        ]
                elif hasattr(type(value), "__set__") or not hasattr(value, "__get__"):
                    found.append(Misuse(f"{label} read", lambda world, get=get, name=name: getattr(get(world), name)))
                    found += [Misuse(f"{label} = {bad}", assign(get, name, bad)) for bad in BAD]
        for verb, act in DOUBLES.items():
            found.append(Misuse(f"{verb}({title})", lambda world, act=act, kind=kind: act(world.live()[kind])))
    for label, function in functions():
        positions = range(len(parameters(function)))
        found += [Misuse(f"{label}(argument {at} is {bad})", hand(function, at, bad)) for at in positions for bad in BAD]
    return found


def hand(function: Any, position: int, bad: str) -> Callable[[World], Any]:
    def act(world: World) -> Any:
        arguments = [good(name, world.live(), world) for name in parameters(function)]
        arguments[position] = BAD[bad]()
        return function(*arguments)

    return act


def _copy(thing: Any) -> Any:
    import copy

    return copy.copy(thing)


def _deepcopy(thing: Any) -> Any:
    import copy

    return copy.deepcopy(thing)


def _pickle(thing: Any) -> Any:
    import pickle

    return pickle.loads(pickle.dumps(thing))


def _weakref(thing: Any) -> Any:
    import weakref

    return weakref.ref(thing)()


def _reduce(thing: Any) -> Any:
    made, arguments, *_ = thing.__reduce_ex__(4)
    return made(*arguments)


def _setstate(thing: Any) -> Any:
    for name in ("__setstate_cython__", "__setstate__"):
        getattr(thing, name, lambda state: None)((None,) * 40)


def _subclass(thing: Any) -> Any:
    class Mine(type(thing)):  # type: ignore[misc]
        def __init__(self, *_: Any) -> None:
            pass

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    return Mine()


DOUBLES: dict[str, Callable[[Any], Any]] = {
    "copy": _copy, "deepcopy": _deepcopy, "pickle": _pickle, "weakref": _weakref, "reduce": _reduce, "setstate": _setstate,
    "subclass": _subclass,
}  # fmt: skip
