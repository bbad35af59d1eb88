"""Continuous batching: which rows each pass has, and what becomes of every request."""

from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .admission import Admission
from .event_writer import event_layout
from .fetcher import fetch_layout
from .jobs import row_place, segment_layout
from .spec.csr import ERRORS
from .spec.requests import EVENT_BYTES, EVENT_KINDS, REQUEST_BYTES

__all__ = ["Scheduler"]


class _Resume(enum.Enum, shape=2):
    """Where the work goes on after an event."""

    NEXT = 0
    PLAN = 1
    SEGMENT = 2


def _slot_layout(config):
    """State of a request that runs."""
    return data.StructLayout({
        "request_id": 32,
        "prompt_addr": 32,  # of the next prompt token
        "left": 32,  # prompt tokens not fed yet
        "position": 32,  # of the next row
        "limit": range(config.max_context + 1),  # positions that its pages hold
        "token": 32,  # to be fed once no prompt is left
        "max_tokens": 32,  # still to be written
        "eos_token": 32,
    })


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
    o_fetch, i_word : to `Fetcher`: requests, page tables and prompts.
    table_en, table_slot, table_index, table_page : Out
        Write the page table.
    pass_start : Out(1)
        A pass begins. All below hold until ``pass_done``.
    pass_done : In(1)
        The program's end.
    rows, emits : Out
        Rows of the pass, and how many of them are to give a token.
    segments : Out
        Segments of the pass.
    row, place, token : Out of a read port, one cycle after ``row``
        Slot and position of a row, and its token. ``append_row``, ``append_place``: a second port.
    segment_index, segment : read port of `segment_layout`; ``stream_index``, ``stream_segment``: a
        second one.
    emit_index, emit_row : read port
        Row that gives the ``emit_index``-th token.
    choice_index, choice : Out, In(32)
        Token chosen for a row that emits, one cycle later, from ``pass_done`` on.
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
    error, error_cause, error_addr : Out
        The registers make no sense.
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
        "vocab",
        "context",
        "max_prefill",
    )

    def __init__(self, config):
        self.config = config
        row, slot = range(config.max_rows), range(config.max_seqs)
        rows, seqs = range(config.max_rows + 1), range(config.max_seqs + 1)
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
            "rows": Out(rows),
            "emits": Out(seqs),
            "segments": Out(seqs),
            "row": In(row),
            "place": Out(row_place(config)),
            "token": Out(32),
            "append_row": In(row),
            "append_place": Out(row_place(config)),
            "segment_index": In(slot),
            "segment": Out(segment_layout(config)),
            "stream_index": In(slot),
            "stream_segment": Out(segment_layout(config)),
            "emit_index": In(slot),
            "emit_row": Out(row),
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
            "error_cause": Out(4),
            "error_addr": Out(32),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.admission = admission = Admission(cfg)
        request = admission.request
        slots = range(cfg.max_seqs)
        slot = Signal(slots)  # the one that is worked on
        used = Signal(cfg.max_seqs)
        index, emitted = Signal(range(cfg.max_seqs + 1)), Signal(range(cfg.max_seqs + 1))
        read = self._memories(m, slot, index)
        state = Signal(_slot_layout(cfg))  # of the slot that is worked on
        segment = Signal(segment_layout(cfg))
        event = Signal(event_layout())
        fill, count, chunk = (
            Signal(range(cfg.max_rows + 1), name=n) for n in ("fill", "count", "chunk")
        )
        budget = Signal(range(cfg.max_rows + 1))  # prompt rows that the pass may still have
        free = Signal(slots)
        prompts = Signal()  # the second round of a plan
        bad, bad_token = Signal(), Signal(32)
        withdrawn = Signal()
        resume = Signal(_Resume)
        last_slot = slot == cfg.max_seqs - 1
        most_context = Mux(self.context < cfg.max_context, self.context, cfg.max_context)
        is_cancelled = withdrawn & (state.request_id == self.cancel_id)

        m.d.comb += [
            self.busy.eq(1),
            self.rows.eq(fill),
            self.choice_index.eq(emitted),
            self.o_event.payload.eq(event),
            self.event_addr.eq(
                _ring_place(
                    self.event_ring_addr, self.event_ring_len, self.events_written, EVENT_BYTES
                )
            ),
            admission.slot.eq(slot),
            admission.addr.eq(
                _ring_place(
                    self.request_ring_addr,
                    self.request_ring_len,
                    self.requests_taken,
                    REQUEST_BYTES,
                )
            ),
            read.token.data.eq(self.i_word.payload),
            read.token.addr.eq(fill + count),
            read.place.addr.eq(fill + count),
            read.place.data.slot.eq(slot),
            read.place.data.position.eq(state.position + count),
            read.segment.addr.eq(self.segments),
            read.segment.data.slot.eq(slot),
            read.segment.data.row0.eq(fill),
            read.segment.data.rows.eq(chunk),
            read.segment.data.first_pos.eq(state.position),
            read.segment.data.emit.eq(chunk >= state.left),
            read.emit.addr.eq(self.emits),
            read.emit.data.eq(fill + chunk - 1),
            read.slot.addr.eq(slot),
        ]
        for name in ("kv_base", "page_bytes", "kv_pages", "context"):
            m.d.comb += getattr(admission, name).eq(getattr(self, name))
        m.d.comb += [
            self.placed.eq(read.place.en),
            self.placed_row.eq(read.place.addr),
            self.placed_position.eq(state.position + count),
            self.placed_id.eq(state.request_id),
        ]
        for name in ("table_en", "table_slot", "table_index", "table_page"):
            m.d.comb += getattr(self, name).eq(getattr(admission, name))
        # Memory is asked by the admission, or for prompts.
        ask = Signal()
        m.d.comb += [
            self.o_fetch.valid.eq(ask),
            self.o_fetch.p.addr.eq(state.prompt_addr),
            self.o_fetch.p.words.eq(chunk),
            admission.i_word.payload.eq(self.i_word.payload),
        ]
        with m.If(admission.busy):
            m.d.comb += [
                self.o_fetch.valid.eq(admission.o_fetch.valid),
                self.o_fetch.payload.eq(admission.o_fetch.payload),
                admission.o_fetch.ready.eq(self.o_fetch.ready),
                admission.i_word.valid.eq(self.i_word.valid),
                self.i_word.ready.eq(admission.i_word.ready),
            ]
        for number in reversed(slots):
            with m.If(~used[number]):
                m.d.comb += free.eq(number)

        def report(kind, then, *, token=0, cause=0, detail=0, source=state):
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

        def fail(cause, detail):
            report(EVENT_KINDS["failed"], _Resume.PLAN, cause=ERRORS[cause], detail=detail)

        def next_slot():
            m.d.sync += slot.eq(slot + 1)
            m.next = "PICK"
            with m.If(last_slot):
                m.d.sync += [slot.eq(0), prompts.eq(1)]
                with m.If(prompts):
                    m.next = "LAUNCH"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                with m.If(self.start):
                    m.d.comb += admission.clear.eq(1)
                    m.d.sync += [
                        used.eq(0),
                        withdrawn.eq(0),
                        self.requests_taken.eq(0),
                        self.events_written.eq(0),
                    ]
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                with m.If(~admission.busy):
                    m.next = "SEARCH"
                for length in (self.request_ring_len, self.event_ring_len):
                    with m.If((length == 0) | (length & (length - 1)).any()):
                        m.d.comb += [
                            self.error.eq(1),
                            self.error_cause.eq(ERRORS["bad_request"]),
                            self.error_addr.eq(length),
                        ]
                        m.next = "IDLE"

            # Between two passes: a request is withdrawn, others are taken.
            with m.State("SEARCH"):
                m.d.sync += slot.eq(0)
                m.next = "NEXT"
                with m.If(withdrawn & used.any()):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += state.eq(read.slot_data)
                m.next = "WITHDRAW"
            with m.State("WITHDRAW"):
                m.d.sync += slot.eq(slot + 1)
                m.next = "LOOK"
                with m.If(last_slot):
                    m.next = "NEXT"
                with m.If(used.bit_select(slot, 1) & is_cancelled):
                    m.d.sync += [withdrawn.eq(0), slot.eq(slot)]
                    report(EVENT_KINDS["cancelled"], _Resume.NEXT)
            with m.State("NEXT"):
                m.d.sync += [
                    slot.eq(free),
                    fill.eq(0),
                    count.eq(0),
                    prompts.eq(0),
                    self.segments.eq(0),
                    self.emits.eq(0),
                    budget.eq(
                        Mux(
                            (self.max_prefill == 0) | (self.max_prefill > cfg.max_rows),
                            cfg.max_rows,
                            self.max_prefill,
                        )
                    ),
                ]
                with m.If((self.requests_taken != self.requests_written) & ~used.all()):
                    m.next = "ADMIT"
                with m.Elif(used.any()):
                    m.d.sync += slot.eq(0)
                    m.next = "PICK"
                with m.Else():
                    m.d.comb += self.finished.eq(1)
                    m.next = "IDLE"
            with m.State("ADMIT"):
                m.d.comb += admission.admit.eq(1)
                m.next = "ADMITTING"
            with m.State("ADMITTING"):
                with m.If(~admission.busy):
                    m.d.sync += [
                        self.requests_taken.eq(self.requests_taken + 1),
                        state.request_id.eq(request.request_id),
                        state.prompt_addr.eq(request.prompt_addr),
                        state.left.eq(request.prompt_len),
                        state.position.eq(request.start_pos),
                        state.limit.eq(request.page_count << exact_log2(cfg.page_len)),
                        state.token.eq(0),
                        state.max_tokens.eq(request.max_tokens),
                        state.eos_token.eq(request.eos_token),
                    ]
                    m.next = "ADMITTED"
            with m.State("ADMITTED"):
                with m.If(admission.refused):
                    report(
                        EVENT_KINDS["failed"],
                        _Resume.NEXT,
                        cause=admission.cause,
                        detail=admission.detail,
                    )
                with m.Elif(is_cancelled):
                    m.d.sync += withdrawn.eq(0)
                    report(EVENT_KINDS["cancelled"], _Resume.NEXT)
                with m.Else():
                    m.d.comb += [read.slot.data.eq(state), read.slot.en.eq(1)]
                    m.d.sync += used.eq(used | (1 << slot))
                    m.next = "NEXT"

            # The rows of a pass: first one of each sequence that decodes, then prompts.
            with m.State("PICK"):
                m.next = "READ"
            with m.State("READ"):
                m.d.sync += state.eq(read.slot_data)
                m.next = "SIZE"
            with m.State("SIZE"):
                room = cfg.max_rows - fill
                most = Mux(room < budget, room, budget)
                m.d.sync += [
                    count.eq(0),
                    bad.eq(0),
                    chunk.eq(Mux(prompts, Mux(state.left < most, state.left, most), 1)),
                ]
                m.next = "PLACE"
                with m.If(~used.bit_select(slot, 1) | ((state.left != 0) != prompts)):
                    next_slot()
                with m.Elif(prompts & (most == 0)):
                    next_slot()
            with m.State("PLACE"):
                with m.If(state.position >= most_context):
                    fail("too_long", state.position)
                with m.Elif(state.position >= state.limit):
                    fail("page_miss", state.position)
                with m.Elif(prompts):
                    m.d.comb += ask.eq(1)
                    with m.If(self.o_fetch.ready):
                        m.next = "TAKE"
                with m.Else():
                    m.d.comb += [
                        read.place.en.eq(1),
                        read.token.en.eq(1),
                        read.token.data.eq(state.token),
                    ]
                    m.next = "JOIN"
            with m.State("TAKE"):
                m.d.comb += [
                    self.i_word.ready.eq(1),
                    read.place.en.eq(self.i_word.valid),
                    read.token.en.eq(self.i_word.valid),
                ]
                with m.If(self.i_word.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If((self.i_word.payload >= self.vocab) & ~bad):
                        m.d.sync += [bad.eq(1), bad_token.eq(self.i_word.payload)]
                    with m.If(count == chunk - 1):
                        m.d.sync += count.eq(0)
                        m.next = "JOIN"
            with m.State("JOIN"):
                with m.If(bad):
                    fail("bad_token", bad_token)
                with m.Else():
                    m.d.comb += [read.segment.en.eq(1), read.emit.en.eq(read.segment.data.emit)]
                    m.d.sync += [
                        fill.eq(fill + chunk),
                        self.segments.eq(self.segments + 1),
                        self.emits.eq(self.emits + read.segment.data.emit),
                    ]
                    with m.If(prompts):
                        m.d.sync += budget.eq(budget - chunk)
                    next_slot()
            with m.State("LAUNCH"):
                m.d.sync += [index.eq(0), emitted.eq(0)]
                m.next = "SEARCH"
                with m.If(self.segments != 0):
                    m.d.comb += self.pass_start.eq(1)
                    m.next = "PASS"
            with m.State("PASS"):
                with m.If(self.pass_done):
                    m.next = "SEGMENT"

            # What the pass has done for each of its sequences.
            with m.State("SEGMENT"):
                m.next = "SLOT"
                with m.If(index == self.segments):
                    m.next = "SEARCH"
            with m.State("SLOT"):
                m.d.sync += [segment.eq(read.segment_data), slot.eq(read.segment_data.slot)]
                m.next = "STATE"
            with m.State("STATE"):
                m.next = "ADVANCE"
            with m.State("ADVANCE"):
                old = read.slot_data
                m.d.sync += [
                    state.eq(old),
                    state.position.eq(old.position + segment.rows),
                    state.prompt_addr.eq(old.prompt_addr + (segment.rows << 2)),
                    state.token.eq(self.choice),
                ]
                with m.If(old.left != 0):
                    m.d.sync += state.left.eq(old.left - segment.rows)
                with m.If(segment.emit):
                    m.d.sync += state.max_tokens.eq(old.max_tokens - 1)
                m.next = "STORE"
            with m.State("STORE"):
                m.d.comb += [read.slot.data.eq(state), read.slot.en.eq(1)]
                m.d.sync += [index.eq(index + 1), emitted.eq(emitted + segment.emit)]
                m.next = "SEGMENT"
                with m.If(segment.emit):
                    ends = (state.token == state.eos_token) | (state.max_tokens == 0)
                    report(
                        Mux(ends, EVENT_KINDS["end"], EVENT_KINDS["token"]),
                        _Resume.SEGMENT,
                        token=state.token,
                    )

            # An event; but for a token, the request leaves its slot.
            with m.State("REPORT"):
                room = (self.events_written - self.events_read)[:32] < self.event_ring_len
                m.d.comb += [self.stalled.eq(~room), self.o_event.valid.eq(room)]
                with m.If(room & self.o_event.ready):
                    m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(self.o_event.ready & ~self.writes_pending):
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
                        m.d.sync += count.eq(0)
                        next_slot()
                    with m.Default():
                        m.next = "NEXT"
        with m.If(self.cancel):
            m.d.sync += withdrawn.eq(1)
        return m

    def _memories(self, m, slot, index):
        """Add the memories; return their write ports, and what is read for this unit."""
        cfg = self.config
        deep = max(2, cfg.max_seqs)

        def store(name, shape, depth, *readers):
            m.submodules[name] = memories = memory.Memory(shape=shape, depth=depth, init=[])
            write = memories.write_port()
            for addr, value in readers:
                port = memories.read_port()
                m.d.comb += [port.addr.eq(addr), value.eq(port.data)]
            return write

        slot_data = Signal(_slot_layout(cfg))
        segment_data = Signal(segment_layout(cfg))
        return SimpleNamespace(
            slot_data=slot_data,
            segment_data=segment_data,
            slot=store("slots", _slot_layout(cfg), deep, (slot, slot_data)),
            place=store(
                "places",
                row_place(cfg),
                cfg.max_rows,
                (self.row, self.place),
                (self.append_row, self.append_place),
            ),
            token=store("tokens", unsigned(32), cfg.max_rows, (self.row, self.token)),
            segment=store(
                "pass_segments",
                segment_layout(cfg),
                deep,
                (index, segment_data),
                (self.segment_index, self.segment),
                (self.stream_index, self.stream_segment),
            ),
            emit=store("emit_rows", range(cfg.max_rows), deep, (self.emit_index, self.emit_row)),
        )


def _ring_place(base, length, number, entry_bytes):
    return base + ((number & (length - 1)) << exact_log2(entry_bytes))
