"""The PLL of an ECP5."""

from fractions import Fraction

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module, Signal
from amaranth.sim import Simulator

from hw.ecp5.device import Lfe5u85f
from hw.ecp5.pll import Pll, pll_dividers

MHZ = 1_000_000
CLOCKS = [
    *((25 * MHZ, mhz * MHZ) for mhz in (25, 50, 75, 100, 110, 120, 125, 150, 160, 200, 400)),
    (25 * MHZ, 133_333_333),
    (25 * MHZ, 166_666_667),
    (25 * MHZ, 3_125_000),
    (12 * MHZ, 96 * MHZ),
    (100 * MHZ, 133_333_333),
    (10 * MHZ, 100 * MHZ),
    (400 * MHZ, 400 * MHZ),
]


@pytest.mark.parametrize(("given", "wanted"), CLOCKS)
def test_dividers_make_the_frequency_within_all_limits(given, wanted):
    found = pll_dividers(given, wanted)
    numbers = (found.reference, found.feedback, found.loop, found.output)
    assert all(1 <= number <= 128 for number in numbers)
    detector = Fraction(given, found.reference)
    oscillator = detector * found.feedback * found.loop
    assert detector >= 10 * MHZ
    assert 400 * MHZ <= oscillator <= 800 * MHZ
    # What comes back to the phase detector is what goes into it.
    assert oscillator / found.loop / found.feedback == detector
    assert oscillator / found.loop <= 400 * MHZ
    assert abs(oscillator / found.output - wanted) < 1


def test_oscillator_is_far_from_its_limits():
    for mhz in (40, 50, 100):
        assert 550 * MHZ <= pll_dividers(25 * MHZ, mhz * MHZ).oscillator_hz(25 * MHZ) <= 650 * MHZ


@pytest.mark.parametrize(
    ("given", "wanted", "nearest"),
    [(25 * MHZ, 133 * MHZ, 133_333_333), (25 * MHZ, 399 * MHZ, 400 * MHZ)],
)
def test_frequency_that_cannot_be_made_is_refused(given, wanted, nearest):
    message = (
        rf"output_hz must be a frequency that a PLL makes of {given} Hz, not {wanted} "
        rf"\(nearest: {nearest}\)"
    )
    with pytest.raises(ValueError, match=message):
        Pll(input_hz=given, output_hz=wanted)


@pytest.mark.parametrize("value", [0, 7 * MHZ, 401 * MHZ, 25e6, True])
def test_input_must_be_in_range(value):
    message = f"input_hz must be an integer from 8000000 to 400000000, not {value!r}"
    with pytest.raises(ValueError, match=message):
        Pll(input_hz=value, output_hz=100 * MHZ)


@pytest.mark.parametrize("value", [0, 3 * MHZ, 401 * MHZ, None])
def test_output_must_be_in_range(value):
    message = f"output_hz must be an integer from 3125000 to 400000000, not {value!r}"
    with pytest.raises(ValueError, match=message):
        Pll(input_hz=25 * MHZ, output_hz=value)


def test_cell_has_the_dividers():
    pll = Pll(input_hz=25 * MHZ, output_hz=133_333_333)
    text = rtlil.convert(pll, name="pll", platform=Lfe5u85f())
    found = pll.dividers
    for name, value in (
        ("CLKI_DIV", found.reference),
        ("CLKFB_DIV", found.feedback),
        ("CLKOP_DIV", found.loop),
        ("CLKOS_DIV", found.output),
        ("CLKOS_CPHASE", found.output - 1),
    ):
        assert f"parameter \\{name} {value}\n" in text
    assert "cell \\EHXPLLL" in text


def test_cell_has_a_loop_that_locks():
    text = rtlil.convert(Pll(input_hz=25 * MHZ, output_hz=40 * MHZ), platform=Lfe5u85f())
    for name, value in (
        ("ICP_CURRENT", 12),
        ("LPF_RESISTOR", 8),
        ("MFG_ENABLE_FILTEROPAMP", 1),
        ("MFG_GMCREF_SEL", 2),
    ):
        assert f'attribute \\{name} "{value}"\n' in text


def test_clock_passes_through_where_there_is_no_pll():
    m = Module()
    m.submodules.pll = pll = Pll(input_hz=25 * MHZ, output_hz=100 * MHZ)
    m.domains.sync = sync = ClockDomain(reset_less=True)
    m.domains.made = made = ClockDomain(reset_less=True)
    counts = {"sync": Signal(8), "made": Signal(8)}
    m.d.comb += [pll.i_clk.eq(sync.clk), made.clk.eq(pll.o_clk)]
    m.d.sync += counts["sync"].eq(counts["sync"] + 1)
    m.d.made += counts["made"].eq(counts["made"] + 1)

    async def bench(ctx):
        assert ctx.get(pll.locked) == 1
        await ctx.tick().repeat(20)
        assert ctx.get(counts["made"]) == ctx.get(counts["sync"]) == 20

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
