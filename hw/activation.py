"""The activation function of the feed-forward network."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import round_half, round_shift, saturate, with_half
from .lib.parameter import check_lanes
from .lib.pipeline import Pipeline
from .spec.formats import FFN_WIDTH, HEAD_WIDTH, SIG_LUT_LEN
from .spec.tables import SIG_ONE, sig_table

__all__ = [
    "MAX_GATE_FRACTION",
    "MIN_GATE_FRACTION",
    "Activation",
    "activation_pair_layout",
    "activation_result_layout",
]

#: Fraction bits of a gate, at least: a step of the table is 1/16.
MIN_GATE_FRACTION = 4
#: Fraction bits of a gate, at most: those after the table's four are a factor of 17 bits.
MAX_GATE_FRACTION = 21

_STEPS = SIG_LUT_LEN - 1
_REST_WIDTH = MAX_GATE_FRACTION - MIN_GATE_FRACTION
_INDEX_WIDTH = (_STEPS - 1).bit_length()
_SIG_FRACTION = SIG_ONE.bit_length() - 1


def activation_pair_layout(*, lanes, meta_shape):
    """Return the layout of a beat of gates and of what they gate."""
    return data.StructLayout({
        "gate": data.ArrayLayout(signed(HEAD_WIDTH), lanes),
        "up": data.ArrayLayout(signed(HEAD_WIDTH), lanes),
        "gate_fraction": unsigned(6),
        "shift": unsigned(6),
        "meta": meta_shape,
    })


def activation_result_layout(*, lanes, meta_shape):
    """Return the layout of a beat of products."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(FFN_WIDTH), lanes),
        "meta": meta_shape,
    })


class Activation(wiring.Component):
    """Multiply SiLU of one vector with another: SwiGLU, ``sim.golden.activation``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    meta_shape : ShapeLike
        What travels with a beat.

    Members
    -------
    i_pair : In(stream of activation_pair_layout)
        Beats of gate and up. ``gate_fraction``: fraction bits of the gate, from
        `MIN_GATE_FRACTION` to `MAX_GATE_FRACTION`. ``shift``: those of gate and up together, less
        those of the result.
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

        magnitude_shift = pipe.hold(MAX_GATE_FRACTION - pair.gate_fraction, "magnitude_shift", 5)
        last_shift = pipe.hold(pair.shift, "last_shift", stages=self.LATENCY - 2)
        for i in range(self.lanes):
            self._lane(m, pipe, i, advance, magnitude_shift, last_shift)

        valid = self.i_pair.valid
        for stage in range(1, self.LATENCY):
            valid = pipe.valid(valid, f"valid_{stage}")
        pipe.put(self.o_ffn.valid, valid)
        pipe.put(self.o_ffn.p.meta, pipe.hold(pair.meta, "meta", stages=self.LATENCY - 1))
        return m

    def _lane(self, m, pipe, i, advance, magnitude_shift, last_shift):
        """Add one lane; its registers are named by the stage that they end."""
        gate, up = self.i_pair.p.gate[i], self.i_pair.p.up[i]

        # 1 Magnitude.
        magnitude = pipe.hold(Mux(gate < 0, -gate, gate)[:HEAD_WIDTH], f"magnitude_{i}")

        # 2 Align: the table's index begins at a fixed bit.
        aligned = pipe.hold(magnitude << magnitude_shift, f"aligned_{i}")
        index = aligned[_REST_WIDTH : _REST_WIDTH + _INDEX_WIDTH]

        # 3 Look up the sigmoid and how far it is to the next entry.
        table = sig_table()
        entry = data.StructLayout({
            "base": unsigned(SIG_ONE.bit_length()),
            "step": unsigned((table[1] - table[0]).bit_length()),
        })
        init = [
            {"base": table[index], "step": table[index + 1] - table[index]}
            for index in range(_STEPS)
        ]
        m.submodules[f"sigmoid_{i}"] = lut = memory.Memory(shape=entry, depth=_STEPS, init=init)
        read = lut.read_port()
        m.d.comb += [read.en.eq(advance), read.addr.eq(index)]
        rest = pipe.hold(aligned[:_REST_WIDTH], f"rest_{i}")
        beyond = pipe.hold(aligned[_REST_WIDTH + _INDEX_WIDTH :].any(), f"beyond_{i}", stages=2)

        # 4 Interpolate.
        product = pipe.hold(read.data.step * rest, f"step_{i}")
        base = pipe.hold(read.data.base, f"base_{i}")

        # 5 Add; one less that for negative gates.
        negative = pipe.hold(gate < 0, f"negative_{i}", stages=4)
        positive = Mux(beyond, SIG_ONE, base + (product >> _REST_WIDTH))
        sigmoid = pipe.hold(Mux(negative, SIG_ONE - positive, positive)[: len(base)], f"sig_{i}")

        # 6 SiLU: no larger than the gate.
        delayed_gate = pipe.hold(gate, f"gate_{i}", stages=5)
        silu_product = pipe.hold(delayed_gate * sigmoid, f"silu_product_{i}")

        # 7 Round.
        silu = pipe.hold(round_shift(silu_product, _SIG_FRACTION), f"silu_{i}", signed(HEAD_WIDTH))

        # 8 Multiply.
        delayed_up = pipe.hold(up, f"up_{i}", stages=7)
        gated = pipe.hold(silu * delayed_up, f"gated_{i}", signed(2 * HEAD_WIDTH))

        # 9, 10 Shift; round and saturate.
        shifted = pipe.hold(with_half(gated) >> last_shift, f"shifted_{i}")
        pipe.put(self.o_ffn.p.data[i], saturate(round_half(shifted), FFN_WIDTH))
