"""Takes requests in: reads one from memory, checks it, and claims its pages."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .fetcher import fetch_layout
from .lib.collision import UNDEFINED
from .page_owners import PageOwners
from .spec.csr import ERRORS
from .spec.requests import CANDIDATE_BYTES, REQUEST
from .spec.sampling import TEMPERATURE_SHIFT_WIDTH

__all__ = ["REQUEST_WORDS", "Admission", "request_layout"]

_REFUSALS = 13  # ways in which a request can be refused

#: 32-bit words of a request that hold something.
REQUEST_WORDS = sum(width for _, width in REQUEST) // 32


def request_layout():
    """Return the layout of a request as `hw.spec.requests` packs it."""
    return data.StructLayout(dict(REQUEST))


class Admission(wiring.Component):
    """Bring a request into a slot, or say why not; and give its pages back.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    clear : In(1)
        Forget who uses which page.
    admit : In(1)
        Take the request at ``addr`` into ``slot``.
    release : In(1)
        Give back the pages of ``slot``. ``slot`` must hold while ``busy``, as must ``addr``.
    addr, slot : In
    kv_base, page_bytes, kv_pages, context : In(32)
        Registers: first byte of the KV region, bytes of a page, pages of the region; positions of a
        sequence.
    host_base, host_limit : In(32)
        Registers: where prompts, page tables and candidates must lie.
    o_fetch, i_word : to `Fetcher`.
    table_en, table_slot, table_index, table_page : Out
        Write the page table: address of a page.
    request : Out(request_layout())
        The request last taken, with ``busy`` low after ``admit``.
    refused, cause, detail : Out
        It is not admitted, and why; no page is claimed.
    busy : Out(1)
        From the cycle after a strobe.

    Timing
    ------
    A page is claimed in three cycles more than `PageOwners.CYCLES`. Giving back takes three more
    for each page, and two at the end.
    """

    #: Registers that this unit looks at.
    REGISTERS = ("kv_base", "page_bytes", "kv_pages", "context", "host_base", "host_limit")

    def __init__(self, config):
        self.config = config
        slot = range(config.max_seqs)
        super().__init__({
            "clear": In(1),
            "admit": In(1),
            "release": In(1),
            "addr": In(32),
            "slot": In(slot),
            **{name: In(32) for name in self.REGISTERS},
            "o_fetch": Out(stream.Signature(fetch_layout())),
            "i_word": In(stream.Signature(32)),
            "table_en": Out(1),
            "table_slot": Out(slot),
            "table_index": Out(range(max(2, config.max_pages))),
            "table_page": Out(32),
            "request": Out(request_layout()),
            "refused": Out(1),
            "cause": Out(4),
            "detail": Out(32),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.owners = owners = PageOwners(cfg)
        index_bits = max(1, (cfg.max_pages - 1).bit_length())
        # Page numbers of each slot: those that are claimed, to give them back.
        m.submodules.numbers = numbers = memory.Memory(
            shape=32, depth=cfg.max_seqs << index_bits, init=[], attrs=UNDEFINED
        )
        write, read = numbers.write_port(), numbers.read_port()
        pages = range(cfg.max_pages + 1)
        claimed = Signal(data.ArrayLayout(pages, cfg.max_seqs))
        shared = Signal(data.ArrayLayout(pages, cfg.max_seqs))
        count = Signal(pages)
        words = Signal(32 * REQUEST_WORDS)
        word = Signal(range(REQUEST_WORDS))
        number = Signal(32)
        page = Signal(32)
        parts = [Signal(32, name=f"page_part_{n}") for n in range(2)]
        end = Signal(33)
        # Of the slot, as they were a cycle ago.
        slot_claimed, slot_shared, is_shared = Signal(pages), Signal(pages), Signal()
        request = self.request
        page_bits = exact_log2(cfg.page_len)
        m.d.comb += [
            request.as_value().eq(words),
            self.busy.eq(1),
            self.table_slot.eq(self.slot),
            self.table_index.eq(count),
            self.table_page.eq(page),
            owners.page.eq(number),
            owners.shared.eq(is_shared),
            write.addr.eq(Cat(count[:index_bits], self.slot)),
            write.data.eq(self.i_word.payload),
            read.addr.eq(write.addr),
        ]

        m.d.sync += [
            slot_claimed.eq(claimed[self.slot]),
            slot_shared.eq(shared[self.slot]),
            is_shared.eq(count < slot_shared),
        ]

        # Address of the page, two cycles after its number.
        known = number[: len(owners.page)]
        m.d.sync += [
            parts[0].eq(known * self.page_bytes[:16]),
            parts[1].eq(known * self.page_bytes[16:]),
            page.eq(self.kv_base + parts[0] + (parts[1] << 16)),
        ]

        def outside_host(name, addr, count, entry_bytes=4):
            """Return whether a list is outside, two cycles after the request is complete."""
            offset_bits = exact_log2(entry_bytes)
            end = Signal(33 + offset_bits, name=f"{name}_end")
            outside = Signal(name=f"{name}_outside")
            misplaced = addr[:offset_bits].any()
            m.d.sync += [
                end.eq(addr + (count << offset_bits)),
                outside.eq(misplaced | (addr < self.host_base) | (end > self.host_limit)),
            ]
            return outside

        prompt_outside = outside_host("prompt", request.prompt_addr, request.prompt_len)
        table_outside = outside_host("table", request.page_table_addr, request.page_count)
        candidates_outside = outside_host(
            "candidates", request.candidates_addr, request.report_count, CANDIDATE_BYTES
        )

        def found(name, condition):
            """Return a condition as it was a cycle ago."""
            register = Signal(name=name)
            m.d.sync += register.eq(condition)
            return register

        empty = found("empty", (request.prompt_len == 0) | (request.max_tokens == 0))
        bad_count = found(
            "bad_count", (request.page_count == 0) | (request.page_count > cfg.max_pages)
        )
        # What is only read would be written.
        bad_shared = found("bad_shared", (request.shared_pages << page_bits) > request.start_pos)
        too_long = found("too_long", (end > cfg.max_context) | (end > self.context))
        too_few = found("too_few", end > request.page_count << page_bits)
        bad_top_k = found("bad_top_k", (request.top_k == 0) | (request.top_k > cfg.list_len))
        bad_report = found("bad_report", request.report_count > cfg.list_len)
        bad_shift = found("bad_shift", request.shift >> TEMPERATURE_SHIFT_WIDTH != 0)
        no_page = found("no_page", (number >= self.kv_pages) | (number >= cfg.kv_pages))
        reports = found("reports", request.report_count != 0)

        # Why a request is refused is one of several things, told in a cycle of its own.
        refusals = []
        refusal = Signal(range(_REFUSALS))

        def refuse(cause, detail, then="IDLE"):
            m.d.sync += refusal.eq(len(refusals))
            refusals.append((cause, detail, then))
            m.next = "REFUSE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), owners.clear.eq(self.clear)]
                m.d.sync += [count.eq(0), word.eq(0)]
                with m.If(self.clear):
                    m.next = "CLEAR"
                with m.Elif(self.admit):
                    m.d.sync += [self.refused.eq(0), claimed[self.slot].eq(0)]
                    m.next = "ASK"
                with m.Elif(self.release):
                    m.next = "RELEASE"
            with m.State("CLEAR"):
                with m.If(~owners.busy):
                    m.next = "IDLE"

            # The request.
            with m.State("ASK"):
                m.d.comb += [
                    self.o_fetch.valid.eq(1),
                    self.o_fetch.p.addr.eq(self.addr),
                    self.o_fetch.p.words.eq(REQUEST_WORDS),
                ]
                with m.If(self.o_fetch.ready):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.i_word.ready.eq(1)
                with m.If(self.i_word.valid):
                    m.d.sync += [words.eq(Cat(words[32:], self.i_word.payload)), word.eq(word + 1)]
                    with m.If(word == REQUEST_WORDS - 1):
                        m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += [
                    end.eq(request.start_pos + request.prompt_len),
                    shared[self.slot].eq(request.shared_pages),
                ]
                m.next = "CHECK"
            with m.State("CHECK"):
                m.next = "CHECK_END"
                with m.If(empty):
                    refuse("bad_request", 0)
                with m.Elif(bad_count):
                    refuse("bad_request", request.page_count)
                with m.Elif(bad_shared):
                    refuse("bad_request", request.shared_pages)
            with m.State("CHECK_END"):
                m.next = "CHECK_PLACES"
                with m.If(too_long):
                    refuse("too_long", end[:32])
                with m.Elif(too_few):
                    refuse("page_miss", end[:32] - 1)
            with m.State("CHECK_PLACES"):
                # Elsewhere the memory controller would stop the chip.
                m.next = "CHECK_SAMPLING"
                with m.If(prompt_outside):
                    refuse("bad_request", request.prompt_addr)
                with m.Elif(table_outside):
                    refuse("bad_request", request.page_table_addr)
            with m.State("CHECK_SAMPLING"):
                m.next = "ASK_TABLE"
                with m.If(bad_top_k):
                    refuse("bad_request", request.top_k)
                with m.Elif(bad_report):
                    refuse("bad_request", request.report_count)
                with m.Elif(bad_shift):
                    refuse("bad_request", request.shift)
                with m.Elif(reports & candidates_outside):
                    refuse("bad_request", request.candidates_addr)

            # Its page table.
            with m.State("ASK_TABLE"):
                m.d.comb += [
                    self.o_fetch.valid.eq(1),
                    self.o_fetch.p.addr.eq(request.page_table_addr),
                    self.o_fetch.p.words.eq(request.page_count),
                ]
                with m.If(self.o_fetch.ready):
                    m.next = "TAKE_TABLE"
            with m.State("TAKE_TABLE"):
                m.d.comb += [self.i_word.ready.eq(1), write.en.eq(self.i_word.valid)]
                with m.If(self.i_word.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == request.page_count - 1):
                        m.d.sync += count.eq(0)
                        m.next = "LOOK_UP"

            # A page after the other.
            with m.State("LOOK_UP"):
                m.next = "NUMBER"
            with m.State("NUMBER"):
                m.d.sync += number.eq(read.data)
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "CLAIM"
            with m.State("CLAIM"):
                with m.If(no_page):
                    refuse("bad_page", number, then="RELEASE")
                with m.Else():
                    m.d.comb += owners.claim.eq(1)
                    m.next = "CLAIMING"
            with m.State("CLAIMING"):
                m.next = "CLAIMED"
            with m.State("CLAIMED"):
                with m.If(owners.refused):
                    refuse("bad_page", number, then="RELEASE")
                with m.Else():
                    m.d.comb += self.table_en.eq(1)
                    m.d.sync += [count.eq(count + 1), claimed[self.slot].eq(count + 1)]
                    m.next = "LOOK_UP"
                    with m.If(count == request.page_count - 1):
                        m.next = "IDLE"

            with m.State("REFUSE"):
                m.d.sync += self.refused.eq(1)
                with m.Switch(refusal):
                    for way, (cause, detail, then) in enumerate(refusals):
                        with m.Case(way):
                            m.d.sync += [self.cause.eq(ERRORS[cause]), self.detail.eq(detail)]
                            m.next = then

            # And back.
            with m.State("RELEASE"):
                m.d.sync += [
                    count.eq(slot_claimed - 1),
                    claimed[self.slot].eq(slot_claimed - 1),
                ]
                m.next = "RELEASE_LOOK_UP"
                with m.If(slot_claimed == 0):
                    m.d.sync += claimed[self.slot].eq(0)
                    m.next = "IDLE"
            with m.State("RELEASE_LOOK_UP"):
                m.next = "RELEASE_NUMBER"
            with m.State("RELEASE_NUMBER"):
                m.d.sync += number.eq(read.data)
                m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += owners.release.eq(1)
                m.next = "GIVEN"
            with m.State("GIVEN"):
                m.next = "RELEASE"
        assert len(refusals) == _REFUSALS
        return m
