"""What pipelines of vectors are made of: registers that move together, sums, shifts, maxima."""

from amaranth.hdl import Signal, Value

__all__ = ["Pipeline", "bit_length", "halve", "magnitude_bits", "shift_down"]


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

    def hold(self, value, name, shape=None, stages=1):
        """Return what a value was ``stages`` moves ago, in a register that reset leaves alone."""
        for stage in range(stages):
            if shape is None:
                shape = value.shape() if hasattr(value, "shape") else Value.cast(value).shape()
            suffix = f"_{stage + 1}" if stages > 1 else ""
            register = Signal(shape, name=f"{name}{suffix}", reset_less=True)
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


# A division by 2**s that rounds halves up is taken in two stages of logic, for
# floor((x + 2**(s-1)) / 2**s) == floor((floor(2*x / 2**s) + 1) / 2) for every s >= 0.


def shift_down(value, amount, width):
    """Return floor(2 * value / 2**amount), cut to ``width`` bits: half of a rounding shift.

    The caller knows that the result fits a signed number of that width.
    """
    return ((value << 1) >> amount)[:width].as_signed()


def halve(value):
    """Return ``value`` / 2 with halves rounded up, the second half of a rounding shift."""
    return (value + 1) >> 1


def magnitude_bits(value):
    """Return ``value``, or its complement if negative: as long as it, without the sign."""
    value = Value.cast(value)
    width = value.shape().width - 1
    return (value.as_unsigned() ^ value[-1].replicate(width + 1))[:width]


def bit_length(m, value, name):
    """Return the number of bits that an unsigned value needs; 0 for 0."""
    length = Signal(range(len(value) + 1), name=name)
    for i in range(len(value)):
        with m.If(value[i]):
            m.d.comb += length.eq(i + 1)
    return length
