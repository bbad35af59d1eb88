"""Results of the fused Wq, Wk, Wv pass: rotary embedding on their way to quantisation."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .jobs import result_label
from .rope import Rope
from .spec.formats import HEAD_WIDTH, ROPE_WIDTH

__all__ = ["QkvProjection"]

_VALUES = 2  # section of v, which is not rotated


class QkvProjection(wiring.Component):
    """Rotate q and k of each head by the row's position, and let v pass.

    The projection itself is a job of `Matmul` whose sections are q, k and v; this unit is the part
    of its way that is theirs alone. What leaves is block quantised head by head; k and v are
    appended to the KV cache, q stays in the activation memory. Computes ``sim.golden.rope``.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_act : In(stream of data, label)
        Results of the fused pass: ``data``: lanes x 18 bits, ``meta``: result_label.
    o_act : Out(stream of data, meta)
        The same, rotated.
    table_en, table_row, table_addr, table : In
        Write one entry of the row's cosines and sines, ``lanes // 2`` pairs (cosine, sine);
        ``table_addr``: beat of the head.
    """

    def __init__(self, config):
        self.config = config
        self.label = result_label(config)
        self.entry = data.ArrayLayout(signed(ROPE_WIDTH), config.lanes)
        beats = config.max_head_dim // config.lanes
        vector = data.StructLayout({
            "data": data.ArrayLayout(signed(HEAD_WIDTH), config.lanes),
            "meta": self.label,
        })
        super().__init__({
            "i_act": In(stream.Signature(vector)),
            "o_act": Out(stream.Signature(vector)),
            "table_en": In(1),
            "table_row": In(range(config.max_rows)),
            "table_addr": In(range(beats)),
            "table": In(self.entry),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.rope = rope = Rope(lanes=cfg.lanes, meta_shape=self.label)
        beats = cfg.max_head_dim // cfg.lanes
        m.submodules.table = table = memory.Memory(
            shape=self.entry, depth=cfg.max_rows * beats, init=[]
        )
        write, read = table.write_port(), table.read_port()
        m.d.comb += [
            write.en.eq(self.table_en),
            write.addr.eq(Cat(self.table_row, self.table_addr)),
            write.data.eq(self.table),
        ]

        # One stage, in which the row's cosines and sines are fetched.
        held = Signal.like(self.i_act.payload)
        offered = Signal()
        advance = Signal()
        meta = self.i_act.p.meta
        m.d.comb += [
            advance.eq(~offered | rope.i_vec.ready),
            self.i_act.ready.eq(advance),
            read.en.eq(advance),
            read.addr.eq(Cat(meta.row, (meta.block * cfg.beats + meta.beat)[: (beats - 1).bit_length()])),
        ]
        with m.If(advance):
            m.d.sync += [held.eq(self.i_act.payload), offered.eq(self.i_act.valid)]

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
