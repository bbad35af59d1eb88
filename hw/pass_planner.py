"""Decides which rows of which sequences the next pass has."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .fetcher import fetch_layout
from .jobs import sampling_layout
from .pass_rows import pass_writes
from .spec.csr import ERRORS

__all__ = ["PassPlanner", "run_layout"]


def run_layout(config):
    """Return the layout of the state of a request that runs."""
    return data.StructLayout({
        "request_id": 32,
        "prompt_addr": 32,  # of the next prompt token
        "left": 32,  # prompt tokens not fed yet
        "position": 32,  # of the next row
        "limit": range(config.max_context + 1),  # positions that its pages hold
        "token": 32,  # to be fed once no prompt is left
        "max_tokens": 32,  # still to be written
        "eos_token": 32,
        "sampling": sampling_layout(config),
    })


class PassPlanner(wiring.Component):
    """Put rows into a pass: one of each sequence that decodes, then chunks of prompts.

    Both in the order of their slots; chunks as long as there is room.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin. ``used`` and the registers must hold while ``busy``.
    used : In
        A bit for each slot that has a request.
    slot, state : Out, In(run_layout)
        State of the request in a slot, one cycle after its number.
    vocab, context, max_prefill : In(32)
        Registers: tokens are below, positions are below, prompt rows of a pass at most (0: all).
    o_fetch, i_word : to `Fetcher`: prompts.
    pass_rows : Out(pass_writes)
        To `PassRows`.
    failed, cause, detail : Out
        The request of ``run`` cannot go on, and why; no row of it joins. Until ``resume``.
    resume : In(1)
        Go on with the next slot.
    run : Out(run_layout)
        State of the request that is worked on.
    busy : Out(1)
        From the cycle after ``start``.
    """

    #: Registers that this unit looks at.
    REGISTERS = ("vocab", "context", "max_prefill")

    def __init__(self, config):
        self.config = config
        super().__init__({
            "start": In(1),
            "used": In(config.max_seqs),
            "slot": Out(range(config.max_seqs)),
            "state": In(run_layout(config)),
            **{name: In(32) for name in self.REGISTERS},
            "o_fetch": Out(stream.Signature(fetch_layout())),
            "i_word": In(stream.Signature(32)),
            "pass_rows": Out(wiring.Signature(pass_writes(config)).flip()),
            "failed": Out(1),
            "cause": Out(4),
            "detail": Out(32),
            "resume": In(1),
            "run": Out(run_layout(config)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        rows, run = self.pass_rows, self.run
        count = Signal(range(cfg.max_rows + 1))  # rows of the segment so far
        chunk = Signal(range(cfg.max_rows + 1))  # rows that it is to have
        room = Signal(range(cfg.max_rows + 1), init=cfg.max_rows)
        budget = Signal(range(cfg.max_rows + 1))  # prompt rows that the pass may still have
        prompts = Signal()  # the second round
        bad, bad_token = Signal(), Signal(32)
        most = Signal.like(room)  # rows that a chunk may have; both are old when it is looked at
        most_context = Mux(self.context < cfg.max_context, self.context, cfg.max_context)
        late, missing = Signal(), Signal()  # the next row has no place in the model, or no page
        last_context = Signal.like(run.limit)
        m.d.sync += [
            most.eq(Mux(room < budget, room, budget)),
            last_context.eq(most_context),
            late.eq(run.position >= last_context),
            missing.eq(run.position >= run.limit),
            rows.emit.eq(chunk >= run.left),  # old when the segment joins
        ]
        m.d.comb += [
            self.busy.eq(1),
            self.o_fetch.p.addr.eq(run.prompt_addr),
            self.o_fetch.p.words.eq(chunk),
            rows.slot.eq(self.slot),
            rows.first_pos.eq(run.position),
            rows.number.eq(count),
            rows.new_token.eq(Mux(prompts, self.i_word.payload, run.token)),
            rows.count.eq(chunk),
            rows.sampling.eq(run.sampling),
        ]

        def fail(cause, detail):
            m.d.sync += [self.cause.eq(ERRORS[cause]), self.detail.eq(detail)]
            m.next = "FAILED"

        def next_slot():
            m.d.sync += self.slot.eq(self.slot + 1)
            m.next = "PICK"
            with m.If(self.slot == cfg.max_seqs - 1):
                m.d.sync += [self.slot.eq(0), prompts.eq(1)]
                with m.If(prompts):
                    m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), rows.clear.eq(self.start)]
                m.d.sync += [
                    self.slot.eq(0),
                    prompts.eq(0),
                    room.eq(cfg.max_rows),
                    budget.eq(
                        Mux(
                            (self.max_prefill == 0) | (self.max_prefill > cfg.max_rows),
                            cfg.max_rows,
                            self.max_prefill,
                        )
                    ),
                ]
                with m.If(self.start):
                    m.next = "PICK"
            with m.State("PICK"):
                m.next = "READ"
            with m.State("READ"):
                m.d.sync += run.eq(self.state)
                m.next = "SIZE"
            with m.State("SIZE"):
                m.d.sync += [
                    count.eq(0),
                    bad.eq(0),
                    chunk.eq(Mux(prompts, Mux(run.left < most, run.left, most), 1)),
                ]
                m.next = "CHECK"
                with m.If(~self.used.bit_select(self.slot, 1) | ((run.left != 0) != prompts)):
                    next_slot()
                with m.Elif(prompts & (most == 0)):
                    next_slot()
            with m.State("CHECK"):
                with m.If(late):
                    fail("too_long", run.position)
                with m.Elif(missing):
                    fail("page_miss", run.position)
                with m.Elif(prompts):
                    m.d.comb += self.o_fetch.valid.eq(1)
                    with m.If(self.o_fetch.ready):
                        m.next = "TAKE"
                with m.Else():
                    m.d.comb += rows.put.eq(1)
                    m.next = "JOIN"
            with m.State("TAKE"):
                m.d.comb += [self.i_word.ready.eq(1), rows.put.eq(self.i_word.valid)]
                with m.If(self.i_word.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If((self.i_word.payload >= self.vocab) & ~bad):
                        m.d.sync += [bad.eq(1), bad_token.eq(self.i_word.payload)]
                    with m.If(count == chunk - 1):
                        m.next = "JOIN"
            with m.State("JOIN"):
                with m.If(bad):
                    fail("bad_token", bad_token)
                with m.Else():
                    m.d.comb += rows.join.eq(1)
                    m.d.sync += room.eq(room - chunk)
                    with m.If(prompts):
                        m.d.sync += budget.eq(budget - chunk)
                    next_slot()
            with m.State("FAILED"):
                m.d.comb += self.failed.eq(1)
                with m.If(self.resume):
                    next_slot()
        return m
