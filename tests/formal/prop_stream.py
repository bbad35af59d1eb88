"""The rules of streams, on every stream that a unit puts out."""

from amaranth.hdl import Value
from amaranth.lib.wiring import Out

from scripts.verify.formal_bench import Bench, streams
from scripts.verify.formal_property import Bug, Property
from tests.formal.stream_units import UNITS


def bench(unit, tamper=None):
    """Every output of a unit, with every input free; ``tamper`` plants a bug at its ports."""
    b = Bench()
    dut = b.drive(unit.make(), hold=unit.hold, fix=unit.fix)
    simple = unit.environment(b, dut) if unit.environment else None
    if tamper and simple is not None:
        b.assume(simple, "simple")
    for path, (flow, port) in streams(dut).items():
        if flow != Out or (unit.only and path not in unit.only):
            continue
        name = path.replace(".", "_")
        valid, payload = port.valid, port.payload
        waited = b.past(valid & ~port.ready, f"{name}_waited")
        if tamper == "valid":
            valid = valid & ~waited
        if tamper == "payload":
            payload = Value.cast(payload) ^ waited
        b.always(b.kept(valid, port.ready, payload, name), f"{name}_is_kept")
        taken_late = waited & port.valid & port.ready
        b.cover(taken_late if simple is None else taken_late & simple, f"{name}_taken_late")
    return b


def _property(unit):
    bugs = [Bug(what="an offer is withdrawn", arguments={"tamper": "valid"})]
    if unit.payload:
        bugs.append(Bug(what="an offer changes", arguments={"tamper": "payload"}))
    return Property(
        name=f"stream.{unit.name}",
        says=f"what {unit.name} offers stays as it is until it is taken",
        bench=lambda **arguments: bench(unit, **arguments),
        depth=unit.depth,
        induction=unit.induction,
        cover=unit.cover,
        bugs=tuple(bugs),
        quick=unit.quick,
    )


PROPERTIES = [_property(unit) for unit in UNITS]
