"""Integer arithmetic as expressions: the rounding, saturation and shifts of every unit.

Each function builds an expression from values; where it registers is up to the caller.
"""

from amaranth.hdl import Cat, Const, Mux, Value

__all__ = [
    "bit_length",
    "limit",
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
    value = _as_signed(value)
    if len(value) < width:
        return Const(0, 1)
    # No comparison: a carry chain would be slower and larger than bits that must be alike.
    sign, low, beyond = value[-1], value[: width - 1], value[width - 1 : -1]
    return (beyond ^ sign.replicate(len(beyond))).any() | (sign & ~low.any())


def saturate(value, width):
    """Clamp to plus or minus ``2**(width - 1) - 1``: `SAT`, as ``signed(width)``."""
    value = _as_signed(value)
    if len(value) < width:
        return value
    return Mux(saturates(value, width), limit(value[-1], width), value[:width].as_signed())


def limit(negative, width):
    """Return ``2**(width - 1) - 1``, or if ``negative`` minus that: what `saturate` clamps to."""
    return Cat(Const(1, 1), (~negative).replicate(width - 2), negative).as_signed()


def _as_signed(value):
    value = Value.cast(value)
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def magnitude(value):
    """Return the bits of ``value``, inverted if it is negative, without its sign."""
    value = Value.cast(value)
    return value[:-1] ^ value[-1].replicate(len(value) - 1)


def bit_length(m, value, target):
    """Assign to ``target`` the bit length of an unsigned ``value``; 0 has 0 bits."""

    def highest(bits):
        """Return (whether one is set, place of the highest) of some bits, as a balanced tree."""
        if len(bits) == 1:
            return bits[0], Const(0, 0)
        half = 1 << ((len(bits) - 1).bit_length() - 1)
        low_any, low = highest(bits[:half])
        high_any, high = highest(bits[half:])
        return low_any | high_any, Cat(Mux(high_any, high, low), high_any)

    # The length of a value is the place of the highest one of its double plus 1.
    m.d.comb += target.eq(highest([Const(1, 1), *Value.cast(value)])[1])


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
