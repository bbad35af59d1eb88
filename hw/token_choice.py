"""Chooses the tokens of a pass, once its logits are known."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .jobs import draw_layout
from .record_writer import RecordWriter
from .sampler import Sampler
from .spec.requests import CANDIDATE_BYTES, NO_CANDIDATE

__all__ = ["TokenChoice"]

_DRAWN_BY = ("top_k", "report_count", "multiplier", "shift", "seed")


class TokenChoice(wiring.Component):
    """Draw a token for each row that emits, and write the candidates that were asked for.

    Tokens are those of ``sim.golden.sampler.sample``, candidates those of ``top_candidates``.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_logits : In(stream of logits_layout)
        Logits of the rows that emit, as of `Sampler`; row 0 is the first of them.
    start : In(1)
        All logits of the pass were given: choose. ``emits`` must hold while ``busy``.
    emits : In
        Rows that emit.
    draw_index, draw : Out, In(draw_layout)
        How the token of a row is drawn, one cycle after its number.
    choice_index, choice : In, Out(32)
        A row's token, one cycle after its number, once ``busy`` is low.
    o_write, o_wdata : Out
        To the memory controller: candidates, as `hw.spec.requests` has them.
    collecting : Out(1)
        Logits are inside that no list shows yet.
    busy : Out(1)
        Tokens are yet to be chosen, or candidates to be taken. High with ``start`` already.

    Timing
    ------
    Logits are taken as by `Sampler`. A row takes two cycles more than its job there; one more
    candidate is taken as soon as the one before is written.
    """

    def __init__(self, config):
        self.config = config
        self.sampler = Sampler(
            lanes=config.lanes, max_rows=config.max_rows, list_len=config.list_len
        )
        self.writer = RecordWriter(port_bytes=config.port_bytes, record_bytes=CANDIDATE_BYTES)
        seq = range(config.max_seqs)
        super().__init__({
            "i_logits": In(self.sampler.i_logits.signature.flip()),
            "start": In(1),
            "emits": In(range(config.max_seqs + 1)),
            "draw_index": Out(seq),
            "draw": In(draw_layout(config)),
            "choice_index": In(seq),
            "choice": Out(32),
            "o_write": Out(self.writer.o_write.signature),
            "o_wdata": Out(self.writer.o_wdata.signature),
            "collecting": Out(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.sampler = sampler = self.sampler
        m.submodules.writer = writer = self.writer
        job, token, candidate = sampler.i_job, sampler.o_token, sampler.o_candidate
        m.submodules.choices = choices = memory.Memory(
            shape=token.p.token.shape(), depth=max(2, self.config.max_seqs), init=[]
        )
        write, read = choices.write_port(), choices.read_port()
        index = Signal(range(self.config.max_seqs + 1))
        connect(m, flipped(self.i_logits), sampler.i_logits)
        connect(m, writer.o_write, flipped(self.o_write))
        connect(m, writer.o_wdata, flipped(self.o_wdata))

        # The number of the row stays until its token is there, and with it how that is drawn.
        sampling, record = self.draw.sampling, writer.i_record
        m.d.comb += [
            self.draw_index.eq(index),
            job.p.row.eq(index),
            job.p.position.eq(self.draw.position),
            *(job.p[name].eq(sampling[name]) for name in _DRAWN_BY),
            write.addr.eq(index),
            write.data.eq(token.p.token),
            read.addr.eq(self.choice_index),
            self.choice.eq(read.data),
            record.valid.eq(candidate.valid),
            candidate.ready.eq(record.ready),
            record.p.addr.eq(
                sampling.candidates_addr + (candidate.p.rank << exact_log2(CANDIDATE_BYTES))
            ),
            record.p.data.eq(
                Cat(Mux(candidate.p.found, candidate.p.index, NO_CANDIDATE), candidate.p.value)
            ),
            self.busy.eq(1),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += index.eq(0)
                with m.If(self.start & (self.emits != 0)):
                    m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.next = "DRAW"
            with m.State("DRAW"):
                m.d.comb += job.valid.eq(1)
                with m.If(job.ready):
                    m.next = "STORE"
            with m.State("STORE"):
                m.d.comb += [token.ready.eq(1), write.en.eq(token.valid)]
                with m.If(token.valid):
                    m.d.sync += index.eq(index + 1)
                    m.next = "LOOK_UP"
                    with m.If(index == self.emits - 1):
                        m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(~writer.busy):
                    m.next = "IDLE"
        m.d.comb += self.collecting.eq(sampler.busy & fsm.ongoing("IDLE"))
        return m
