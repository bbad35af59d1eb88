"""Embedding lookup: rows of bytes become rows of the residual."""

from amaranth.hdl import Module, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .ecp5.mult18x18d import Mult18x18d
from .lib.arithmetic import round_half, with_half
from .lib.credit_queue import CreditQueue, free_running
from .lib.parameter import check_lanes
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
    comes from registers.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_row`` to the offer of its result.
    LATENCY = Mult18x18d.LATENCY + 2 + CreditQueue.LATENCY

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
        stages = self.LATENCY - CreditQueue.LATENCY
        pipe, result = free_running(m, self.i_row, self.o_row, stages=stages)
        row = self.i_row.p
        m.d.comb += result.meta.eq(pipe.hold(row.meta, "meta", stages=stages))

        # Multiply; shift; round.
        shift = pipe.hold(row.shift, "shift", stages=Mult18x18d.LATENCY)
        for lane, x in enumerate(row.data):
            m.submodules[f"scale_{lane}"] = multiplier = Mult18x18d(
                a_width=len(Value.cast(x)), b_width=len(row.multiplier) + 1
            )
            m.d.comb += [multiplier.a.eq(x), multiplier.b.eq(row.multiplier)]
            shifted = pipe.hold(with_half(multiplier.p) >> shift, f"shifted_{lane}")
            m.d.comb += result.data[lane].eq(pipe.hold(round_half(shifted), f"result_{lane}"))
        return m
