"""What the benches of properties are made of: free inputs, the rules of streams, the past."""

from amaranth.asserts import AnyConst, AnySeq
from amaranth.back import rtlil
from amaranth.hdl import (
    Assert,
    Assume,
    ClockDomain,
    Cover,
    Module,
    Shape,
    Signal,
    Value,
)
from amaranth.lib import stream
from amaranth.lib.wiring import In

from scripts.verify.formal_lemma import queues_are_consistent

__all__ = ["TOP", "Bench", "leaves", "streams"]

TOP = "bench"


def _members(interface, path=()):
    """Yield (path, flow, signature or None, what it is) of all members, arrays taken apart."""
    for name, member in interface.signature.members.items():
        items = [(path + (name,), getattr(interface, name))]
        for length in member.dimensions:
            items = [
                (place + (str(index),), item[index])
                for place, item in items
                for index in range(length)
            ]
        for place, item in items:
            yield place, member.flow, member.signature if member.is_signature else None, item
            if member.is_signature:
                yield from _members(item, place)


def leaves(unit):
    """Return path to (flow, value) of every port of a component: ``i.valid``, ``o.0.payload``."""
    return {
        ".".join(path): (flow, item)
        for path, flow, signature, item in _members(unit)
        if signature is None
    }


def streams(unit):
    """Return path to (flow, stream) of every stream of a component."""
    return {
        ".".join(path): (flow, item)
        for path, flow, signature, item in _members(unit)
        if isinstance(getattr(item, "signature", None), stream.Signature)
        or isinstance(signature, stream.Signature)
    }


class Bench:
    """A module with free inputs, in which assertions are made: one clock, no reset.

    The first cycle is the one after reset. ``m`` is the module; units are its submodules.
    """

    def __init__(self):
        self.m = Module()
        self._domain = ClockDomain("sync", reset_less=True)
        self.m.domains.sync = self._domain
        self._names = set()
        self.started = self.register(1, name="started")
        self.m.d.sync += self.started.eq(1)

    def register(self, shape, name, init=0):
        """Return a register of the bench."""
        return Signal(shape, name=name, init=init)

    def _drawn(self, kind, shape, name):
        signal = Signal(shape, name=name)
        width = Shape.cast(shape).width
        if width:
            self.m.d.comb += Value.cast(signal).eq(kind(width))
        return signal

    def free(self, shape, name):
        """Return a signal that may have any value in every cycle."""
        return self._drawn(AnySeq, shape, name)

    def constant(self, shape, name):
        """Return a signal that may have any value, and keeps it."""
        return self._drawn(AnyConst, shape, name)

    def past(self, value, name, cycles=1):
        """Return what a value was so many cycles ago; 0 before the first."""
        value = Value.cast(value)
        for cycle in range(cycles):
            register = Signal(value.shape(), name=f"{name}_past_{cycle}")
            self.m.d.sync += register.eq(value)
            value = register
        return value

    def always(self, test, name):
        """Assert in every cycle."""
        self.m.d.comb += Assert(test, self._named(name))

    def assume(self, test, name):
        """Assume of the environment in every cycle."""
        self.m.d.comb += Assume(test, self._named(name))

    def cover(self, test, name):
        """Ask for a run in which this happens."""
        self.m.d.comb += Cover(test, self._named(name))

    def _named(self, name):
        if name in self._names:
            raise ValueError(f"two statements are called {name}")
        self._names.add(name)
        return name

    def kept(self, valid, ready, payload, name):
        """Return whether the rules of a stream hold: an offer stays as it is until it is taken."""
        payload = Value.cast(payload)
        waited = self.past(valid & ~ready, f"{name}_waits")
        return ~waited | (valid & (payload == self.past(payload, f"{name}_payload")))

    def drive(self, unit, *, name="dut", hold=(), fix=None, leave=()):
        """Make a component a submodule, and give each of its inputs any value.

        Parameters
        ----------
        unit : wiring.Component
        name : str
            Name of the submodule.
        hold : iterable of str
            Paths of inputs that keep their value.
        fix : dict
            Path to value, of inputs that are set.
        leave : iterable of str
            Paths of inputs, or beginnings of such, that the caller connects.

        Streams that go in obey the rules of streams, unless one of their members is left.
        """
        fix = dict(fix or {})
        hold, leave = set(hold), tuple(leave)
        self.m.submodules[name] = unit
        left = {path for path in leaves(unit) for start in leave if path.startswith(start)}
        inputs = {p: v for p, (flow, v) in leaves(unit).items() if flow == In and p not in left}
        unknown = (hold | set(fix)) - set(inputs)
        if unknown:
            raise ValueError(f"{type(unit).__name__} has no input {', '.join(sorted(unknown))}")
        for path, port in inputs.items():
            label = f"{name}_{path.replace('.', '_')}"
            value = Value.cast(port)
            if not len(value):
                continue
            if path in fix:
                self.m.d.comb += value.eq(fix[path])
            else:
                draw = self.constant if path in hold else self.free
                self.m.d.comb += value.eq(Value.cast(draw(value.shape(), f"{label}_drawn")))
        for path, (flow, port) in streams(unit).items():
            if flow == In and not left & {f"{path}.valid", f"{path}.payload"}:
                label = f"{name}_{path.replace('.', '_')}"
                self.assume(
                    self.kept(port.valid, port.ready, port.payload, label), f"{label}_obeys"
                )
        return unit

    def rtlil(self):
        """Return the bench as RTLIL, its top named `TOP`."""
        with queues_are_consistent():
            return rtlil.convert(self.m, name=TOP, ports=[self._domain.clk])
