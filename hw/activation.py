"""The activation function of the feed-forward network."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .ecp5.mult18x18d import Mult18x18d
from .lib.arithmetic import round_half, round_shift, saturate, shift_left, with_half
from .lib.credit_queue import CreditQueue, free_running
from .lib.parameter import check_lanes
from .spec.formats import FFN_WIDTH, HEAD_WIDTH, SIG_LUT_LEN
from .spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT, SIG_ONE, activation_table

__all__ = ["Activation", "activation_pair_layout", "activation_result_layout"]

_STEPS = SIG_LUT_LEN - 1
_INDEX_WIDTH = (_STEPS - 1).bit_length()
_SELECT_WIDTH = (len(ACTIVATIONS) - 1).bit_length()
_SIG_FRACTION = SIG_ONE.bit_length() - 1
_FINE_WIDTH = 3  # bits of a shift that are done in its first stage


def activation_pair_layout(*, lanes, meta_shape):
    """Return the layout of a beat of gates and of what they gate."""
    return data.StructLayout({
        "gate": data.ArrayLayout(signed(HEAD_WIDTH), lanes),
        "up": data.ArrayLayout(signed(HEAD_WIDTH), lanes),
        "activation": unsigned(_SELECT_WIDTH),
        "table_shift": range(MAX_TABLE_SHIFT + 1),
        "shift": unsigned(6),
        "meta": meta_shape,
    })


def activation_result_layout(*, lanes, meta_shape):
    """Return the layout of a beat of products."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(FFN_WIDTH), lanes),
        "meta": meta_shape,
    })


def _entries():
    """Return what the tables hold, one after the other in the order of their numbers."""
    return [
        {"base": low, "step": high - low}
        for name in sorted(ACTIVATIONS, key=ACTIVATIONS.get)
        for low, high in pairwise(activation_table(name))
    ]


class Activation(wiring.Component):
    """Multiply the activation of one vector with another, ``sim.golden.activation``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    meta_shape : ShapeLike
        What travels with a beat.

    Members
    -------
    i_pair : In(stream of activation_pair_layout)
        Beats of gate and up; an up of 1 leaves the activation of the gate alone.
        ``activation``: a number of `ACTIVATIONS`. ``table_shift``: bits of the gate below the index
        of its table, at most `MAX_TABLE_SHIFT`. ``shift``: fraction bits of gate and up together,
        less those of the result.
    o_ffn : Out(stream of activation_result_layout)
        Products.

    Timing
    ------
    Takes a beat a cycle, and offers its result :attr:`LATENCY` cycles later. ``i_pair.ready``
    comes from registers.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Stages of the pipeline from a gate in a register to its gate function.
    _FACTOR_STAGES = 4 + Mult18x18d.LATENCY + 2

    #: Cycles from a transfer on ``i_pair`` to the offer of its result.
    LATENCY = 1 + _FACTOR_STAGES + 2 * Mult18x18d.LATENCY + 5 + CreditQueue.LATENCY

    def __init__(self, *, lanes, meta_shape):
        check_lanes(lanes)
        self.lanes = lanes
        sizes = {"lanes": lanes, "meta_shape": meta_shape}
        super().__init__({
            "i_pair": In(stream.Signature(activation_pair_layout(**sizes))),
            "o_ffn": Out(stream.Signature(activation_result_layout(**sizes))),
        })

    def elaborate(self, platform):
        m = Module()
        stages = self.LATENCY - CreditQueue.LATENCY
        pipe, result = free_running(m, self.i_pair, self.o_ffn, stages=stages)
        pair = self.i_pair.p
        m.d.comb += result.meta.eq(pipe.hold(pair.meta, "meta", stages=stages))

        taken = pipe.hold(pair, "taken", pair.shape())
        align = pipe.hold(MAX_TABLE_SHIFT - taken.table_shift, "align", range(MAX_TABLE_SHIFT + 1))
        table = pipe.hold(taken.activation, "table", stages=2)
        fine_shift = pipe.hold(taken.shift[:_FINE_WIDTH], "fine_shift", stages=stages - 5)
        coarse_shift = pipe.hold(taken.shift[_FINE_WIDTH:], "coarse_shift", stages=stages - 4)
        entries = _entries()
        entry = data.StructLayout({
            "base": unsigned(SIG_ONE.bit_length()),
            "step": unsigned(max(item["step"] for item in entries).bit_length()),
        })
        for i in range(self.lanes):
            m.submodules[f"gates_{i}"] = gates = memory.Memory(
                shape=entry, depth=len(entries), init=entries
            )
            read = gates.read_port()
            gate, up = taken.gate[i], taken.up[i]
            factor = self._factor(m, pipe, i, gate, read, align, table)

            # Activation: no larger than the gate.
            gate = pipe.hold(gate, f"gate_{i}", stages=self._FACTOR_STAGES)
            act_product = self._product(m, f"act_{i}", gate, factor)
            act = pipe.hold(round_shift(act_product, _SIG_FRACTION), f"act_{i}", signed(HEAD_WIDTH))

            # With up.
            way = self._FACTOR_STAGES + Mult18x18d.LATENCY + 1
            up = pipe.hold(up, f"up_{i}", stages=way)
            gated = self._product(m, f"gated_{i}", act, up)

            # Shift; round; saturate.
            fine = pipe.hold(with_half(gated) >> fine_shift, f"fine_{i}")
            shifted = pipe.hold(fine >> (coarse_shift << _FINE_WIDTH), f"shifted_{i}")
            rounded = pipe.hold(round_half(shifted), f"rounded_{i}")
            m.d.comb += result.data[i].eq(
                pipe.hold(saturate(rounded, FFN_WIDTH), f"result_{i}", signed(FFN_WIDTH))
            )
        return m

    def _product(self, m, name, a, b):
        """Return a * b, `Mult18x18d.LATENCY` cycles later."""
        a, b = Value.cast(a), Value.cast(b)
        m.submodules[name] = multiplier = Mult18x18d(a_width=len(a), b_width=len(b))
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
        return multiplier.p

    def _factor(self, m, pipe, i, gate, read, align, table):
        """Return the gate function of a gate, as a signed number, `_FACTOR_STAGES` cycles later."""
        # Magnitude; align: the table's index begins at a fixed bit.
        magnitude = pipe.hold(Mux(gate < 0, -gate, gate)[:HEAD_WIDTH], f"magnitude_{i}")
        aligned = pipe.hold(
            shift_left(magnitude, align, HEAD_WIDTH + MAX_TABLE_SHIFT), f"aligned_{i}"
        )
        index = aligned[MAX_TABLE_SHIFT : MAX_TABLE_SHIFT + _INDEX_WIDTH]

        # Look up the gate function and how far it is to the next entry.
        m.d.comb += read.addr.eq(Cat(index, table))
        found = pipe.hold(read.data, f"found_{i}")
        rest = pipe.hold(aligned[:MAX_TABLE_SHIFT], f"rest_{i}", stages=2)
        beyond = aligned[MAX_TABLE_SHIFT + _INDEX_WIDTH :].any()
        beyond = pipe.hold(beyond, f"beyond_{i}", stages=2 + Mult18x18d.LATENCY)

        # Interpolate; one less that for negative gates.
        product = self._product(m, f"step_{i}", Cat(found.step, 0), Cat(rest, 0))
        base = pipe.hold(found.base, f"base_{i}", stages=Mult18x18d.LATENCY)
        positive = pipe.hold(
            Mux(beyond, SIG_ONE, base + (product >> MAX_TABLE_SHIFT))[: len(base)], f"positive_{i}"
        )
        negative = pipe.hold(gate < 0, f"negative_{i}", stages=self._FACTOR_STAGES - 1)
        factor = Mux(negative, SIG_ONE - positive, positive)[: len(base)]
        return Cat(pipe.hold(factor, f"factor_{i}"), 0)
