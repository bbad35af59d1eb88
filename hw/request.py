"""Loops over the passes of a request: prompt chunks, then a token at a time."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .fetcher import fetch_layout
from .spec.csr import ERRORS, RING_ENTRY_BYTES

__all__ = ["Request"]


class Request(wiring.Component):
    """Run a request without the host: set up each pass, and report each token.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin. The registers of the same names (``prompt_addr`` to ``max_prefill``) must hold.
    o_fetch, i_word : to `Fetcher`: page table and prompt.
    page_en, page_index, page : Out
        Write the page table.
    token_row, token : read port
        Token of a row of the pass, one cycle later.
    pass_start : Out(1)
        A pass begins: ``first_pos``, ``rows``, ``emit`` hold until ``pass_done``.
    pass_done : In(1)
        The program's end.
    next_token : In(32)
        What the pass wrote, valid with ``pass_done`` if it was to emit.
    ring_start, ring_addr, ring_token, ring_pos, ring_busy : to `RingWriter`.
    writes_pending : In(1)
        From the memory controller.
    token_event : Out(1)
        A token is in the ring.
    ring_head : Out(32)
        Tokens in the ring since ``start``.
    finished, eos : Out(1)
        The request is at its end; its last token was the one that ends a sequence.
    error, error_cause, error_addr : Out
        The request cannot go on.
    busy : Out(1)
        A request is on; high with ``start`` already.

    Timing
    ------
    After a pass that emits, ``pass_start`` comes four cycles after ``pass_done``, plus those in
    which ``ring_busy`` or ``writes_pending`` is high. After another, the next chunk is asked for
    two cycles after ``pass_done``, and ``pass_start`` follows its last word.
    """

    REGISTERS = (
        "prompt_addr",
        "prompt_len",
        "max_tokens",
        "eos_token",
        "start_pos",
        "page_table_addr",
        "page_count",
        "kv_base",
        "kv_limit",
        "ring_addr_base",
        "ring_len",
        "max_prefill",
    )

    def __init__(self, config):
        self.config = config
        row = range(config.max_rows)
        super().__init__({
            "start": In(1),
            **{name: In(32) for name in self.REGISTERS},
            "o_fetch": Out(stream.Signature(fetch_layout())),
            "i_word": In(stream.Signature(32)),
            "page_en": Out(1),
            "page_index": Out(range(max(2, config.max_pages))),
            "page": Out(32),
            "token_row": In(row),
            "token": Out(32),
            "pass_start": Out(1),
            "pass_done": In(1),
            "first_pos": Out(range(config.max_context)),
            "rows": Out(range(config.max_rows + 1)),
            "emit": Out(1),
            "next_token": In(32),
            "ring_start": Out(1),
            "ring_addr": Out(32),
            "ring_token": Out(32),
            "ring_pos": Out(32),
            "ring_busy": In(1),
            "writes_pending": In(1),
            "token_event": Out(1),
            "ring_head": Out(32),
            "finished": Out(1),
            "eos": Out(1),
            "error": Out(1),
            "error_cause": Out(4),
            "error_addr": Out(32),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.tokens = tokens = memory.Memory(shape=32, depth=cfg.max_rows, init=[])
        write, read = tokens.write_port(), tokens.read_port()
        m.d.comb += [read.addr.eq(self.token_row), self.token.eq(read.data)]

        pos = Signal(32)  # of the next row
        left = Signal(32)  # prompt tokens not yet fed
        prompt = Signal(32)  # their address
        count = Signal(range(max(cfg.max_rows, cfg.max_pages) + 1))
        rows = Signal(range(cfg.max_rows + 1))
        most = Signal(range(cfg.max_rows + 1))
        token = Signal(32)
        written = Signal(32)
        end = Signal(33)
        m.d.comb += [
            most.eq(
                Mux(
                    (self.max_prefill == 0) | (self.max_prefill > cfg.max_rows),
                    cfg.max_rows,
                    self.max_prefill,
                )
            ),
            self.busy.eq(1),
            self.first_pos.eq(pos),
            self.rows.eq(rows),
            self.emit.eq(left == 0),
            self.ring_head.eq(written),
            self.ring_token.eq(token),
            self.ring_pos.eq(pos),
            self.ring_addr.eq(
                self.ring_addr_base
                + ((written & (self.ring_len - 1)) << exact_log2(RING_ENTRY_BYTES))
            ),
            self.page_index.eq(count),
            self.page.eq(self.i_word.payload),
            self.eos.eq(token == self.eos_token),
        ]

        def trap(cause, addr):
            m.d.comb += [
                self.error.eq(1),
                self.error_cause.eq(ERRORS[cause]),
                self.error_addr.eq(addr),
            ]
            m.next = "IDLE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += [
                    pos.eq(self.start_pos),
                    left.eq(self.prompt_len),
                    prompt.eq(self.prompt_addr),
                    count.eq(0),
                ]
                with m.If(self.start):
                    m.d.sync += written.eq(0)
                    m.next = "CHECK"
            with m.State("CHECK"):
                ring_is_power = (self.ring_len & (self.ring_len - 1)) == 0
                m.d.sync += end.eq(pos + left)
                m.next = "CHECK_END"
                with m.If((left == 0) | (self.max_tokens == 0)):
                    trap("bad_request", 0)
                with m.Elif((self.ring_len == 0) | ~ring_is_power):
                    trap("bad_request", self.ring_len)
                with m.Elif((self.page_count == 0) | (self.page_count > cfg.max_pages)):
                    trap("bad_request", self.page_count)
            with m.State("CHECK_END"):
                m.next = "PAGES"
                with m.If(end > cfg.max_context):
                    trap("too_long", end)
            with m.State("PAGES"):
                m.d.comb += [
                    self.o_fetch.valid.eq(1),
                    self.o_fetch.p.addr.eq(self.page_table_addr),
                    self.o_fetch.p.words.eq(self.page_count),
                ]
                with m.If(self.o_fetch.ready):
                    m.next = "TAKE_PAGES"
            with m.State("TAKE_PAGES"):
                m.d.comb += [self.i_word.ready.eq(1), self.page_en.eq(self.i_word.valid)]
                with m.If(self.i_word.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == self.page_count - 1):
                        m.d.sync += count.eq(0)
                        m.next = "PLAN"
                    outside = (self.page < self.kv_base) | (self.page >= self.kv_limit)
                    with m.If(outside | (self.page & (cfg.align_bytes - 1)).any()):
                        trap("bad_page", self.page)
            with m.State("PLAN"):
                m.d.sync += [
                    rows.eq(Mux(left > most, most, left)),
                    end.eq(pos + Mux(left > most, most, left)),
                ]
                m.next = "PROMPT"
            with m.State("PROMPT"):
                m.d.comb += [
                    self.o_fetch.p.addr.eq(prompt),
                    self.o_fetch.p.words.eq(rows),
                ]
                with m.If(end > self.page_count * cfg.page_len):
                    trap("page_miss", end - 1)
                with m.Else():
                    m.d.comb += self.o_fetch.valid.eq(1)
                    with m.If(self.o_fetch.ready):
                        m.next = "TAKE_PROMPT"
            with m.State("TAKE_PROMPT"):
                m.d.comb += [
                    self.i_word.ready.eq(1),
                    write.en.eq(self.i_word.valid),
                    write.addr.eq(count),
                    write.data.eq(self.i_word.payload),
                ]
                with m.If(self.i_word.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == rows - 1):
                        m.d.sync += [
                            count.eq(0),
                            left.eq(left - rows),
                            prompt.eq(prompt + (rows << 2)),
                        ]
                        m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += self.pass_start.eq(1)
                m.next = "PASS"
            with m.State("PASS"):
                with m.If(self.pass_done):
                    m.d.sync += pos.eq(pos + rows)
                    with m.If(self.emit):
                        m.d.sync += token.eq(self.next_token)
                        m.next = "REPORT"
                    with m.Else():
                        m.next = "PLAN"
            with m.State("REPORT"):
                m.d.comb += self.ring_start.eq(1)
                m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(~self.ring_busy & ~self.writes_pending):
                    m.d.comb += self.token_event.eq(1)
                    m.d.sync += written.eq(written + 1)
                    m.next = "DECIDE"
            with m.State("DECIDE"):
                m.d.sync += rows.eq(1)
                m.d.comb += [
                    write.en.eq(1),
                    write.addr.eq(0),
                    write.data.eq(token),
                ]
                m.next = "BEGIN"
                with m.If(self.eos | (written == self.max_tokens)):
                    m.d.comb += self.finished.eq(1)
                    m.next = "IDLE"
                with m.Elif(pos >= cfg.max_context):
                    trap("too_long", pos)
                with m.Elif(pos >= self.page_count * cfg.page_len):
                    trap("page_miss", pos)
        return m
