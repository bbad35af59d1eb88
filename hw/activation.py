"""The activation function of the feed-forward network."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import round_half, round_shift, saturate, shift_left, with_half
from .lib.parameter import check_lanes
from .lib.pipeline import Pipeline
from .spec.formats import FFN_WIDTH, HEAD_WIDTH, SIG_LUT_LEN
from .spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT, SIG_ONE, activation_table

__all__ = ["Activation", "activation_pair_layout", "activation_result_layout"]

_STEPS = SIG_LUT_LEN - 1
_INDEX_WIDTH = (_STEPS - 1).bit_length()
_SELECT_WIDTH = (len(ACTIVATIONS) - 1).bit_length()
_SIG_FRACTION = SIG_ONE.bit_length() - 1


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
    depends combinationally on ``o_ffn.ready``.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_pair`` to the offer of its result.
    LATENCY = 10

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
        advance = Signal()
        m.d.comb += advance.eq(self.o_ffn.ready | ~self.o_ffn.valid)
        m.d.comb += self.i_pair.ready.eq(advance)
        pipe = Pipeline(m, advance)
        pair = self.i_pair.p

        align = pipe.hold(MAX_TABLE_SHIFT - pair.table_shift, "align", range(MAX_TABLE_SHIFT + 1))
        table = pipe.hold(pair.activation, "table", stages=2)
        last_shift = pipe.hold(pair.shift, "last_shift", stages=self.LATENCY - 2)
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
            self._lane(m, pipe, i, advance, read, align, table, last_shift)

        valid = self.i_pair.valid
        for stage in range(1, self.LATENCY):
            valid = pipe.valid(valid, f"valid_{stage}")
        pipe.put(self.o_ffn.valid, valid)
        pipe.put(self.o_ffn.p.meta, pipe.hold(pair.meta, "meta", stages=self.LATENCY - 1))
        return m

    def _lane(self, m, pipe, i, advance, read, align, table, last_shift):
        """Add one lane with its own copy of the tables; each numbered stage ends at a register."""
        gate, up = self.i_pair.p.gate[i], self.i_pair.p.up[i]

        # 1 Magnitude.
        magnitude = pipe.hold(Mux(gate < 0, -gate, gate)[:HEAD_WIDTH], f"magnitude_{i}")

        # 2 Align: the table's index begins at a fixed bit.
        aligned = pipe.hold(
            shift_left(magnitude, align, HEAD_WIDTH + MAX_TABLE_SHIFT), f"aligned_{i}"
        )
        index = aligned[MAX_TABLE_SHIFT : MAX_TABLE_SHIFT + _INDEX_WIDTH]

        # 3 Look up the gate function and how far it is to the next entry.
        m.d.comb += [read.en.eq(advance), read.addr.eq(Cat(index, table))]
        rest = pipe.hold(aligned[:MAX_TABLE_SHIFT], f"rest_{i}")
        beyond = pipe.hold(aligned[MAX_TABLE_SHIFT + _INDEX_WIDTH :].any(), f"beyond_{i}", stages=2)

        # 4 Interpolate.
        product = pipe.hold(read.data.step * rest, f"step_{i}")
        base = pipe.hold(read.data.base, f"base_{i}")

        # 5 Add; one less that for negative gates.
        negative = pipe.hold(gate < 0, f"negative_{i}", stages=4)
        positive = Mux(beyond, SIG_ONE, base + (product >> MAX_TABLE_SHIFT))
        factor = pipe.hold(Mux(negative, SIG_ONE - positive, positive)[: len(base)], f"factor_{i}")

        # 6 Activation: no larger than the gate.
        delayed_gate = pipe.hold(gate, f"gate_{i}", stages=5)
        act_product = pipe.hold(delayed_gate * factor, f"act_product_{i}")

        # 7 Round.
        act = pipe.hold(round_shift(act_product, _SIG_FRACTION), f"act_{i}", signed(HEAD_WIDTH))

        # 8 Multiply.
        delayed_up = pipe.hold(up, f"up_{i}", stages=7)
        gated = pipe.hold(act * delayed_up, f"gated_{i}", signed(2 * HEAD_WIDTH))

        # 9, 10 Shift; round and saturate.
        shifted = pipe.hold(with_half(gated) >> last_shift, f"shifted_{i}")
        pipe.put(self.o_ffn.p.data[i], saturate(round_half(shifted), FFN_WIDTH))
