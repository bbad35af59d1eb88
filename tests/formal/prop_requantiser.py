"""The requantiser: equal to `sim.golden.requantise` for every input there is."""

from amaranth.hdl import Mux, Signal, Value, signed

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


class _AnyProduct(Requantiser):
    """A requantiser whose multiplier gives any product, the same in every cycle."""

    def __init__(self, product, **parameters):
        super().__init__(**parameters)
        self._product = product

    def _multiply(self, m, pipe, lane, scaled, bypass):
        return self._product


#: What the first transfer may be, so that each proof has one hard part.
_PARTS = {
    # The first shift alone, past the multiplier.
    "bypass": {"bypass": 1},
    # The first shift, and a multiplier that only shifts.
    "scale": {"bypass": 0, "shift2": 0, "bias": 0, "width": OutWidth.RESIDUAL},
    # What comes behind the multiplier, whatever it gives: shift and clamp, then bias and clamp.
    "finish": {"bypass": 0, "shift1": 0, "bias": 0},
    "bias": {"bypass": 0, "shift1": 0, "shift2": 0},
}


def bench(part):
    """The first transfer is any of its part; so are those behind it, which must not matter."""
    b = Bench()
    m = b.m
    parameters = {"lanes": 1, "meta_shape": 2}
    product = b.constant(signed(SCALED_WIDTH + MULTIPLIER_WIDTH), "product")
    unit = (
        _AnyProduct(product, **parameters)
        if part in ("finish", "bias")
        else Requantiser(**parameters)
    )
    dut = b.drive(unit, leave=("i_acc", "o_act"))
    shape = dut.i_acc.payload.shape()
    given = _PARTS[part]
    drawn, first = b.constant(shape, "drawn"), Signal(shape, name="first")
    later = b.free(shape, "later")
    place = b.constant(range(MULTIPLIER_WIDTH), "place")
    nothing = b.constant(1, "nothing")
    m.d.comb += [
        first.eq(drawn),
        *(Value.cast(first[name]).eq(value) for name, value in given.items()),
        # A product of two free numbers is beyond the solvers: here it is a shift, or 0.
        first.multiplier[0].eq(Mux(nothing, 0, 1 << place)),
        dut.i_acc.payload.eq(Mux(b.started, later.as_value(), first.as_value())),
        dut.i_acc.valid.eq(~b.started | b.free(1, "more")),
        dut.o_act.ready.eq(1),
    ]
    done = b.register(1, "done")
    m.d.sync += done.eq(done | dut.o_act.valid)
    b.assume(first.shift1 != -64, "the_shift_is_in_range")
    b.assume(place < MULTIPLIER_WIDTH, "the_place_is_in_the_multiplier")
    inner = scaled(b, first.acc[0], first.shift1)
    if part == "bypass":
        b.assume(fits(inner, ACC_WIDTH), "fits_the_accumulator")
        value = inner[:ACC_WIDTH].as_signed()
    elif part == "scale":
        b.assume(fits(inner, SCALED_WIDTH), "fits_the_multiplier")
        whole = Signal(signed(SCALED_WIDTH + MULTIPLIER_WIDTH), name="expected_product")
        m.d.comb += whole.eq(Mux(nothing, 0, inner[:SCALED_WIDTH].as_signed() << place))
        value = whole
    else:
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
    b.cover(now & clipped & (expected > 0), "a_clipped_result")
    return b


_CYCLES = Requantiser.LATENCY + 2


def _property(part, says, *bugs):
    return Property(
        name=f"requantiser.{part}",
        says=says,
        bench=lambda: bench(part),
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
        Bug(what="a bias is added", file=_FILE, old="Mux(bypass[1], 0, bias)", new="bias"),
        Bug(what="a shift to the left keeps what went round", file=_FILE,
            old="Mux(left, wrap, ~wrap)", new="(wrap | ~left) & ~wrap"),
    ),
    _property(
        "scale",
        "the golden model's result for every 48-bit sum and first shift, where the multiplier is 0 "
        "or a power of two",
        Bug(what="the low half's sign is not made up for", file=_FILE,
            old="Mux(scaled[half - 1], factor << half, 0)", new="0"),
    ),
    _property(
        "finish",
        "the golden model's result for every product there can be, second shift and width",
        Bug(what="the half bit is forgotten", file=_FILE,
            old="(shifted + Cat(1, bias).as_signed()) >> 1",
            new="(shifted + Cat(0, bias).as_signed()) >> 1"),
    ),
    _property(
        "bias",
        "the golden model's result for every product there can be, bias and width",
        Bug(what="the bias is taken for unsigned", file=_FILE,
            old="Cat(1, bias).as_signed()", new="Cat(1, bias)"),
    ),
]  # fmt: skip
