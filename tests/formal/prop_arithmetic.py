"""Rounding and saturation: equal to their definition for every number and every shift."""

from amaranth.hdl import Cat, Const, Mux, Signal, signed, unsigned

from hw.lib.arithmetic import bit_length, round_shift, saturate, shift_left
from hw.spec.formats import ACC_WIDTH, FFN_WIDTH, HEAD_WIDTH, NORM_WIDTH, RESIDUAL_WIDTH
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property

_FILE = "hw/lib/arithmetic.py"
_WIDTHS = (HEAD_WIDTH, NORM_WIDTH, FFN_WIDTH, RESIDUAL_WIDTH)


def rounded(value, amount):
    """Return (value + 2**(amount - 1)) >> amount, as the golden model has it; amount from 0."""
    half = Mux(amount == 0, 0, Const(1, 1) << (amount - 1)[: len(amount)])
    return (value + Cat(half, Const(0, 1)).as_signed()) >> amount


def clamped(value, width):
    """Return a value clamped to plus or minus 2**(width - 1) - 1, by comparing."""
    most = (1 << (width - 1)) - 1
    return Mux(value > most, most, Mux(value < -most, -most, value))


def rounding():
    b = Bench()
    value, amount = b.free(signed(ACC_WIDTH), "value"), b.free(unsigned(6), "amount")
    result = Signal(signed(ACC_WIDTH + 1))
    b.m.d.comb += result.eq(round_shift(value, amount))
    b.always(result == rounded(value, amount), "is_the_golden_models")
    b.cover((amount == 1) & value[0] & (value < 0), "a_negative_half")
    b.cover((amount == 63) & (result == 0) & (value != 0), "all_shifted_out")
    return b


def rounding_error():
    """Without the golden model's formula: the result is nearest, and a half goes up."""
    b = Bench()
    value, amount = b.free(signed(20), "value"), b.free(unsigned(5), "amount")
    result = Signal(signed(21))
    b.m.d.comb += result.eq(round_shift(value, amount))
    scale = (Const(1, 1) << amount)[:32]
    wide = Signal(signed(56))
    b.m.d.comb += wide.eq((value << 1) - ((result << amount) << 1))
    # value - result * 2**amount, twice, is from -(2**amount) to 2**amount, the upper end excluded.
    bound = Cat(scale, Const(0, 1)).as_signed()
    b.always((wide >= -bound) & (wide < bound), "is_nearest_and_a_half_goes_up")
    b.cover((wide == -bound) & (amount == 3), "a_half")
    return b


def saturation():
    b = Bench()
    value = b.free(signed(ACC_WIDTH), "value")
    for width in _WIDTHS:
        result = Signal(signed(width), name=f"result_{width}")
        b.m.d.comb += result.eq(saturate(value, width))
        b.always(result == clamped(value, width), f"to_{width}_bits")
        b.cover(result != value, f"clips_to_{width}_bits")
        b.cover((value == -(1 << (width - 1))) & (result == value + 1), f"lowest_of_{width}_bits")
    return b


def lengths():
    b = Bench()
    value = b.free(unsigned(32), "value")
    length = Signal(6)
    bit_length(b.m, value, length)
    shifted = Signal(33)
    b.m.d.comb += shifted.eq(value >> length)
    b.always(shifted == 0, "holds_the_value")
    b.always((length == 0) | (value >> (length - 1)[:6] == 1), "is_no_longer_than_it_must_be")
    b.cover(length == 32, "longest")
    b.cover(length == 0, "shortest")
    return b


def shifting():
    b = Bench()
    value, amount = b.free(signed(27), "value"), b.free(unsigned(6), "amount")
    result = Signal(signed(ACC_WIDTH))
    b.m.d.comb += result.eq(shift_left(value, amount, ACC_WIDTH))
    b.always(result.as_unsigned() == (value << amount)[:ACC_WIDTH], "is_a_shift")
    b.cover((amount == 47) & (result != 0), "far")
    return b


def _combinational(name, says, bench, *bugs, quick=False, solver="yices"):
    """No state: every step is like the first, and one is all."""
    return Property(
        name=name, says=says, bench=bench, depth=1, cover=1, bugs=bugs, quick=quick, solver=solver
    )


PROPERTIES = [
    _combinational(
        "rounding.shift",
        "RSH is the golden model's, for all 48-bit values and shifts 0 to 63",
        rounding,
        Bug(what="halves are rounded down", file=_FILE,
            old="return (value + Const(1, 1)) >> 1", new="return value >> 1"),
        solver="boolector",
    ),
    _combinational(
        "rounding.nearest",
        "RSH is the nearest integer, halves towards plus infinity, for all 20-bit values",
        rounding_error,
        Bug(what="no half bit is kept", file=_FILE,
            old="return round_half(with_half(value) >> amount)",
            new="return round_half((value >> amount) << 1)"),
    ),
    _combinational(
        "rounding.saturate",
        "SAT clamps to the symmetric range, for all 48-bit values and all result widths",
        saturation,
        Bug(what="the most negative number passes", file=_FILE,
            old=".any() | (sign & ~low.any())", new=".any()"),
        quick=True,
    ),
    _combinational(
        "rounding.bit_length",
        "the bit length is the shortest that holds the value, for all 32-bit values",
        lengths,
        Bug(what="the lower half decides", file=_FILE,
            old="Mux(high_any, high, low)", new="Mux(low_any, low, high)"),
    ),
    _combinational(
        "rounding.shift_left",
        "the accumulator's shift to the left is exact in its width",
        shifting,
        Bug(what="a sign is not extended", file=_FILE,
            old="return value + Const(0, 1) if len(value) < width else value",
            new="return value.as_unsigned() if len(value) < width else value"),
    ),
]  # fmt: skip
