"""Continuous batching: which rows each pass has, and what becomes of every request.

Longer than 400 lines: the states of one machine, which share what they work on.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .admission import Admission
from .event_writer import event_layout
from .fetcher import fetch_layout
from .jobs import segment_layout
from .lib.axi import PAGE_BYTES
from .lib.slice import Slice
from .pass_planner import PassPlanner, run_layout
from .pass_rows import PassRows, pass_reads, pass_writes
from .ring import ring_entry
from .spec.requests import EVENT_KINDS

__all__ = ["Scheduler"]


class _Resume(enum.Enum, shape=2):
    """Where the work goes on after an event."""

    NEXT = 0
    PLAN = 1
    SEGMENT = 2


class Scheduler(wiring.Component):
    """Take requests from the ring, put their rows into passes, and report tokens.

    Between two passes requests that ended leave and others join. A pass has one row of each
    sequence that decodes, in the order of their slots; then chunks of prompts, in the same order,
    as long as there is room. The rows of a sequence are a *segment* of the pass.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin. The registers (inputs of the names in :attr:`REGISTERS`) must hold while ``busy``,
        but for ``requests_written``, ``events_read`` and ``cancel_id``, which the host moves on.
    cancel : In(1)
        Withdraw the request ``cancel_id``: it ends before the next pass, or when it is taken.
        Nothing happens if it is over already, or was not written yet.
    o_fetch, i_word : to `Fetcher`: requests, page tables and prompts.
    table_en, table_slot, table_index, table_page : Out
        Write the page table.
    pass_start : Out(1)
        A pass begins. All below hold until ``pass_done``.
    pass_done : In(1)
        The program's end.
    rows, emits, segments, row, place, token, ... : read ports of the pass, see `PassRows`
    choose, choosing : Out(1), In(1)
        The pass is done: choose its tokens. They are not chosen yet, from the next cycle on.
    choice_index, choice : Out, In(32)
        Token chosen for a row that emits, one cycle later, once ``choosing`` is low.
    o_event : Out(stream of event_layout)
        What is to be written into the ring of events at ``event_addr``.
    event_addr : Out(32)
    writes_pending : In(1)
        From the memory controller.
    events_written, requests_taken : Out(32)
        Since ``start``.
    token_event : Out(1)
        An event is in memory.
    finished : Out(1)
        No request runs and none waits.
    stalled : Out(1)
        The ring of events is full, and the host must read.
    placed, placed_row, placed_position, placed_id : Out
        A row is put into the next pass: its position, and the request that it belongs to.
    error, error_addr : Out
        The registers make no sense: ``bad_request``, and what one of them holds.
    busy : Out(1)
        High with ``start`` already.
    """

    REGISTERS = (
        "request_ring_addr",
        "request_ring_len",
        "requests_written",
        "event_ring_addr",
        "event_ring_len",
        "events_read",
        "cancel_id",
        "kv_base",
        "page_bytes",
        "kv_pages",
        "host_base",
        "host_limit",
        "vocab",
        "context",
        "max_prefill",
        "channel_stride",
    )

    def __init__(self, config):
        self.config = config
        row, slot = range(config.max_rows), range(config.max_seqs)
        super().__init__({
            "start": In(1),
            "cancel": In(1),
            **{name: In(32) for name in self.REGISTERS},
            "o_fetch": Out(stream.Signature(fetch_layout())),
            "i_word": In(stream.Signature(32)),
            "table_en": Out(1),
            "table_slot": Out(slot),
            "table_index": Out(range(max(2, config.max_pages))),
            "table_page": Out(32),
            "pass_start": Out(1),
            "pass_done": In(1),
            **pass_reads(config),
            "choose": Out(1),
            "choosing": In(1),
            "choice_index": Out(slot),
            "choice": In(32),
            "o_event": Out(stream.Signature(event_layout())),
            "event_addr": Out(32),
            "writes_pending": In(1),
            "events_written": Out(32),
            "requests_taken": Out(32),
            "token_event": Out(1),
            "finished": Out(1),
            "stalled": Out(1),
            "placed": Out(1),
            "placed_row": Out(row),
            "placed_position": Out(32),
            "placed_id": Out(32),
            "error": Out(1),
            "error_addr": Out(32),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.admission = admission = Admission(cfg)
        m.submodules.planner = planner = PassPlanner(cfg)
        m.submodules.pass_rows = pass_rows = PassRows(cfg)
        # States of the requests.
        m.submodules.runs = runs = memory.Memory(
            shape=run_layout(cfg), depth=max(2, cfg.max_seqs), init=[]
        )
        write, read = runs.write_port(), runs.read_port()
        request = admission.request
        slots = range(cfg.max_seqs)
        slot = Signal(slots)  # the one that is worked on
        used = Signal(cfg.max_seqs)
        index = Signal(range(cfg.max_seqs + 1))
        emitted = Signal.like(index)
        run = Signal(run_layout(cfg))  # of the slot that is worked on
        segment = Signal(segment_layout(cfg))
        event = Signal(event_layout())
        free = Signal(slots)
        withdrawn = Signal()
        written, owed = Signal(32), Signal()  # it may be among those written then and not taken
        whole = Signal()  # all slots are compared since it was asked for
        store = Signal()  # `run` is written in this cycle, in which slot and run still stand
        resume = Signal(_Resume)
        last_slot = slot == cfg.max_seqs - 1
        same_id = Signal()  # `run` is what the host names, as it was a cycle ago
        is_cancelled = withdrawn & same_id

        request_addr, bad_requests = ring_entry(m, self, "request", self.requests_taken)
        event_addr, bad_events = ring_entry(m, self, "event", self.events_written)
        bad_stride = self.channel_stride % PAGE_BYTES != 0
        bad_len = Mux(bad_events, self.event_ring_len, self.request_ring_len)
        m.d.comb += [
            self.busy.eq(1),
            self.choice_index.eq(emitted),
            self.o_event.payload.eq(event),
            self.event_addr.eq(event_addr),
            self.error_addr.eq(Mux(bad_stride, self.channel_stride, bad_len)),
            admission.slot.eq(slot),
            admission.addr.eq(request_addr),
            read.addr.eq(Mux(planner.busy, planner.slot, slot)),
            # A cycle late, by a register: it goes to every word of LUTs that holds a state.
            write.en.eq(store),
            write.addr.eq(slot),
            write.data.eq(run),
            planner.state.eq(read.data),
            planner.used.eq(used),
            pass_rows.done_index.eq(index),
        ]
        # Compared ahead of their use, which is never in the cycle after a change on this side.
        waiting, room = Signal(), Signal()
        with m.If(self.requests_taken == written):
            m.d.sync += owed.eq(0)
        m.d.sync += [
            store.eq(0),
            same_id.eq(run.request_id == self.cancel_id),
            waiting.eq(self.requests_taken != self.requests_written),
            room.eq((self.events_written - self.events_read)[:32] < self.event_ring_len),
        ]
        for unit in (admission, planner):
            for name in unit.REGISTERS:
                m.d.comb += getattr(unit, name).eq(getattr(self, name))
        for name in ("table_en", "table_slot", "table_index", "table_page"):
            m.d.comb += getattr(self, name).eq(getattr(admission, name))
        for name in pass_writes(cfg):
            m.d.comb += getattr(pass_rows, name).eq(getattr(planner.pass_rows, name))
        for name, member in pass_reads(cfg).items():
            ours, theirs = getattr(self, name), getattr(pass_rows, name)
            m.d.comb += ours.eq(theirs) if member.flow is Out else theirs.eq(ours)
        m.d.comb += [
            self.placed.eq(pass_rows.put),
            self.placed_row.eq(pass_rows.rows + pass_rows.number),
            self.placed_position.eq(planner.run.position + pass_rows.number),
            self.placed_id.eq(planner.run.request_id),
        ]
        # Memory is asked by the admission, or for prompts: never both at a time.
        m.submodules.asking = asking = Slice(fetch_layout())
        connect(m, asking.o, flipped(self.o_fetch))
        for unit in (admission, planner):
            m.d.comb += [
                unit.o_fetch.ready.eq(asking.i.ready),
                unit.i_word.valid.eq(self.i_word.valid),
                unit.i_word.payload.eq(self.i_word.payload),
            ]
        of_planner = planner.o_fetch.valid
        m.d.comb += [
            asking.i.valid.eq(admission.o_fetch.valid | of_planner),
            asking.i.payload.eq(
                Mux(of_planner, planner.o_fetch.payload, admission.o_fetch.payload)
            ),
            self.i_word.ready.eq(admission.i_word.ready | planner.i_word.ready),
        ]
        for number in reversed(slots):
            with m.If(~used[number]):
                m.d.comb += free.eq(number)

        def report(kind, then, *, token=0, cause=0, detail=0, source=run):
            m.d.sync += [
                event.request_id.eq(source.request_id),
                event.token.eq(token),
                event.position.eq(getattr(source, "position", 0)),
                event.kind.eq(kind),
                event.cause.eq(cause),
                event.detail.eq(detail),
                resume.eq(then),
            ]
            m.next = "REPORT"

        is_written = Signal()  # the event, as it was a cycle ago: who writes is far
        m.d.sync += is_written.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                with m.If(self.start):
                    m.d.comb += admission.clear.eq(1)
                    m.d.sync += [used.eq(0), withdrawn.eq(0)]
                    m.d.sync += [self.requests_taken.eq(0), self.events_written.eq(0)]
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                with m.If(~admission.busy):
                    m.next = "SEARCH"
                with m.If(bad_requests | bad_events | bad_stride):
                    m.d.comb += self.error.eq(1)
                    m.next = "IDLE"

            # Between two passes: a request is withdrawn, others are taken.
            with m.State("SEARCH"):
                m.d.sync += [slot.eq(0), whole.eq(1)]
                m.next = "NEXT"
                with m.If(withdrawn):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += run.eq(read.data)
                m.next = "MATCH"
            with m.State("MATCH"):
                m.next = "WITHDRAW"
            with m.State("WITHDRAW"):
                m.d.sync += slot.eq(slot + 1)
                m.next = "LOOK"
                with m.If(last_slot):
                    m.d.sync += withdrawn.eq(owed | ~whole)
                    m.next = "NEXT"
                with m.If(used.bit_select(slot, 1) & is_cancelled):
                    m.d.sync += [withdrawn.eq(0), slot.eq(slot)]
                    report(EVENT_KINDS["cancelled"], _Resume.NEXT)
            with m.State("NEXT"):
                m.d.sync += [slot.eq(free), index.eq(0), emitted.eq(0)]
                with m.If(waiting & ~used.all()):
                    m.next = "ADMIT"
                with m.Elif(used.any()):
                    m.d.comb += planner.start.eq(1)
                    m.next = "PLAN"
                with m.Else():
                    m.d.comb += self.finished.eq(1)
                    m.next = "IDLE"
            with m.State("ADMIT"):
                m.d.comb += admission.admit.eq(1)
                m.next = "ADMITTING"
            with m.State("ADMITTING"):
                # Over and over, until the request is whole: an enable less to wait for.
                m.d.sync += [
                    run.request_id.eq(request.request_id),
                    run.prompt_addr.eq(request.prompt_addr),
                    run.left.eq(request.prompt_len),
                    run.position.eq(request.start_pos),
                    run.limit.eq(request.page_count << exact_log2(cfg.page_len)),
                    run.token.eq(0),
                    run.max_tokens.eq(request.max_tokens),
                    run.eos_token.eq(request.eos_token),
                    *(run.sampling[name].eq(request[name]) for name, _ in run.sampling.shape()),
                ]
                with m.If(~admission.busy):
                    m.next = "MATCH_ADMITTED"
            with m.State("MATCH_ADMITTED"):
                m.d.sync += self.requests_taken.eq(self.requests_taken + 1)
                m.next = "ADMITTED"
            with m.State("ADMITTED"):
                with m.If(admission.refused):
                    report(
                        EVENT_KINDS["failed"],
                        _Resume.NEXT,
                        cause=admission.cause,
                        detail=admission.detail,
                    )
                with m.Elif(is_cancelled & owed):
                    m.d.sync += withdrawn.eq(0)
                    report(EVENT_KINDS["cancelled"], _Resume.NEXT)
                with m.Else():
                    m.d.sync += store.eq(1)
                    m.d.sync += used.eq(used | (1 << slot))
                    m.next = "NEXT"

            # The pass. A request that cannot go on leaves before it.
            with m.State("PLAN"):
                with m.If(planner.failed):
                    m.d.sync += slot.eq(planner.slot)
                    report(
                        EVENT_KINDS["failed"],
                        _Resume.PLAN,
                        cause=planner.cause,
                        detail=planner.detail,
                        source=planner.run,
                    )
                with m.Elif(~planner.busy):
                    m.next = "SEARCH"
                    with m.If(self.segments != 0):
                        m.d.comb += self.pass_start.eq(1)
                        m.next = "PASS"
            with m.State("PASS"):
                with m.If(self.pass_done):
                    m.d.comb += self.choose.eq(1)
                    m.next = "CHOICE"
            with m.State("CHOICE"):
                with m.If(~self.choosing):
                    m.next = "SEGMENT"

            # What the pass has done for each of its sequences.
            with m.State("SEGMENT"):
                m.next = "SLOT"
                with m.If(index == self.segments):
                    m.next = "SEARCH"
            with m.State("SLOT"):
                m.d.sync += [
                    segment.eq(pass_rows.done_segment),
                    slot.eq(pass_rows.done_segment.slot),
                ]
                m.next = "STATE"
            with m.State("STATE"):
                m.next = "ADVANCE"
            with m.State("ADVANCE"):
                old = read.data
                m.d.sync += [
                    run.eq(old),
                    run.position.eq(old.position + segment.rows),
                    run.prompt_addr.eq(old.prompt_addr + (segment.rows << 2)),
                    run.token.eq(self.choice),
                ]
                with m.If(old.left != 0):
                    m.d.sync += run.left.eq(old.left - segment.rows)
                with m.If(segment.emit):
                    m.d.sync += run.max_tokens.eq(old.max_tokens - 1)
                m.next = "STORE"
            with m.State("STORE"):
                m.d.sync += store.eq(1)
                m.d.sync += [index.eq(index + 1), emitted.eq(emitted + segment.emit)]
                m.next = "SEGMENT"
                with m.If(segment.emit):
                    ends = (run.token == run.eos_token) | (run.max_tokens == 0)
                    report(
                        Mux(ends, EVENT_KINDS["end"], EVENT_KINDS["token"]),
                        _Resume.SEGMENT,
                        token=run.token,
                    )

            # An event; but for a token, the request leaves its slot.
            with m.State("REPORT"):
                m.d.comb += [self.stalled.eq(~room), self.o_event.valid.eq(room)]
                with m.If(room & self.o_event.ready):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.sync += is_written.eq(self.o_event.ready & ~self.writes_pending)
                with m.If(is_written):
                    m.d.comb += self.token_event.eq(1)
                    m.d.sync += self.events_written.eq(self.events_written + 1)
                    m.next = "RESUME"
                    with m.If(event.kind != EVENT_KINDS["token"]):
                        m.d.comb += admission.release.eq(1)
                        m.d.sync += used.eq(used & ~(1 << slot))
                        m.next = "RELEASE"
            with m.State("RELEASE"):
                with m.If(~admission.busy):
                    m.next = "RESUME"
            with m.State("RESUME"):
                with m.Switch(resume):
                    with m.Case(_Resume.SEGMENT):
                        m.next = "SEGMENT"
                    with m.Case(_Resume.PLAN):
                        m.d.comb += planner.resume.eq(1)
                        m.next = "PLAN"
                    with m.Default():
                        m.next = "NEXT"
        with m.If(self.cancel):
            m.d.sync += [withdrawn.eq(1), owed.eq(1), whole.eq(0)]
            m.d.sync += written.eq(self.requests_written)
        return m
