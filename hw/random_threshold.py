"""A number below a total, drawn by a seed and a position."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .ecp5.mult18x18d import Mult18x18d
from .lib.parameter import check_positive
from .spec.sampling import MIX_FACTORS, MIX_SHIFTS, POSITION_OFFSET, RANDOM_WIDTH

__all__ = ["RandomThreshold"]

_PART = 16  # bits of a factor that one multiplication takes


class RandomThreshold(wiring.Component):
    """Scale ``sim.golden.sampler.random_number`` to a total: (number * total) >> 32.

    Parameters
    ----------
    total_width : int
        Width of a total, in bits. At most 32.

    Members
    -------
    i_key : In(stream of {seed: u32, position: u32})
        What the number is made of.
    i_total : In(stream of unsigned(total_width))
        Totals, one for each key.
    o_threshold : Out(stream of unsigned(total_width))
        Thresholds, each below its total, or 0.

    Timing
    ------
    One key at a time. Its total is taken :attr:`KEY_CYCLES` cycles after it at the earliest, and
    the threshold is offered :attr:`LATENCY` cycles after the total. The next key is taken the
    cycle after the threshold.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_key`` to the first in which its total is taken.
    KEY_CYCLES = 2 * (len(MIX_SHIFTS) + (3 + Mult18x18d.LATENCY) * len(MIX_FACTORS)) + 1

    #: Cycles from a transfer on ``i_total`` to the offer of its threshold.
    LATENCY = 4 + Mult18x18d.LATENCY

    def __init__(self, *, total_width):
        check_positive("total_width", total_width)
        if total_width > RANDOM_WIDTH:
            raise ValueError(f"total_width must be {RANDOM_WIDTH} at most, not {total_width!r}")
        self.total_width = total_width
        key = data.StructLayout({
            "seed": unsigned(RANDOM_WIDTH),
            "position": unsigned(RANDOM_WIDTH),
        })
        super().__init__({
            "i_key": In(stream.Signature(key)),
            "i_total": In(stream.Signature(unsigned(total_width))),
            "o_threshold": Out(stream.Signature(unsigned(total_width))),
        })

    def elaborate(self, platform):
        m = Module()
        number = Signal(RANDOM_WIDTH)
        seed = Signal(RANDOM_WIDTH)
        factor = Signal(RANDOM_WIDTH)
        mixed_once = Signal()
        scales = Signal()
        step = Signal(range(len(MIX_SHIFTS)))
        part = Signal(_PART)
        product = Signal(RANDOM_WIDTH + _PART)
        low = Signal(RANDOM_WIDTH + _PART)
        whole = Signal(2 * RANDOM_WIDTH)
        partial = []
        for name, half in (("number_low", number[:_PART]), ("number_high", number[_PART:])):
            m.submodules[name] = multiplier = Mult18x18d(a_width=_PART + 1, b_width=_PART + 1)
            m.d.comb += [multiplier.a.eq(half), multiplier.b.eq(part)]
            partial.append(multiplier.p)
        m.d.sync += product.eq(partial[0] + (partial[1] << _PART))
        m.d.comb += whole.eq(low + (product << _PART))
        waited = Signal(range(Mult18x18d.LATENCY))

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_key.ready.eq(1)
                m.d.sync += [
                    number.eq(self.i_key.p.position + POSITION_OFFSET),
                    seed.eq(self.i_key.p.seed),
                    mixed_once.eq(0),
                    scales.eq(0),
                    step.eq(0),
                ]
                with m.If(self.i_key.valid):
                    m.next = "XOR"
            with m.State("XOR"):
                with m.Switch(step):
                    for index, shift in enumerate(MIX_SHIFTS):
                        with m.Case(index):
                            mixed = number ^ (number >> shift)
                            if index < len(MIX_FACTORS):
                                m.d.sync += [
                                    number.eq(mixed),
                                    factor.eq(MIX_FACTORS[index]),
                                    part.eq(MIX_FACTORS[index] & ((1 << _PART) - 1)),
                                ]
                                m.next = "LOW"
                            else:
                                m.d.sync += [
                                    number.eq(mixed ^ Mux(mixed_once, 0, seed)),
                                    mixed_once.eq(1),
                                    step.eq(0),
                                ]
                                with m.If(mixed_once):
                                    m.next = "TOTAL"
            with m.State("TOTAL"):
                m.d.comb += self.i_total.ready.eq(1)
                m.d.sync += [
                    scales.eq(1),
                    factor.eq(self.i_total.payload),
                    part.eq(self.i_total.payload[:_PART]),
                ]
                with m.If(self.i_total.valid):
                    m.next = "LOW"
            # The products of the factor's halves come one after the other.
            with m.State("LOW"):
                m.d.sync += [part.eq(factor >> _PART), waited.eq(0)]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == Mult18x18d.LATENCY - 1):
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.sync += low.eq(product)
                m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += [
                    number.eq(whole),
                    self.o_threshold.payload.eq(whole >> RANDOM_WIDTH),
                    step.eq(step + 1),
                ]
                m.next = "XOR"
                with m.If(scales):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_threshold.valid.eq(1)
                with m.If(self.o_threshold.ready):
                    m.next = "IDLE"
        return m
