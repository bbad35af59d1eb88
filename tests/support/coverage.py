"""Functional coverage: which cases benches and chips really met.

Sampled while coverage is collected (`sim.coverage.collect.folder`), and otherwise not at all: then
the functions here do nothing. The cover points are in `points`.
"""

import atexit
import json
import os
import re
import uuid
from pathlib import Path

from amaranth.hdl import Shape
from amaranth.lib import data, enum

from sim.coverage import collect

__all__ = [
    "EDGES",
    "chip_error",
    "chip_run",
    "edge",
    "handshake",
    "kind_of",
    "stream",
    "trap",
    "unit",
    "units",
    "watched",
]

TESTS = Path(__file__).resolve().parents[1]
SIDES = {"sends": r"\bsends\(", "takes": r"\b(?:expects|collects)\("}
STALLS = ("never", "one_in_four", "at_random")
EDGES = ("lowest", "minus one", "zero", "one", "highest")
WIDTHS = ("to 8 bits", "to 20 bits", "to 32 bits", "more bits")
KINDS = ("number", "array", "struct", "packet")


def units():
    """Return (unit, side) of each bench that drives streams with `tests.support.bench`."""
    found = []
    for path in sorted(TESTS.glob("hw/bench_*.py")):
        text = path.read_text()
        name = path.stem.removeprefix("bench_")
        found += [(name, side) for side, call in SIDES.items() if re.search(call, text)]
    return found


def watched():
    """Return the units whose bench watches an output with `obeys_rules`."""
    paths = sorted(TESTS.glob("hw/bench_*.py"))
    return [p.stem.removeprefix("bench_") for p in paths if "obeys_rules(" in p.read_text()]


def unit():
    """Return the unit whose bench runs in this simulator, as in `units`."""
    return os.environ.get("COCOTB_TEST_MODULES", "").rsplit(".", 1)[-1].removeprefix("bench_")


def kind_of(shape):
    """Return which of `KINDS` a payload of a shape is."""
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        shape = data.Layout.cast(shape)
    if isinstance(shape, data.ArrayLayout):
        return "array"
    if isinstance(shape, data.Layout):
        return "packet" if {name for name, _ in shape} == {"data", "last"} else "struct"
    return "number"


def edge(shape, value):
    """Return which of `EDGES` a number of a shape is, or None."""
    shape = Shape.cast(shape)
    low = -(1 << shape.width - 1) if shape.signed else 0
    high = (1 << shape.width - shape.signed) - 1
    # One bit has only two values, and they are numbers before they are ends.
    places = {low: "lowest", high: "highest", -1: "minus one", 0: "zero", 1: "one"}
    return places.get(value) if low <= value <= high else None


def numbers(shape, payload):
    """Yield (shape, value) of each number in a payload as `tests.support.bench.unpack` gives it."""
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        shape = data.Layout.cast(shape)
    if isinstance(shape, data.ArrayLayout):
        for value in payload:
            yield from numbers(shape.elem_shape, value)
    elif isinstance(shape, data.Layout):
        for name, field in shape:
            yield from numbers(field.shape, payload[name])
    elif not isinstance(shape, enum.EnumType):
        yield Shape.cast(shape), payload


def _width(shape):
    limits = (8, 20, 32)
    return WIDTHS[sum(shape.width > limit for limit in limits)]


def stream(side, shape, stall):
    """Note a stream that a bench drives; return what is to be called with each payload.

    Parameters
    ----------
    side : str
        A key of `SIDES`: whether the bench sends or takes.
    shape : ShapeLike
        Of the payload.
    stall : callable
        The pattern, of `tests.support.bench.STALLS` or another.
    """
    if not ENABLED:
        return _nothing
    from tests.support import coverage_points as points

    name = getattr(stall, "__name__", "other")
    points.stream(unit(), side, name)
    kind = kind_of(shape)
    points.shape(side, kind, name)
    seen = set()

    def payload(value):
        for one, number in numbers(shape, value):
            found = edge(one, number)
            key = (one.signed, one.width, found)
            if found is None or key in seen or one.width < 2:
                continue
            seen.add(key)
            points.number(side, "signed" if one.signed else "unsigned", _width(one), found)
            points.edge(side, kind, name, found)

    return payload


def _nothing(value):
    """Note nothing."""


def handshake(*, held, again):
    """Note that a watched stream held its offer, or moved; ``again``: as in the cycle before."""
    state = "held" if held else "moved again" if again else "moved"
    if ENABLED and state not in _states:
        from tests.support import coverage_points as points

        _states.add(state)
        points.handshake(unit(), state)


_states = set()


def chip_run(session):
    """Note what a `sim.run.session.Session` ran, after its end."""
    from tests.support import coverage_points as points

    points.note_session(session)


def chip_error(error):
    """Note a `ChipError` or `RequestFailed`."""
    from tests.support import coverage_points as points

    points.error(error.cause, getattr(error, "operator", None))


def trap(cause):
    """Note an error that a test saw in the registers alone, since the run goes on."""
    if ENABLED:
        from tests.support import coverage_points as points

        points.error(cause, "")


def _write():
    from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_db

    found = {
        name: {_label(key): hits for key, hits in item.detailed_coverage.items()}
        for name, item in coverage_db.items()
        if isinstance(item, (CoverPoint, CoverCross))
    }
    if not found:
        return
    into = collect.folder() / "functional"
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{unit() or 'chip'}-{uuid.uuid4().hex[:12]}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=0) + "\n")
    part.replace(path)


def _label(key):
    return " / ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _install():
    """Note the runs and the errors of every chip in this process."""
    from sim.device.error import ChipError, RequestFailed
    from sim.run.session import Session

    def after(method, note):
        def noted(self, *arguments, **options):
            method(self, *arguments, **options)
            note(self)

        return noted

    events = Session.events

    def noted_events(self):
        yield from events(self)
        chip_run(self)

    Session.events = noted_events
    for error in (ChipError, RequestFailed):
        error.__init__ = after(error.__init__, chip_error)


ENABLED = collect.folder() is not None
if ENABLED:
    _install()
    if unit():
        # A simulator ends without the end of its Python.
        from cocotb import _shutdown

        _shutdown.register(_write)
    else:
        atexit.register(_write)
