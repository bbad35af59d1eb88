"""Where results go: each destination's way from the requantiser to its memory."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .activation_memory import Block
from .block_quantiser import BlockQuantiser
from .glu import Glu
from .head_norm import head_port
from .jobs import Dest, result_label
from .kv_writer import kv_block_layout
from .lib.slice import Slice
from .qkv_projection import QkvProjection
from .residual import residual_write_layout
from .rmsnorm import norm_result_layout
from .spec.formats import FFN_WIDTH, RESIDUAL_WIDTH, ROPE_WIDTH
from .spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT

__all__ = ["ResultPath"]

_QUERY, _KEY = 0, 1  # sections of the fused projection; the third is v


class ResultPath(wiring.Component):
    """Route results by their label; quantise those that the array will read again.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_act : In(stream of data, clipped, meta)
        Results of `Drain`, but for scores.
    i_norm : In(stream of norm_result_layout)
        Rows of a norm. Never at the same time as results that are quantised.
    norm_dst : In(10)
        First block of the norm's rows in the activation memory.
    gated, activation, table_shift, glu_shift : In
        Of the running operator: members of `Glu`.
    head_norm, head_blocks : In
        Of the running operator: members of `QkvProjection`.
    heads : Out(head_port)
        Rows of q and k to the norm and back.
    rope_en, rope_row, rope_addr, rope : In
        Write the table of cosines and sines.
    o_residual : Out(stream of residual_write_layout)
    o_logits : Out(stream of data, meta)
    o_key_value : Out(stream of kv_block_layout)
    block_en, block_dst, block_row, block : Out
        Write the activation memory.
    busy : Out(1)
        Elements are inside that are to become a block. Results of another destination than those
        before must not come while it is high, but for scores.

    Timing
    ------
    Takes a beat a cycle, and offers or passes it on :attr:`ENTRY` cycles later. ``i_act.ready``
    comes from a register.
    """

    #: Cycles from a transfer on ``i_act`` to its offer to what comes next.
    ENTRY = Slice.LATENCY

    def __init__(self, config):
        self.config = config
        lanes = config.lanes
        self.label = result_label(config)
        sizes = {"lanes": lanes, "max_dim": config.max_dim, "max_rows": config.max_rows}

        def vector(width, **more):
            return stream.Signature(
                data.StructLayout({
                    "data": data.ArrayLayout(signed(width), lanes),
                    **more,
                    "meta": self.label,
                })
            )

        super().__init__({
            "i_act": In(vector(RESIDUAL_WIDTH, clipped=lanes)),
            "i_norm": In(stream.Signature(norm_result_layout(**sizes))),
            "norm_dst": In(10),
            "gated": In(1),
            "activation": In(range(len(ACTIVATIONS))),
            "table_shift": In(range(MAX_TABLE_SHIFT + 1)),
            "glu_shift": In(6),
            "head_norm": In(1),
            "head_blocks": In(4),
            "heads": Out(head_port(config)),
            "rope_en": In(1),
            "rope_row": In(range(config.max_rows)),
            "rope_addr": In(range(config.max_head_dim // lanes)),
            "rope": In(data.ArrayLayout(signed(ROPE_WIDTH), lanes)),
            "o_residual": Out(stream.Signature(residual_write_layout(**sizes))),
            "o_logits": Out(vector(RESIDUAL_WIDTH)),
            "o_key_value": Out(stream.Signature(kv_block_layout(config))),
            "block_en": Out(1),
            "block_dst": Out(10),
            "block_row": Out(range(config.max_rows)),
            "block": Out(Block),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.qkv = qkv = QkvProjection(cfg)
        connect(m, qkv.heads, flipped(self.heads))
        m.submodules.glu = glu = Glu(cfg)
        # A block knows whether it goes to the cache: its readiness waits for no comparison.
        m.submodules.quantiser = quantiser = BlockQuantiser(
            lanes=cfg.lanes,
            width=FFN_WIDTH,
            meta_shape=data.StructLayout({"label": self.label, "is_appended": 1}),
        )
        m.d.comb += [
            glu.gated.eq(self.gated),
            glu.activation.eq(self.activation),
            glu.table_shift.eq(self.table_shift),
            glu.shift.eq(self.glu_shift),
            qkv.head_norm.eq(self.head_norm),
            qkv.head_blocks.eq(self.head_blocks),
            qkv.rope_en.eq(self.rope_en),
            qkv.rope_row.eq(self.rope_row),
            qkv.rope_addr.eq(self.rope_addr),
            qkv.rope.eq(self.rope),
        ]

        # Between the readiness of all that results go to and that of the tiles.
        # A result knows whose it is by a bit for each.
        write, norm, into = self.o_residual, self.i_norm, quantiser.i_act
        takers = {
            Dest.RESIDUAL: write,
            Dest.QKV: qkv.i_act,
            Dest.GLU: glu.i_act,
            Dest.LOGITS: self.o_logits,
        }
        m.submodules.arriving = arriving = Slice(
            data.StructLayout({"act": self.i_act.payload.shape(), "to": len(takers) + 1})
        )
        of_taker = Cat(self.i_act.p.meta.dest == dest for dest in takers)
        m.d.comb += [
            arriving.i.valid.eq(self.i_act.valid),
            self.i_act.ready.eq(arriving.i.ready),
            arriving.i.p.act.eq(self.i_act.payload),
            arriving.i.p.to.eq(Cat(of_taker, ~of_taker.any())),
        ]
        here, act, to = arriving.o.valid, arriving.o.p.act, arriving.o.p.to
        meta = act.meta
        for target in (qkv.i_act, glu.i_act, self.o_logits):
            m.d.comb += target.p.meta.eq(meta)
            for lane in range(cfg.lanes):
                m.d.comb += target.p.data[lane].eq(act.data[lane])
        m.d.comb += [
            write.p.data.eq(act.data),
            write.p.row.eq(meta.row),
            write.p.beat.eq((meta.strip << exact_log2(cfg.beats)) + meta.beat),
            write.p.add.eq(1),
            write.p.first.eq((meta.strip == 0) & (meta.beat == 0)),
        ]

        # The direct way to the quantiser is free when neither of the others has something.
        direct = here & to[-1]
        ready = [target.ready for target in takers.values()]
        ready.append(into.ready & ~qkv.o_act.valid & ~glu.o_ffn.valid & ~norm.valid)
        m.d.comb += arriving.o.ready.eq((to & Cat(ready)).any())
        for number, target in enumerate(takers.values()):
            m.d.comb += target.valid.eq(here & to[number])

        def quantise(values, label):
            m.d.comb += [
                into.valid.eq(1),
                into.p.meta.label.eq(label),
                into.p.meta.is_appended.eq((label.dest == Dest.QKV) & (label.section != _QUERY)),
            ]
            for lane in range(cfg.lanes):
                m.d.comb += into.p.data[lane].eq(values[lane])

        norm_label = Signal(self.label)
        m.d.comb += [
            norm_label.dest.eq(Dest.VALUES),
            norm_label.row.eq(norm.p.row),
            norm_label.dst.eq(self.norm_dst + (norm.p.beat >> exact_log2(cfg.beats))),
        ]
        with m.If(qkv.o_act.valid):
            quantise(qkv.o_act.p.data, qkv.o_act.p.meta)
            m.d.comb += qkv.o_act.ready.eq(into.ready)
        with m.Elif(glu.o_ffn.valid):
            quantise(glu.o_ffn.p.data, glu.o_ffn.p.meta)
            m.d.comb += glu.o_ffn.ready.eq(into.ready)
        with m.Elif(norm.valid):
            quantise(norm.p.data, norm_label)
            m.d.comb += norm.ready.eq(into.ready)
        with m.Elif(direct):
            quantise(act.data, meta)

        # Blocks: q and all others stay on chip, k and v are appended to the cache.
        block = quantiser.o_block
        label, appended = block.p.meta.label, block.p.meta.is_appended
        out = self.o_key_value
        m.d.comb += [
            out.p.block.q.eq(block.p.q),
            out.p.block.exp.eq(block.p.exp),
            out.p.is_value.eq(label.section != _KEY),
            out.p.row.eq(label.row),
            out.p.head.eq(label.head),
            out.p.index.eq(label.block),
            out.valid.eq(block.valid & appended),
            block.ready.eq(Mux(appended, out.ready, 1)),
            self.block_en.eq(block.valid & ~appended),
            self.block_dst.eq(label.dst),
            self.block_row.eq(label.row),
            self.block.q.eq(block.p.q),
            self.block.exp.eq(block.p.exp),
        ]

        # Beats on their way to a block.
        # The rows of a head, two blocks, two beats in front, fewer than 64 in a pipeline.
        head_beats = cfg.max_rows * cfg.max_head_dim // cfg.lanes
        inside = Signal(range(head_beats + 2 * cfg.beats + 66))
        kept = self.gated & (meta.section == 0)
        quantised = (
            (meta.dest == Dest.QKV) | ((meta.dest == Dest.GLU) & ~kept) | (meta.dest == Dest.VALUES)
        )
        # What enters is counted a cycle late, and seen meanwhile.
        enters, leaves = Signal(2), Signal()
        m.d.sync += [
            enters.eq(Cat(here & arriving.o.ready & quantised, norm.valid & norm.ready)),
            leaves.eq(block.valid & block.ready),
            inside.eq(inside + enters[0] + enters[1] - Mux(leaves, cfg.beats, 0)),
        ]
        m.d.comb += self.busy.eq((inside != 0) | enters.any() | here)
        return m
