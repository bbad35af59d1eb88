"""Tells the weight streamer where the keys and values of an attention pass lie."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .jobs import segment_layout
from .operator_word import operator_layout
from .spec.formats import BLOCK_LEN
from .visible_span import VisibleSpan
from .weight_streamer import descriptor_layout

__all__ = ["KvReader"]


class KvReader(wiring.Component):
    """Offer one descriptor after the other, in the order in which `Attention` takes the words.

    For each KV head: the exponents of V, block by block; then for each chunk of query heads K, and
    V block by block and substrip by substrip. Each runs over the pages of the sequence and stops
    at the last block of 32 positions in use; K and V begin at the first block that a row sees.

    Parameters
    ----------
    config : ArchConfig
    tile : int
        It reads every ``config.tiles``-th KV head, from this one on; they lie one after the other
        in the tile's channel.

    Members
    -------
    start : In(1)
        Begin. ``word`` and ``segments`` must hold while ``busy``. Without a head for this tile
        there is nothing to begin.
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
    A descriptor every three cycles, the first on offer eight cycles after ``start``; so much later
    comes a segment's after the last of the one before.
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
        m.submodules.span = span = VisibleSpan(cfg)
        word = self.word
        index = Signal(range(cfg.max_seqs + 1))
        segment = Signal(segment_layout(cfg))
        chunks = Mux(span.together, 1, word.group)
        head = Signal(8)
        head_offset = Signal(32)
        chunk = Signal(8)
        block = Signal(4)
        sub = Signal(range(max(2, cfg.subs)))
        page = Signal(range(cfg.max_pages + 1))
        left = Signal.like(span.pos_blocks)  # blocks of positions from this page on
        skip = Signal(range(page_blocks))  # blocks of this page before the first one visited
        within = Signal(32)  # offset in the head's part of a page
        skipped = Signal(32)  # bytes
        place = Signal(32)
        addr = Signal(32)
        room = Signal(range(page_blocks + 1))
        here = Signal(range(page_blocks + 1))  # blocks of positions in this page
        step = Signal(32)

        m.d.comb += [
            self.busy.eq(1),
            self.segment_index.eq(index),
            span.first_pos.eq(segment.first_pos),
            span.rows.eq(segment.rows),
            span.window.eq(word.window),
            span.group.eq(word.group),
            self.page_slot.eq(segment.slot),
            self.page_index.eq(page),
            room.eq(page_blocks - skip),
            here.eq(Mux(left > room, room, left)),
            step.eq(cfg.page_len * word.head_blocks),
            self.o_descriptor.p.addr.eq(addr),
        ]
        words_of_values = here << exact_log2(BLOCK_LEN)
        words_of_exponents = here << exact_log2(BLOCK_LEN // cfg.cols)

        kind = Signal(2)  # 0: exponents of V, 1: K, 2: V
        last_page = left == here
        last_block = block == word.head_blocks - 1
        with m.Switch(kind):
            with m.Case(0):
                m.d.comb += self.o_descriptor.p.words.eq(words_of_exponents)
            with m.Case(1):
                m.d.comb += self.o_descriptor.p.words.eq(
                    words_of_exponents * word.head_blocks * (BLOCK_LEN + 1)
                )
                m.d.comb += skipped.eq(skip * word.head_blocks * (BLOCK_LEN * (BLOCK_LEN + 1)))
            with m.Default():
                m.d.comb += self.o_descriptor.p.words.eq(words_of_values)
                m.d.comb += skipped.eq(skip * (BLOCK_LEN * cfg.cols))

        def begin_at(block):
            return [
                page.eq(block >> exact_log2(page_blocks)),
                skip.eq(block[: exact_log2(page_blocks)]),
                left.eq(span.pos_blocks - block),
            ]

        start_of_sequence = Const(0, span.first_block.shape())

        with m.FSM():
            with m.State("IDLE"):
                begins = self.start & (word.kv_heads > self.tile)
                m.d.comb += self.busy.eq(begins)
                m.d.sync += index.eq(0)
                with m.If(begins):
                    m.next = "SEGMENT"
            with m.State("SEGMENT"):
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.sync += segment.eq(self.segment)
                m.next = "SPAN"
            with m.State("SPAN"):
                m.next = "EXTENT"
            with m.State("EXTENT"):
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [
                    head.eq(self.tile),
                    head_offset.eq(word.kv_offset),
                    chunk.eq(0),
                    block.eq(0),
                    sub.eq(0),
                    kind.eq(0),
                    *begin_at(start_of_sequence),
                    within.eq(step * (BLOCK_LEN + 1)),
                ]
                m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.d.sync += place.eq(head_offset + within + skipped)
                m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += addr.eq(self.page + place)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_descriptor.valid.eq(1)
                with m.If(self.o_descriptor.ready):
                    m.next = "LOOK_UP"
                    m.d.sync += [page.eq(page + 1), skip.eq(0), left.eq(left - here)]
                    with m.If(last_page):
                        m.d.sync += begin_at(span.first_block)
                        with m.Switch(kind):
                            with m.Case(0):
                                m.d.sync += [block.eq(block + 1), within.eq(within + cfg.page_len)]
                                with m.If(last_block):
                                    m.d.sync += [block.eq(0), kind.eq(1), within.eq(0)]
                                with m.Else():
                                    m.d.sync += begin_at(start_of_sequence)
                            with m.Case(1):
                                m.d.sync += [kind.eq(2), within.eq(step * (BLOCK_LEN + 2))]
                            with m.Default():
                                m.d.sync += [
                                    sub.eq(sub + 1),
                                    within.eq(within + cfg.page_len * cfg.cols),
                                ]
                                with m.If(sub == cfg.subs - 1):
                                    m.d.sync += [sub.eq(0), block.eq(block + 1)]
                                    with m.If(last_block):
                                        m.d.sync += [
                                            block.eq(0),
                                            kind.eq(1),
                                            within.eq(0),
                                            chunk.eq(chunk + 1),
                                        ]
                                        with m.If(chunk == chunks - 1):
                                            m.d.sync += [
                                                chunk.eq(0),
                                                kind.eq(0),
                                                *begin_at(start_of_sequence),
                                                within.eq(step * (BLOCK_LEN + 1)),
                                                head.eq(head + cfg.tiles),
                                                head_offset.eq(head_offset + word.head_stride),
                                            ]
                                            with m.If(head + cfg.tiles >= word.kv_heads):
                                                m.d.sync += index.eq(index + 1)
                                                m.next = "SEGMENT"
                                                with m.If(index == self.segments - 1):
                                                    m.next = "IDLE"
        return m
