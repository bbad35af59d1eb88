"""Tells the weight streamer where the keys and values of an attention pass lie."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .attention_order import AttentionOrder, Phase, step_layout
from .jobs import segment_layout
from .operator_word import operator_layout
from .spec.formats import BLOCK_LEN
from .weight_streamer import descriptor_layout

__all__ = ["KvReader"]


class KvReader(wiring.Component):
    """Offer one descriptor after the other, in the order in which `Attention` takes the words.

    The steps are those of `AttentionOrder`: exponents of V, block by block; K; V, block by block
    and substrip by substrip. Each runs over the pages of the sequence and stops at the last block
    of 32 positions in use; K and V begin at the first block that a row sees.

    Parameters
    ----------
    config : ArchConfig
    tile : int
        See `AttentionOrder`.

    Members
    -------
    start : In(1)
        Begin. ``word`` and ``segments`` must hold while ``busy``.
    word : In(operator_layout("attention"))
    segments : In
        Segments of the pass, from 1.
    segment_index, segment : Out, In(segment_layout)
        Rows of a sequence, one cycle after its number.
    page_slot, page_index, page : Out, Out, In(32)
        Page table: address of a page, one cycle after slot and number.
    o_descriptor : Out(stream of descriptor_layout)
        To the weight streamer.
    busy : Out(1)
        Descriptors are yet to come; high with ``start`` already.

    Timing
    ------
    A descriptor every three cycles, and four from one step to the next. The first is on offer
    ten cycles after ``start``; before a new segment there may be eight.
    """

    def __init__(self, config, *, tile=0):
        self.config = config
        self.tile = tile
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("attention")),
            "segments": In(range(config.max_seqs + 1)),
            "segment_index": Out(range(config.max_seqs)),
            "segment": In(segment_layout(config)),
            "page_slot": Out(range(config.max_seqs)),
            "page_index": Out(range(max(2, config.max_pages))),
            "page": In(32),
            "o_descriptor": Out(stream.Signature(descriptor_layout())),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        page_blocks = cfg.page_len // BLOCK_LEN
        word = self.word
        m.submodules.order = order = AttentionOrder(cfg, tile=self.tile)
        step = Signal(step_layout(cfg))
        block = Signal(4)
        sub = Signal(range(max(2, cfg.subs)))
        page = Signal(range(cfg.max_pages + 1))
        left = Signal.like(step.item.pos_blocks)  # blocks of positions from this page on
        skip = Signal(range(page_blocks))  # blocks of this page before the first one visited
        within = Signal(32)  # offset in the head's part of a page
        base, skipped = Signal(32), Signal(32)  # to the blocks visited, and past those before
        page_addr, place = Signal(32), Signal(32)
        words = Signal.like(self.o_descriptor.p.words)
        room = Signal(range(page_blocks + 1))
        here = Signal(range(page_blocks + 1))  # blocks of positions in this page
        last_page = Signal()
        # Exponents and elements of a position's K, and those with the exponents of its V.
        key_bytes, begin_of_values = Signal(10), Signal(10)
        offered = Signal()
        out = Signal(self.o_descriptor.payload.shape())

        blocks = word.head_blocks << exact_log2(BLOCK_LEN)
        m.d.sync += [
            key_bytes.eq(blocks + word.head_blocks),
            begin_of_values.eq(blocks + (word.head_blocks << 1)),
        ]
        m.d.comb += [
            order.start.eq(self.start),
            order.word.eq(word),
            order.segments.eq(self.segments),
            self.segment_index.eq(order.segment_index),
            order.segment.eq(self.segment),
            self.busy.eq(1),
            self.page_slot.eq(step.item.segment.slot),
            self.page_index.eq(page),
            room.eq(page_blocks - skip),
            self.o_descriptor.valid.eq(offered),
            self.o_descriptor.payload.eq(out),
        ]
        words_of_values = here << exact_log2(BLOCK_LEN)
        words_of_exponents = here << exact_log2(BLOCK_LEN // cfg.cols)
        last_block = block == word.head_blocks - 1

        def begin(step):
            """Go to the first page; exponents begin with the sequence."""
            first = Mux(step.phase == Phase.EXPONENTS, 0, step.item.first_block)
            first = first[: len(step.item.first_block)]
            return [
                page.eq(first >> exact_log2(page_blocks)),
                skip.eq(first[: exact_log2(page_blocks)]),
                left.eq(step.item.pos_blocks - first),
            ]

        with m.If(self.o_descriptor.ready):
            m.d.sync += offered.eq(0)
        with m.FSM():
            with m.State("STEP"):
                m.d.comb += [self.busy.eq(order.busy | offered), order.o_step.ready.eq(1)]
                m.d.sync += [
                    step.eq(order.o_step.p),
                    block.eq(0),
                    sub.eq(0),
                    *begin(order.o_step.p),
                ]
                with m.Switch(order.o_step.p.phase):
                    with m.Case(Phase.EXPONENTS):
                        m.d.sync += within.eq(key_bytes * cfg.page_len)
                    with m.Case(Phase.KEYS):
                        m.d.sync += within.eq(0)
                    with m.Default():
                        m.d.sync += within.eq(begin_of_values * cfg.page_len)
                with m.If(order.o_step.valid):
                    m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.d.sync += [
                    base.eq(step.item.head_offset + within),
                    here.eq(Mux(left > room, room, left)),
                    last_page.eq(left <= room),
                ]
                with m.Switch(step.phase):
                    with m.Case(Phase.EXPONENTS):
                        m.d.sync += skipped.eq(0)
                    with m.Case(Phase.KEYS):
                        m.d.sync += skipped.eq((skip * key_bytes) << exact_log2(BLOCK_LEN))
                    with m.Default():
                        m.d.sync += skipped.eq(skip * (BLOCK_LEN * cfg.cols))
                m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += [page_addr.eq(self.page), place.eq(base + skipped)]
                with m.Switch(step.phase):
                    with m.Case(Phase.EXPONENTS):
                        m.d.sync += words.eq(words_of_exponents)
                    with m.Case(Phase.KEYS):
                        m.d.sync += words.eq(words_of_exponents * key_bytes)
                    with m.Default():
                        m.d.sync += words.eq(words_of_values)
                m.next = "OFFER"
            with m.State("OFFER"):
                with m.If(~offered):
                    m.d.sync += [
                        offered.eq(1),
                        out.addr.eq(page_addr + place),
                        out.words.eq(words),
                    ]
                    m.next = "LOOK_UP"
                    m.d.sync += [page.eq(page + 1), skip.eq(0), left.eq(left - here)]
                    with m.If(last_page):
                        m.d.sync += begin(step)
                        with m.Switch(step.phase):
                            with m.Case(Phase.EXPONENTS):
                                m.d.sync += [block.eq(block + 1), within.eq(within + cfg.page_len)]
                                with m.If(last_block):
                                    m.next = "STEP"
                            with m.Case(Phase.KEYS):
                                m.next = "STEP"
                            with m.Default():
                                m.d.sync += [
                                    sub.eq(sub + 1),
                                    within.eq(within + cfg.page_len * cfg.cols),
                                ]
                                with m.If(sub == cfg.subs - 1):
                                    m.d.sync += [sub.eq(0), block.eq(block + 1)]
                                    with m.If(last_block):
                                        m.next = "STEP"
        return m
