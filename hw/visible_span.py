"""Which positions the rows of a sequence see."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .spec.formats import BLOCK_LEN

__all__ = ["VisibleSpan"]


class VisibleSpan(wiring.Component):
    """Find the blocks of 32 positions that an attention operator visits for a segment.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    first_pos, rows : In
        Position of the segment's first row; rows at the positions from there on.
    window, group : In
        Fields of the operator word.
    pos_blocks : Out
        Blocks of positions up to that of the last row.
    first_block : Out
        The first of them that is visited: that of the first position which a row sees, or before it
        where alignment asks for it.
    visited_blocks, visited_pos : Out
        Blocks that are visited; position of the first row, counted from the first of them.
    seen : Out
        Positions that a row sees at most, its own included.
    together : Out(1)
        All query heads of a KV head fit ``max_rows`` rows: they go through in one chunk. Otherwise
        a chunk is one query head.
    halved : Out(1)
        The rows of a chunk fit half of ``max_rows``.

    Timing
    ------
    Outputs count once the inputs have held for two cycles, ``window`` and ``group`` for three.
    """

    def __init__(self, config):
        self.config = config
        blocks = range(config.max_context // BLOCK_LEN + 1)
        super().__init__({
            "first_pos": In(range(config.max_context)),
            "rows": In(range(config.max_rows + 1)),
            "window": In(32),
            "group": In(8),
            "pos_blocks": Out(blocks),
            "first_block": Out(range(config.max_context // BLOCK_LEN)),
            "visited_blocks": Out(blocks),
            "visited_pos": Out(range(config.max_context)),
            "seen": Out(range(config.max_context + 1)),
            "together": Out(1),
            "halved": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        block_bits = exact_log2(BLOCK_LEN)
        span = max(BLOCK_LEN, cfg.align_bytes)
        # Of the operator: known long before the segments.
        unlimited = Signal()
        reach = Signal(self.first_pos.shape())  # positions seen before a row's own
        first_seen = Signal.like(self.first_pos)  # by the first row: the first of all that are seen
        unseen = Signal(signed(len(self.first_pos) + 1))
        end = Signal.like(self.pos_blocks)
        first = Signal.like(self.first_block)
        grouped = Signal(range(256 * cfg.max_rows))
        half = cfg.max_rows // 2
        m.d.comb += [
            unseen.eq(self.first_pos - reach),
            first.eq((first_seen >> exact_log2(span)) * (span // BLOCK_LEN)),
        ]
        m.d.sync += [
            unlimited.eq((self.window == 0) | (self.window > cfg.max_context)),
            reach.eq(self.window - 1),
            self.seen.eq(Mux(unlimited, cfg.max_context, reach + 1)),
            first_seen.eq(Mux(unlimited | (unseen < 0), 0, unseen)),
            end.eq((self.first_pos + self.rows + BLOCK_LEN - 1) >> block_bits),
            grouped.eq(self.group * self.rows),
            self.pos_blocks.eq(end),
            self.first_block.eq(first),
            self.visited_blocks.eq(end - first),
            self.visited_pos.eq(self.first_pos - (first << block_bits)),
            self.together.eq(grouped <= cfg.max_rows),
            self.halved.eq((grouped <= half) | ((grouped > cfg.max_rows) & (self.rows <= half))),
        ]
        return m
