"""Keeps heads of q and k until they are complete, for the norm in front of rope."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .jobs import result_label
from .lib.arithmetic import magnitude, or_tree
from .lib.collision import UNDEFINED
from .lib.slice import Slice
from .spec.formats import HEAD_WIDTH

__all__ = ["HeadNorm", "head_port"]

_KEY, _VALUE = 1, 2  # sections of the fused projection


def head_port(config):
    """Return the signature of `HeadNorm` towards the unit that normalises its rows.

    ``job``: rows of a head; ``is_key``: of k, not q. ``read_*``, ``orm_*``: read ports of the
    head's rows and of their ORMs, data one cycle later. ``norm``: the rows' results, in order.
    """
    vector = data.ArrayLayout(signed(HEAD_WIDTH), config.lanes)
    row = range(config.max_rows)
    beats = config.max_head_dim // config.lanes
    return wiring.Signature({
        "job": Out(
            stream.Signature(
                data.StructLayout({"row": row, "beats": range(beats + 1), "is_key": unsigned(1)})
            )
        ),
        "read_en": In(1),
        "read_row": In(row),
        "read_beat": In(range(beats)),
        "read_data": Out(vector),
        "orm_row": In(row),
        "orm": Out(HEAD_WIDTH - 1),
        "norm": In(
            stream.Signature(
                data.StructLayout({
                    "data": vector,
                    "row": row,
                    "beat": range(beats),
                    "last": unsigned(1),
                })
            )
        ),
    })


class HeadNorm(wiring.Component):
    """Let each row of a head of q or k through the norm as soon as it is complete.

    Results come strip by strip, each with all rows. A head is kept until its last strip comes;
    from there on its rows leave one after the other, normalised, all beats of a row together.
    The norm itself, its gains and its constants belong to `NormOperator`.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    enable : In(1)
        q and k are to be normalised. It and ``head_blocks`` must hold while anything is inside.
    head_blocks : In(4)
        Blocks of a head.
    i_act : In(stream of data, meta)
        Results of the fused pass. ``data``: lanes x 18 bits, ``meta``: result_label.
    o_act : Out(stream of data, meta)
        The same, q and k normalised, each with the label it came with but for ``last``, which is 0
        there: v comes after them.
    heads : Out(head_port)
        To the norm.

    Timing
    ------
    v passes :attr:`LATENCY` cycles later, and so does all with ``enable`` low. Of q and k a beat is
    taken each cycle until a row of the last strip is complete, whose job is on offer two cycles
    later and must be taken first. A head, and v, begin when the head before has left.
    ``i_act.ready`` comes from a register, and up to two beats wait behind it.
    """

    #: Cycles from a transfer on ``i_act`` to its offer, of what is not normalised.
    LATENCY = Slice.LATENCY

    def __init__(self, config):
        self.config = config
        self.label = result_label(config)
        self.vector = data.ArrayLayout(signed(HEAD_WIDTH), config.lanes)
        act = stream.Signature(data.StructLayout({"data": self.vector, "meta": self.label}))
        super().__init__({
            "enable": In(1),
            "head_blocks": In(4),
            "i_act": In(act),
            "o_act": Out(act),
            "heads": Out(head_port(config)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        job, norm = self.heads.job, self.heads.norm
        beat_bits = exact_log2(cfg.beats)

        # What is to be known of a beat is found out before the register, not behind it.
        m.submodules.arriving = arriving = Slice(
            data.StructLayout({
                "act": self.i_act.payload.shape(),
                "kept": 1,
                "begins": 1,
                "completes": 1,
            })
        )
        label = self.i_act.p.meta
        last_block = Signal.like(self.head_blocks)
        m.d.sync += last_block.eq(self.head_blocks - 1)
        m.d.comb += [
            arriving.i.valid.eq(self.i_act.valid),
            self.i_act.ready.eq(arriving.i.ready),
            arriving.i.p.act.eq(self.i_act.payload),
            arriving.i.p.kept.eq(self.enable & (label.section != _VALUE)),
            arriving.i.p.begins.eq((label.block == 0) & (label.row == 0) & (label.beat == 0)),
            arriving.i.p.completes.eq((label.block == last_block) & (label.beat == cfg.beats - 1)),
        ]
        i = arriving.o
        kept, begins, meta = i.p.kept, i.p.begins, i.p.act.meta

        # The first beat of a head waits for the last of the one before it, so that one label and
        # one place for each row are enough. Meanwhile the next strip is computed.
        rows_inside = Signal(range(cfg.max_rows + 1))
        some_inside = Signal()  # rows_inside != 0
        taken = Signal()
        m.d.comb += taken.eq(i.valid & i.ready & kept)
        with m.If(kept):
            m.d.comb += i.ready.eq(~job.valid & ~(begins & some_inside))
        with m.Else():
            m.d.comb += i.ready.eq(~some_inside & self.o_act.ready)
        self._store(m, i.p.act, taken)

        # A row is complete with its last beat.
        first = Signal(self.label)  # label of the head's first beat
        complete = Signal()
        leaves = Signal()
        m.d.comb += [
            complete.eq(taken & i.p.completes),
            leaves.eq(norm.valid & norm.ready & norm.p.last),
            job.p.beats.eq(self.head_blocks << beat_bits),
            job.p.is_key.eq(first.section == _KEY),
        ]
        with m.If(taken & begins):
            m.d.sync += first.eq(meta)
        with m.If(complete):
            m.d.sync += [job.valid.eq(1), job.p.row.eq(meta.row)]
        with m.Elif(job.ready):
            m.d.sync += job.valid.eq(0)
        left = Signal()  # a cycle later: one that has left keeps the next head out for that long
        m.d.sync += [
            left.eq(leaves),
            rows_inside.eq(rows_inside + complete - left),
            some_inside.eq(complete | (rows_inside > 1) | (some_inside & ~left)),
        ]

        # Results of the norm, or what passes.
        label = Signal(self.label)
        block = norm.p.beat >> beat_bits
        m.d.comb += [
            label.eq(first),
            label.row.eq(norm.p.row),
            label.index.eq(norm.p.row),
            label.head_row.eq(norm.p.row),
            label.strip.eq(first.strip + block),
            label.block.eq(block),
            label.beat.eq(norm.p.beat[:beat_bits]),
            label.dst.eq(first.dst + block),
        ]
        with m.If(some_inside):
            m.d.comb += [
                self.o_act.valid.eq(norm.valid),
                self.o_act.p.data.eq(norm.p.data),
                self.o_act.p.meta.eq(label),
                norm.ready.eq(self.o_act.ready),
            ]
        with m.Else():
            m.d.comb += [
                self.o_act.valid.eq(i.valid & ~kept),
                self.o_act.payload.eq(i.p.act),
            ]
        return m

    def _store(self, m, act, taken):
        """Keep the beats and the ORM of each row, for the norm to read."""
        cfg = self.config
        heads = self.heads
        meta = act.meta
        beats = cfg.max_head_dim // cfg.lanes
        m.submodules.words = words = memory.Memory(
            shape=self.vector, depth=cfg.max_rows * beats, init=[], attrs=UNDEFINED
        )
        m.submodules.orms = orms = memory.Memory(
            shape=unsigned(HEAD_WIDTH - 1), depth=cfg.max_rows, init=[]
        )
        write, read = words.write_port(), words.read_port()
        orm_write = orms.write_port()
        orm_before, orm_read = orms.read_port(domain="comb"), orms.read_port()
        place = Signal(range(beats))  # beat of the head
        block_orm = Signal(HEAD_WIDTH - 1)  # of the block's beats so far
        orm = Signal.like(block_orm)
        m.d.comb += [
            place.eq(meta.block * cfg.beats + meta.beat),
            write.en.eq(taken),
            write.addr.eq(Cat(meta.row, place)),
            write.data.eq(act.data),
            read.en.eq(heads.read_en),
            read.addr.eq(Cat(heads.read_row, heads.read_beat)),
            heads.read_data.eq(read.data),
            orm.eq(or_tree(magnitude(x) for x in act.data) | Mux(meta.beat == 0, 0, block_orm)),
            orm_before.addr.eq(meta.row),
            orm_write.addr.eq(meta.row),
            orm_write.en.eq(taken & (meta.beat == cfg.beats - 1)),
            orm_write.data.eq(orm | Mux(meta.block == 0, 0, orm_before.data)),
            orm_read.addr.eq(heads.orm_row),
            heads.orm.eq(orm_read.data),
        ]
        with m.If(taken):
            m.d.sync += block_orm.eq(orm)
