"""The requantiser: equal to `sim.golden.requantise` for every input there is."""

from amaranth.hdl import Mux, Signal, signed

from hw.requantiser import SHIFT1_WIDTH, OutWidth, Requantiser
from hw.spec.formats import (
    ACC_WIDTH,
    FFN_WIDTH,
    HEAD_WIDTH,
    MULTIPLIER_WIDTH,
    NORM_WIDTH,
    RESIDUAL_WIDTH,
    SCALED_WIDTH,
)
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property
from tests.formal.prop_arithmetic import clamped, rounded

_FILE = "hw/requantiser.py"
_WIDTHS = {
    OutWidth.HEAD: HEAD_WIDTH,
    OutWidth.NORM: NORM_WIDTH,
    OutWidth.FFN: FFN_WIDTH,
    OutWidth.RESIDUAL: RESIDUAL_WIDTH,
}


def scaled(b, acc, shift1):
    """Return RSH(acc, shift1), which is wide enough for every shift."""
    wide = ACC_WIDTH + (1 << (SHIFT1_WIDTH - 1))
    result = Signal(signed(wide), name="expected_scaled")
    right = shift1[:-1]
    left = (-shift1)[: SHIFT1_WIDTH - 1]
    b.m.d.comb += result.eq(Mux(shift1 < 0, acc << left, rounded(acc, right)))
    return result


def fits(value, width):
    """Return whether a signed number has so many bits at most."""
    return (value >> (width - 1) == 0) | (value >> (width - 1) == -1)


def bench(*, multiplies, bypass=False):
    """The first transfer is any; so are those behind it, which must not matter.

    Parameters
    ----------
    multiplies : bool
        The first shift is 0, so that the product is all that is hard; else the multiplier is 0, 1,
        or a power of two, and the first shift is any.
    bypass : bool
        The transfer passes by the multiplier.
    """
    b = Bench()
    m = b.m
    dut = b.drive(Requantiser(lanes=1, meta_shape=2), leave=("i_acc", "o_act"))
    first = b.constant(dut.i_acc.payload.shape(), "first")
    later = b.free(dut.i_acc.payload.shape(), "later")
    m.d.comb += [
        dut.i_acc.payload.eq(Mux(b.started, later.as_value(), first.as_value())),
        dut.i_acc.valid.eq(~b.started | b.free(1, "more")),
        dut.o_act.ready.eq(1),
    ]
    done = b.register(1, "done")
    m.d.sync += done.eq(done | dut.o_act.valid)
    b.assume((first.shift1 != -64) & (first.bypass == bypass), "shifts_are_in_range")
    inner = scaled(b, first.acc[0], first.shift1)
    if bypass:
        b.assume(fits(inner, ACC_WIDTH), "fits_the_accumulator")
        value = inner[:ACC_WIDTH].as_signed()
    else:
        b.assume(fits(inner, SCALED_WIDTH), "fits_the_multiplier")
        product = Signal(signed(SCALED_WIDTH + MULTIPLIER_WIDTH + 1), name="expected_product")
        factor = first.multiplier[0]
        if multiplies:
            b.assume(first.shift1 == 0, "only_the_product_is_hard")
            m.d.comb += product.eq(inner[:SCALED_WIDTH].as_signed() * factor)
        else:
            place = b.constant(range(MULTIPLIER_WIDTH), "place")
            b.assume((factor == 0) | (factor == 1 << place), "the_product_is_a_shift")
            m.d.comb += product.eq(Mux(factor == 0, 0, inner[:SCALED_WIDTH].as_signed() << place))
        value = rounded(product, first.shift2) + first.bias[0]
    expected = Signal(signed(RESIDUAL_WIDTH), name="expected")
    clipped = Signal(name="expected_clipped")
    with m.Switch(first.width):
        for kind, width in _WIDTHS.items():
            with m.Case(kind):
                m.d.comb += expected.eq(clamped(value, width))
                m.d.comb += clipped.eq(clamped(value, width) != value)
    now = dut.o_act.valid & ~done
    b.always(~now | (dut.o_act.p.data[0] == expected), "equals_the_golden_model")
    b.always(~now | (dut.o_act.p.clipped == clipped), "tells_what_it_clips")
    b.always(~now | (dut.o_act.p.meta == first.meta), "keeps_the_label")
    b.cover(now & ~clipped & (expected < -1), "a_negative_result")
    b.cover(now & clipped & (first.width == OutWidth.HEAD), "a_clipped_result")
    return b


_CYCLES = Requantiser.LATENCY + 2


def _property(name, says, arguments, *bugs):
    return Property(
        name=f"requantiser.{name}",
        says=says,
        bench=lambda: bench(**arguments),
        depth=_CYCLES,
        induction=False,
        cover=_CYCLES,
        bugs=bugs,
        solver="boolector",
    )


PROPERTIES = [
    _property(
        "bypass",
        "past the multiplier: the golden model's result for every 48-bit sum, shift and width",
        {"multiplies": False, "bypass": True},
        Bug(what="a bias is added", file=_FILE, old="Mux(bypass[1], 0, bias)", new="bias",
            depth=_CYCLES),
    ),
    _property(
        "shifts",
        "the golden model's result for every 48-bit sum, both shifts, bias and width, where the "
        "multiplier is 0 or a power of two",
        {"multiplies": False},
        Bug(what="the half bit is forgotten", file=_FILE,
            old="(shifted + Cat(1, bias).as_signed()) >> 1",
            new="(shifted + Cat(0, bias).as_signed()) >> 1", depth=_CYCLES),
        Bug(what="a shift to the left keeps what went round", file=_FILE,
            old="Mux(left, wrap, ~wrap)", new="(wrap | ~left) & ~wrap", depth=_CYCLES),
    ),
    _property(
        "products",
        "the golden model's result for every 36-bit factor, 17-bit multiplier, second shift, bias "
        "and width",
        {"multiplies": True},
        Bug(what="the low half's sign is not made up for", file=_FILE,
            old="Mux(scaled[half - 1], factor << half, 0)", new="0", depth=_CYCLES),
    ),
]  # fmt: skip
