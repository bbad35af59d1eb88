"""Integer arithmetic as expressions: the rounding, saturation and shifts of every unit.

Each function builds an expression from values; where it registers is up to the caller.
"""

from amaranth.hdl import Cat, Const, Mux, Value

__all__ = [
    "bit_length",
    "magnitude",
    "or_tree",
    "round_half",
    "round_shift",
    "saturate",
    "saturates",
    "shift_left",
    "sum_tree",
    "with_half",
]


def with_half(value):
    """Return ``value`` with one fraction bit appended, which is 0."""
    value = Value.cast(value)
    doubled = Cat(Const(0, 1), value)
    return doubled.as_signed() if value.shape().signed else doubled


def round_half(value):
    """Drop the last bit of ``value``, rounding halves towards plus infinity.

    The second half of `round_shift`: ``round_half(with_half(x) >> s)``, for a register between.
    """
    return (value + Const(1, 1)) >> 1


def round_shift(value, amount):
    """Divide by ``2**amount``, rounding halves towards plus infinity: `RSH` for amounts from 0.

    ``amount`` is an unsigned value or an int. The bit that is shifted out last is the rounding.
    """
    return round_half(with_half(value) >> amount)


def shift_left(value, amount, width):
    """Return the low ``width`` bits of ``value << amount``, signed if ``value`` is.

    Amaranth's own ``<<`` makes room for the largest amount, which costs a simulator dearly.
    """
    value, amount = Value.cast(value), Value.cast(amount)
    signed = value.shape().signed
    for index, bit in enumerate(amount):
        step = 1 << index
        shifted = Cat(Const(0, min(step, width)), value)[:width]
        value = Mux(bit, shifted.as_signed() if signed else shifted, _extend(value, width))
        value = value[:width].as_signed() if signed else value[:width]
    return value


def _extend(value, width):
    value = Value.cast(value)
    return value + Const(0, 1) if len(value) < width else value


def saturates(value, width):
    """Return whether ``value`` is outside of what `saturate` leaves alone."""
    high = (1 << (width - 1)) - 1
    return (value > high) | (value < -high)


def saturate(value, width):
    """Clamp to plus or minus ``2**(width - 1) - 1``: `SAT`. Assign it to ``signed(width)``."""
    high = (1 << (width - 1)) - 1
    return Mux(value > high, high, Mux(value < -high, -high, value))


def magnitude(value):
    """Return the bits of ``value``, inverted if it is negative, without its sign."""
    value = Value.cast(value)
    return value[:-1] ^ value[-1].replicate(len(value) - 1)


def bit_length(m, value, target):
    """Assign to ``target`` the bit length of an unsigned ``value``; 0 has 0 bits."""
    m.d.comb += target.eq(0)
    for index, bit in enumerate(Value.cast(value)):
        with m.If(bit):
            m.d.comb += target.eq(index + 1)


def _tree(values, operator):
    values = list(values)
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        odd = values[-1:] if len(values) % 2 else []
        values = [operator(a, b) for a, b in pairs] + odd
    return values[0]


def or_tree(values):
    """Return the bitwise or of the values, as a balanced tree."""
    return _tree(values, lambda a, b: a | b)


def sum_tree(values):
    """Return the sum of the values, as a balanced tree, no wider than it must be."""
    return _tree(values, lambda a, b: a + b)
