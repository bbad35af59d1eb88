"""Makes a clock of another frequency with a PLL of an ECP5."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .device import is_ecp5

__all__ = ["Pll", "PllDividers", "pll_dividers"]

_MHZ = 1_000_000
#: Limits of the family's data sheet, in Hz: input, output, phase detector, oscillator.
_INPUT = (8 * _MHZ, 400 * _MHZ)
_OUTPUT = (3_125_000, 400 * _MHZ)
_DETECTOR = (10 * _MHZ, 400 * _MHZ)
_OSCILLATOR = (400 * _MHZ, 800 * _MHZ)
#: Where the oscillator is furthest from both.
_MIDDLE = sum(_OSCILLATOR) // 2
_MAX_DIVIDER = 128
#: Currents and filter of the loop: the values of Project Trellis' ecppll, for every frequency. Left
#: out, they are 0, and the loop does not lock.
_ANALOG = {
    "ICP_CURRENT": 12,
    "LPF_RESISTOR": 8,
    "MFG_ENABLE_FILTEROPAMP": 1,
    "MFG_GMCREF_SEL": 2,
}


@dataclass(frozen=True, kw_only=True)
class PllDividers:
    """What a PLL divides by; each number is from 1 to 128.

    Members
    -------
    reference : int
        Input clock, before the phase detector.
    feedback, loop : int
        Oscillator, on its way back to the phase detector: both one after the other.
    output : int
        Oscillator, to the output.
    """

    reference: int
    feedback: int
    loop: int
    output: int

    def oscillator_hz(self, input_hz):
        """Frequency of the oscillator, as a fraction."""
        return Fraction(input_hz * self.feedback * self.loop, self.reference)

    def output_hz(self, input_hz):
        """Frequency of the output, as a fraction."""
        return self.oscillator_hz(input_hz) / self.output


def _within(value, limits):
    return limits[0] <= value <= limits[1]


def _candidates(input_hz):
    """Yield all dividers that keep every frequency within its limits, fast detectors first."""
    for reference in range(1, _MAX_DIVIDER + 1):
        detector = Fraction(input_hz, reference)
        if not _within(detector, _DETECTOR):
            continue
        for feedback in range(1, min(_MAX_DIVIDER, int(_OUTPUT[1] / detector)) + 1):
            returned = detector * feedback
            lowest, highest = -(-_OSCILLATOR[0] // returned), _OSCILLATOR[1] // returned
            for loop in range(lowest, min(_MAX_DIVIDER, highest) + 1):
                for output in range(1, _MAX_DIVIDER + 1):
                    if _within(returned * loop / output, _OUTPUT):
                        yield PllDividers(
                            reference=reference, feedback=feedback, loop=loop, output=output
                        )


def pll_dividers(input_hz, output_hz):
    """Return the `PllDividers` that make a frequency to the Hertz.

    Of all that do, those with the fastest phase detector, and of these with the oscillator nearest
    to the middle of its range.

    Parameters
    ----------
    input_hz, output_hz : int
        Frequencies, in Hz.

    Raises
    ------
    ValueError
        The input is out of range, or there are no such dividers; the message has the nearest
        frequency that there is.
    """
    for name, value, limits in (
        ("input_hz", input_hz, _INPUT),
        ("output_hz", output_hz, _OUTPUT),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or not _within(value, limits):
            raise ValueError(
                f"{name} must be an integer from {limits[0]} to {limits[1]}, not {value!r}"
            )

    def wrong(dividers):
        error = abs(dividers.output_hz(input_hz) - output_hz)
        return 0 if error < 1 else error, abs(dividers.oscillator_hz(input_hz) - _MIDDLE)

    candidates = groupby(_candidates(input_hz), lambda dividers: dividers.reference)
    nearest = None
    for _, group in candidates:
        nearest = min((*group, *filter(None, [nearest])), key=wrong)
        if wrong(nearest)[0] == 0:
            return nearest
    raise ValueError(
        f"output_hz must be a frequency that a PLL makes of {input_hz} Hz, not {output_hz!r} "
        f"(nearest: {round(nearest.output_hz(input_hz))})"
    )


class Pll(wiring.Component):
    """Make a clock of another frequency.

    On an ECP5 this is one EHXPLLL. Elsewhere, and so in a simulation, the clock passes through and
    is locked at once: there the simulator makes the frequency.

    Parameters
    ----------
    input_hz, output_hz : int
        Frequencies, in Hz.

    Members
    -------
    i_clk : In(1)
        Clock of ``input_hz``.
    o_clk : Out(1)
        Clock of ``output_hz``, to the Hertz; of no fixed phase.
    locked : Out(1)
        Whether ``o_clk`` is steady. Belongs to no clock domain.

    Raises
    ------
    ValueError
        From `pll_dividers`.
    """

    i_clk: In(1)
    o_clk: Out(1)
    locked: Out(1)

    def __init__(self, *, input_hz, output_hz):
        self.input_hz = input_hz
        self.output_hz = output_hz
        self.dividers = pll_dividers(input_hz, output_hz)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        if not is_ecp5(platform):
            m.d.comb += [self.o_clk.eq(self.i_clk), self.locked.eq(1)]
            return m

        # CLKOP only closes the loop; so the output has a divider of its own. The phase of a divider
        # by n is 0 at n - 1.
        feedback = Signal()
        dividers = self.dividers
        m.submodules.cell = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=str(self.input_hz / _MHZ),
            a_FREQUENCY_PIN_CLKOS=str(self.output_hz / _MHZ),
            **{f"a_{name}": str(value) for name, value in _ANALOG.items()},
            p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=dividers.reference,
            p_CLKFB_DIV=dividers.feedback,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=dividers.loop,
            p_CLKOP_CPHASE=dividers.loop - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=dividers.output,
            p_CLKOS_CPHASE=dividers.output - 1,
            p_CLKOS_FPHASE=0,
            i_CLKI=self.i_clk,
            i_CLKFB=feedback,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(0),
            i_PHASESTEP=Const(0),
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            i_ENCLKOS=Const(0),
            o_CLKOP=feedback,
            o_CLKOS=self.o_clk,
            o_LOCK=self.locked,
        )
        return m
