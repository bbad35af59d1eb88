"""Rotary position embedding."""

from amaranth.hdl import Module, Mux, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .ecp5.mult18x18d import Mult18x18d
from .lib.arithmetic import saturate
from .lib.credit_queue import CreditQueue, free_running
from .lib.parameter import check_lanes
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
    comes from registers.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_vec`` to the offer of its result.
    LATENCY = 1 + Mult18x18d.LATENCY + 2 + CreditQueue.LATENCY

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
        stages = self.LATENCY - CreditQueue.LATENCY
        pipe, result = free_running(m, self.i_vec, self.o_vec, stages=stages)
        vec = self.i_vec.p

        # Multiply; cosines and sines come from a memory, far from the multipliers.
        taken = pipe.hold(vec, "taken", vec.shape())
        halves = []
        for pair in range(self.lanes // 2):
            a, b = taken.data[2 * pair], taken.data[2 * pair + 1]
            c, s = taken.cos[pair], taken.sin[pair]
            products = {}
            for name, x, factor in (("ac", a, c), ("bs", b, s), ("as", a, s), ("bc", b, c)):
                m.submodules[f"{name}_{pair}"] = multiplier = Mult18x18d(
                    a_width=HEAD_WIDTH, b_width=ROPE_WIDTH
                )
                m.d.comb += [multiplier.a.eq(x), multiplier.b.eq(factor)]
                products[name] = multiplier.p
            halves.append(products)

        # Add, with the half that rounds.
        half = 1 << (ROPE_FRACTION - 1)
        sums = []
        for pair, p in enumerate(halves):
            sums += pipe.holds((p["ac"] - p["bs"] + half, p["as"] + p["bc"] + half), f"sum_{pair}")

        # Cut off, saturate.
        enable = pipe.hold(taken.enable, "enable", stages=stages - 2)
        m.d.comb += result.meta.eq(pipe.hold(taken.meta, "meta", stages=stages - 1))
        for lane, x in enumerate(sums):
            data = pipe.hold(taken.data[lane], f"data_{lane}", stages=stages - 2)
            rotated = saturate(x >> ROPE_FRACTION, HEAD_WIDTH)
            m.d.comb += result.data[lane].eq(
                pipe.hold(Mux(enable, rotated, data), f"result_{lane}")
            )
        return m
