"""Embedding lookup: rows of bytes become rows of the residual."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import round_half, with_half
from .lib.parameter import check_lanes
from .lib.pipeline import Pipeline
from .spec.formats import ACT_WIDTH, RESIDUAL_WIDTH

__all__ = ["Embedding", "embedding_result_layout", "embedding_row_layout"]

_MULTIPLIER_WIDTH = 16  # of a row of the table, unlike that of a requantiser


def embedding_row_layout(*, lanes, meta_shape):
    """Return the layout of a beat of the table."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(ACT_WIDTH), lanes),
        "multiplier": unsigned(_MULTIPLIER_WIDTH),
        "shift": unsigned(6),
        "meta": meta_shape,
    })


def embedding_result_layout(*, lanes, meta_shape):
    """Return the layout of a beat for the residual."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes),
        "meta": meta_shape,
    })


class Embedding(wiring.Component):
    """Scale rows of the embedding table: ``sim.golden.embedding.embed``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    meta_shape : ShapeLike
        What travels with a beat.

    Members
    -------
    i_row : In(stream of embedding_row_layout)
        Beats of the table, with their row's multiplier and the table's shift.
    o_row : Out(stream of embedding_result_layout)
        Beats for the residual.

    Timing
    ------
    Takes a beat a cycle, and offers its result :attr:`LATENCY` cycles later. ``i_row.ready``
    depends combinationally on ``o_row.ready``.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_row`` to the offer of its result.
    LATENCY = 3

    def __init__(self, *, lanes, meta_shape):
        check_lanes(lanes)
        self.lanes = lanes
        sizes = {"lanes": lanes, "meta_shape": meta_shape}
        super().__init__({
            "i_row": In(stream.Signature(embedding_row_layout(**sizes))),
            "o_row": Out(stream.Signature(embedding_result_layout(**sizes))),
        })

    def elaborate(self, platform):
        m = Module()
        advance = Signal()
        m.d.comb += advance.eq(self.o_row.ready | ~self.o_row.valid)
        m.d.comb += self.i_row.ready.eq(advance)
        pipe = Pipeline(m, advance)
        row = self.i_row.p

        # Multiply; shift; round.
        products = pipe.holds((x * row.multiplier for x in row.data), "product")
        shift = pipe.hold(row.shift, "product_shift")
        shifted = pipe.holds((with_half(x) >> shift for x in products), "shifted")
        for i, x in enumerate(shifted):
            pipe.put(self.o_row.p.data[i], round_half(x))

        product_valid = pipe.valid(self.i_row.valid, "product_valid")
        shifted_valid = pipe.valid(product_valid, "shifted_valid")
        pipe.put(self.o_row.valid, shifted_valid)
        pipe.put(self.o_row.p.meta, pipe.hold(row.meta, "meta", stages=self.LATENCY - 1))
        return m
