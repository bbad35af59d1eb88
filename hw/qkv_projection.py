"""Results of the fused Wq, Wk, Wv pass: norm and rotary embedding, then to quantisation."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .head_norm import HeadNorm, head_port
from .jobs import result_label
from .lib.collision import UNDEFINED
from .rope import Rope, rope_result_layout
from .spec.formats import ROPE_WIDTH

__all__ = ["QkvProjection"]

_VALUES = 2  # section of v, which is not rotated


class QkvProjection(wiring.Component):
    """Normalise q and k of each head or not, rotate them by the row's position, let v pass.

    The projection itself is a job of `Matmul` whose sections are q, k and v; this unit is on
    the way of their results. What leaves is block quantised head by head; k and v are
    appended to the KV cache, q stays in the activation memory. Computes ``sim.golden.rope``,
    and with ``head_norm`` before it ``sim.golden.rmsnorm``.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_act : In(stream of data, meta)
        Results of the fused pass. ``data``: lanes x 18 bits, ``meta``: result_label.
    o_act : Out(stream of data, meta)
        The same, rotated. With ``head_norm`` the blocks of a row come together, head by head.
    head_norm, head_blocks : In
        Fields of the running operator: whether q and k are normalised, and blocks of a head.
    heads : Out(head_port)
        To the norm.
    rope_en, rope_row, rope_addr, rope : In
        Write an entry of ``lanes // 2`` pairs (cosine, sine). ``rope_addr``: beat of the head.

    Timing
    ------
    Takes a beat a cycle, and offers its result :attr:`LATENCY` cycles later; with ``head_norm`` q
    and k take as long as in `HeadNorm` besides. ``i_act.ready`` comes from a register.
    """

    #: Cycles from a transfer on ``i_act`` to the offer of its result.
    LATENCY = HeadNorm.LATENCY + 1 + Rope.LATENCY

    def __init__(self, config):
        self.config = config
        self.label = result_label(config)
        self.entry = data.ArrayLayout(signed(ROPE_WIDTH), config.lanes)
        beats = config.max_head_dim // config.lanes
        vector = rope_result_layout(lanes=config.lanes, meta_shape=self.label)
        super().__init__({
            "i_act": In(stream.Signature(vector)),
            "o_act": Out(stream.Signature(vector)),
            "head_norm": In(1),
            "head_blocks": In(4),
            "heads": Out(head_port(config)),
            "rope_en": In(1),
            "rope_row": In(range(config.max_rows)),
            "rope_addr": In(range(beats)),
            "rope": In(self.entry),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.rope = rope = Rope(lanes=cfg.lanes, meta_shape=self.label)
        beats = cfg.max_head_dim // cfg.lanes
        m.submodules.table = table = memory.Memory(
            shape=self.entry, depth=cfg.max_rows * beats, init=[], attrs=UNDEFINED
        )
        write, read = table.write_port(), table.read_port()
        m.d.comb += [
            write.en.eq(self.rope_en),
            write.addr.eq(Cat(self.rope_row, self.rope_addr)),
            write.data.eq(self.rope),
        ]

        m.submodules.norm = norm = HeadNorm(cfg)
        connect(m, flipped(self.i_act), norm.i_act)
        connect(m, norm.heads, flipped(self.heads))
        m.d.comb += [norm.enable.eq(self.head_norm), norm.head_blocks.eq(self.head_blocks)]
        normed = norm.o_act

        # One stage, in which the row's cosines and sines are fetched.
        held = Signal.like(normed.payload)
        offered = Signal()
        advance = Signal()
        meta = normed.p.meta
        place = Signal(range(beats))  # beat of the head
        m.d.comb += [
            place.eq(meta.block * cfg.beats + meta.beat),
            advance.eq(~offered | rope.i_vec.ready),
            normed.ready.eq(advance),
            read.en.eq(advance),
            read.addr.eq(Cat(meta.row, place)),
        ]
        with m.If(advance):
            m.d.sync += [held.eq(normed.payload), offered.eq(normed.valid)]

        vector = rope.i_vec.p
        m.d.comb += [
            rope.i_vec.valid.eq(offered),
            vector.data.eq(held.data),
            vector.meta.eq(held.meta),
            vector.enable.eq(held.meta.section != _VALUES),
            self.o_act.valid.eq(rope.o_vec.valid),
            self.o_act.p.data.eq(rope.o_vec.p.data),
            self.o_act.p.meta.eq(rope.o_vec.p.meta),
            rope.o_vec.ready.eq(self.o_act.ready),
        ]
        for pair in range(cfg.lanes // 2):
            m.d.comb += [
                vector.cos[pair].eq(read.data[2 * pair]),
                vector.sin[pair].eq(read.data[2 * pair + 1]),
            ]
        return m
