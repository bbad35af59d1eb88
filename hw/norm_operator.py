"""Runs the norm operator: gains in, then every row through the norm."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .operator_word import operator_layout
from .rmsnorm import RmsNorm
from .spec.formats import GAIN_WIDTH, RESIDUAL_WIDTH

__all__ = ["NormOperator"]


class NormOperator(wiring.Component):
    """Load the gains of a norm, then normalise the rows of the pass, or the last one only.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin. ``word`` and ``rows`` must hold while ``busy``.
    word : In(operator_layout("norm"))
    rows : In
        Rows of the pass. With ``last_row`` only the last is taken, and becomes row 0.
    i_entry : In(stream of lanes i16)
        Gains.
    residual_* : read port and ORM of the residual.
    o_norm : Out(stream of norm_result_layout)
    busy : Out(1)

    Timing
    ------
    Takes an entry of gains each cycle, and the first row's job in the cycle after the last; rows
    then follow each other as in `RmsNorm`.
    """

    def __init__(self, config):
        self.config = config
        self.norm = RmsNorm(lanes=config.lanes, max_dim=config.max_dim, max_rows=config.max_rows)
        beat = range(config.max_dim // config.lanes)
        row = range(config.max_rows)
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("norm")),
            "rows": In(range(config.max_rows + 1)),
            "i_entry": In(stream.Signature(data.ArrayLayout(signed(GAIN_WIDTH), config.lanes))),
            "residual_en": Out(1),
            "residual_row": Out(row),
            "residual_beat": Out(beat),
            "residual": In(data.ArrayLayout(signed(RESIDUAL_WIDTH), config.lanes)),
            "orm_row": Out(row),
            "orm": In(RESIDUAL_WIDTH - 1),
            "o_norm": Out(stream.Signature(self.norm.o_norm.payload.shape())),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.norm = norm = self.norm
        m.submodules.gains = gains = memory.Memory(
            shape=data.ArrayLayout(signed(GAIN_WIDTH), cfg.lanes),
            depth=cfg.max_dim // cfg.lanes,
            init=[],
        )
        write, read = gains.write_port(), gains.read_port()
        connect(m, norm.o_norm, flipped(self.o_norm))
        count = Signal(range(cfg.max_dim // cfg.lanes + 1))
        beats = Signal.like(count)
        row = Signal(range(cfg.max_rows + 1))
        job = norm.i_job
        m.d.comb += [
            beats.eq(self.word.blocks << exact_log2(cfg.beats)),
            self.residual_en.eq(norm.read_en),
            self.residual_row.eq(norm.read_row),
            self.residual_beat.eq(norm.read_beat),
            norm.read_data.eq(self.residual),
            self.orm_row.eq(norm.orm_row),
            norm.orm.eq(self.orm),
            read.addr.eq(norm.gain_addr),
            norm.gain.eq(read.data),
            write.addr.eq(count),
            write.data.eq(self.i_entry.payload),
            job.p.row.eq(row),
            job.p.dst_row.eq(Mux(self.word.last_row, 0, row)),
            job.p.beats.eq(beats),
            job.p.epsilon.eq(self.word.epsilon),
            job.p.shift.eq(self.word.shift),
            self.busy.eq(1),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += [count.eq(0), row.eq(Mux(self.word.last_row, self.rows - 1, 0))]
                with m.If(self.start):
                    m.next = "GAINS"
            with m.State("GAINS"):
                m.d.comb += [self.i_entry.ready.eq(1), write.en.eq(self.i_entry.valid)]
                with m.If(self.i_entry.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == beats - 1):
                        m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += job.valid.eq(1)
                with m.If(job.ready):
                    m.d.sync += row.eq(row + 1)
                    with m.If(row == self.rows - 1):
                        m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(~norm.busy):
                    m.next = "IDLE"
        return m
