"""Registers that move together, as pipelines of vectors are made of."""

from amaranth.hdl import Signal, Value

from .arithmetic import with_half

__all__ = ["Pipeline", "shift_down"]


class Pipeline:
    """Registers of one module that all move, or all stay, together.

    Parameters
    ----------
    m : Module
        Where the registers are made.
    advance : Value or None
        Whether they move; ``None`` if they always do.
    """

    def __init__(self, m, advance=None):
        self._m = m
        self._advance = advance

    def put(self, target, value):
        """Load a register that exists when the pipeline moves."""
        if self._advance is None:
            self._m.d.sync += target.eq(value)
        else:
            with self._m.If(self._advance):
                self._m.d.sync += target.eq(value)

    def valid(self, value, name):
        """Return a register for the valid bit of the next stage, cleared by reset."""
        register = Signal(1, name=name)
        self.put(register, value)
        return register

    def hold(self, value, name, shape=None, stages=1, init=None):
        """Return what a value was ``stages`` moves ago, in a register that reset leaves alone.

        ``init`` is what it begins with, by default 0.
        """
        for stage in range(stages):
            if shape is None:
                shape = value.shape() if hasattr(value, "shape") else Value.cast(value).shape()
            suffix = f"_{stage + 1}" if stages > 1 else ""
            register = Signal(shape, name=f"{name}{suffix}", init=init, reset_less=True)
            self.put(register, value)
            value = register
        return value

    def holds(self, values, name, shape=None):
        """Return a register for each of several values."""
        return [self.hold(value, f"{name}_{i}", shape) for i, value in enumerate(values)]

    def tree(self, values, function, name):
        """Combine values pairwise, a register after each level; return (result, levels).

        Their number is a power of two.
        """
        levels = 0
        while len(values) > 1:
            pairs = zip(values[0::2], values[1::2], strict=True)
            values = self.holds((function(a, b) for a, b in pairs), f"{name}_level{levels}")
            levels += 1
        return values[0], levels


def shift_down(value, amount, width):
    """Return floor(2 * value / 2**amount), cut to ``width`` bits: half of a rounding shift.

    `hw.lib.arithmetic.round_half` is the other half. The caller knows that the result fits a
    signed number of that width.
    """
    return (with_half(value) >> amount)[:width].as_signed()
