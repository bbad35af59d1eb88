"""The spans of attention: every position that a row sees is visited, and no row sees another."""

from amaranth.hdl import Signal

from hw.spec.formats import BLOCK_LEN
from hw.spec.presets import preset
from hw.visible_span import VisibleSpan
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property

_CONFIG = preset("tiny")
_FILE = "hw/visible_span.py"

#: Cycles after which outputs count, the inputs held.
_CYCLES = 3


def span():
    """Of any segment, window and group: any one row, and any one position that it may see."""
    b = Bench()
    m = b.m
    inputs = ("first_pos", "rows", "window", "group")
    dut = b.drive(VisibleSpan(_CONFIG), hold=inputs)
    row = b.constant(range(_CONFIG.max_context), "row_pos")
    seen_pos = b.constant(range(_CONFIG.max_context), "seen_pos")
    b.assume((dut.rows > 0) & (dut.rows <= _CONFIG.max_rows), "rows_are_in_range")
    b.assume(dut.first_pos + dut.rows <= _CONFIG.max_context, "the_segment_fits_the_context")
    b.assume((row >= dut.first_pos) & (row < dut.first_pos + dut.rows), "the_row_is_of_the_segment")
    age = Signal(range(_CONFIG.max_context))
    m.d.comb += age.eq(row - seen_pos)
    unlimited = dut.window == 0
    sees = (seen_pos <= row) & (unlimited | (age < dut.window))
    counts = b.past(1, "held", _CYCLES)
    block = seen_pos // BLOCK_LEN
    granule = max(BLOCK_LEN, _CONFIG.align_bytes)
    first_pos = dut.first_block * BLOCK_LEN
    b.always(
        ~counts | (seen_pos > row) | (sees == (age < dut.seen)), "a_row_sees_its_window_and_no_more"
    )
    visited = (block >= dut.first_block) & (block < dut.pos_blocks)
    b.always(~(counts & sees) | visited, "what_a_row_sees_is_visited")
    # The first row sees nothing before its window.
    needless = (first_pos + granule + dut.window <= dut.first_pos + 1) & ~unlimited
    b.always(~(counts & needless), "nothing_else_is_visited_but_for_alignment")
    b.always(
        ~counts
        | (dut.visited_blocks == dut.pos_blocks - dut.first_block)
        & (dut.visited_pos == dut.first_pos - first_pos),
        "counted_from_the_first_that_is_visited",
    )
    b.always(
        ~counts | (dut.together == (dut.group * dut.rows <= _CONFIG.max_rows)),
        "heads_together_where_their_rows_fit",
    )
    b.cover(counts & ~sees & (seen_pos < row) & (dut.first_block != 0), "a_position_out_of_sight")
    b.cover(counts & sees & (age == dut.window - 1) & (age > BLOCK_LEN), "the_window_ends_here")
    return b


PROPERTIES = [
    Property(
        name="visible_span.span",
        says="for every segment and window: a row sees its window and nothing else, all of it is "
        "visited, and nothing before but for alignment",
        bench=span,
        depth=_CYCLES + 2,
        induction=False,
        cover=_CYCLES + 2,
        bugs=(
            Bug(what="the window begins a position early", file=_FILE,
                old="reach.eq(self.window - 1)", new="reach.eq(self.window)"),
            Bug(what="the last block is left out", file=_FILE,
                old="(self.first_pos + self.rows + BLOCK_LEN - 1) >> block_bits",
                new="(self.first_pos + self.rows) >> block_bits"),
        ),
    ),
]  # fmt: skip
