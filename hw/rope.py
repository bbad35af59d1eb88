"""Rotary position embedding."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import saturate
from .lib.parameter import check_lanes
from .lib.pipeline import Pipeline
from .spec.formats import HEAD_WIDTH, ROPE_FRACTION, ROPE_WIDTH

__all__ = ["Rope", "rope_result_layout", "rope_vector_layout"]


def rope_vector_layout(*, lanes, meta_shape):
    """Return the layout of a beat to rotate."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(HEAD_WIDTH), lanes),
        "cos": data.ArrayLayout(signed(ROPE_WIDTH), lanes // 2),
        "sin": data.ArrayLayout(signed(ROPE_WIDTH), lanes // 2),
        "enable": unsigned(1),
        "meta": meta_shape,
    })


def rope_result_layout(*, lanes, meta_shape):
    """Return the layout of a rotated beat."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(HEAD_WIDTH), lanes),
        "meta": meta_shape,
    })


class Rope(wiring.Component):
    """Rotate neighbouring elements as pairs: ``sim.golden.rope``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    meta_shape : ShapeLike
        What travels with a beat.

    Members
    -------
    i_vec : In(stream of rope_vector_layout)
        Beats, and the cosine and sine for each of their pairs. ``enable``: 0 leaves ``data`` alone.
    o_vec : Out(stream of rope_result_layout)
        Rotated beats.

    Timing
    ------
    Takes a beat a cycle, and offers its result :attr:`LATENCY` cycles later. ``i_vec.ready``
    depends combinationally on ``o_vec.ready``.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_vec`` to the offer of its result.
    LATENCY = 3

    def __init__(self, *, lanes, meta_shape):
        check_lanes(lanes)
        self.lanes = lanes
        sizes = {"lanes": lanes, "meta_shape": meta_shape}
        super().__init__({
            "i_vec": In(stream.Signature(rope_vector_layout(**sizes))),
            "o_vec": Out(stream.Signature(rope_result_layout(**sizes))),
        })

    def elaborate(self, platform):
        m = Module()
        advance = Signal()
        m.d.comb += advance.eq(self.o_vec.ready | ~self.o_vec.valid)
        m.d.comb += self.i_vec.ready.eq(advance)
        pipe = Pipeline(m, advance)
        vec = self.i_vec.p

        def carry(sides, name):
            return [pipe.hold(side, f"{name}_{i}") for i, side in enumerate(sides)]

        # Multiply.
        products = []
        for i in range(self.lanes // 2):
            a, b, c, s = vec.data[2 * i], vec.data[2 * i + 1], vec.cos[i], vec.sin[i]
            products.append(pipe.holds((a * c, b * s, a * s, b * c), f"product_{i}"))
        product_valid = pipe.valid(self.i_vec.valid, "product_valid")
        sides = carry((vec.data, vec.enable, vec.meta), "product_side")

        # Add, with the half that rounds.
        half = 1 << (ROPE_FRACTION - 1)
        sums = []
        for i, (ac, bs, as_, bc) in enumerate(products):
            sums += pipe.holds((ac - bs + half, as_ + bc + half), f"sum_{i}")
        sum_valid = pipe.valid(product_valid, "sum_valid")
        vector, enable, meta = carry(sides, "sum_side")

        # Cut off, saturate.
        for i, x in enumerate(sums):
            rotated = saturate(x >> ROPE_FRACTION, HEAD_WIDTH)
            pipe.put(self.o_vec.p.data[i], Mux(enable, rotated, vector[i]))
        pipe.put(self.o_vec.p.meta, meta)
        pipe.put(self.o_vec.valid, sum_valid)
        return m
