"""Opens the rows that segments need, ahead of the columns."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.board.sdram_pins import BANKS, Cooldown, column_layout, row_layout, segment_layout
from hw.lib.axi import RESP_OKAY

__all__ = ["SdramRows"]


class SdramRows(wiring.Component):
    """Pass segments on in order, each after its row was opened.

    A row stays open until another row of its bank is needed, or until a refresh. Segments that were
    passed on and are not finished keep their rows; the next segment's bank is closed and opened
    behind them.

    Parameters
    ----------
    timing : SdramTiming
        Times of the chip.
    beat_words : int
        Words of a column command.
    id_width : int
        Width of an ID.
    depth : int
        Segments that may be passed on and not finished.

    Members
    -------
    i_segment : In(stream.Signature(segment_layout(...)))
        Segments.
    o_segment : Out(stream.Signature(segment_layout(...)))
        The same.
    column : In(column_layout(...))
        The column command of this cycle; it goes before row commands.
    row : Out(row_layout())
        The row command of this cycle.
    column_allowed : Out(4)
        For each bank: its row is open for columns.
    hold : In(1)
        Take no segment.
    quiet : Out(1)
        While ``hold``: nothing is inside, and every bank may be closed.
    closed : In(1)
        All banks are closed in this cycle.
    busy : Out(1)
        Segments are inside, or passed on and not finished.

    Timing
    ------
    `HIT_CYCLES` for a segment whose row is open. ACTIVE comes no sooner than ``HIT_CYCLES + 1``
    cycles after another, which is longer than tRRD.

    Raises
    ------
    ValueError
        tRRD of the chip at its clock is longer than that.
    """

    #: Cycles from one segment to the next while rows are open.
    HIT_CYCLES = 4

    def __init__(self, *, timing, beat_words, id_width, depth):
        if timing.rrd > self.HIT_CYCLES:
            raise ValueError(
                f"timing.rrd must be {self.HIT_CYCLES} cycles at most, not {timing.rrd!r}"
            )
        self.timing = timing
        self.beat_words = beat_words
        self.depth = depth
        segment = segment_layout(beat_words, id_width)
        super().__init__({
            "i_segment": In(stream.Signature(segment)),
            "o_segment": Out(stream.Signature(segment)),
            "column": In(column_layout(beat_words, id_width)),
            "row": Out(row_layout()),
            "column_allowed": Out(BANKS),
            "hold": In(1),
            "quiet": Out(1),
            "closed": In(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        times = self.timing
        segment = Signal(self.i_segment.payload.shape(), reset_less=True)
        bank = segment.bank

        # Of each bank: its row, and what is forbidden for how long.
        is_open = Signal(BANKS)
        rows = Array(
            Signal.like(segment.row, name=f"row_{b}", reset_less=True) for b in range(BANKS)
        )
        users = [Signal(range(self.depth + 1), name=f"users_{b}") for b in range(BANKS)]
        longest = max(times.ras, self.beat_words - 1 + times.wr)
        opening = [Cooldown(m, times.rcd, f"opening_{b}") for b in range(BANKS)]
        active = [Cooldown(m, longest, f"active_{b}") for b in range(BANKS)]
        closing = [Cooldown(m, max(times.rc, times.rp), f"closing_{b}") for b in range(BANKS)]

        def of_bank(values):
            return Array(values)[bank]

        used = Cat(count != 0 for count in users)
        may_close = Cat(c.over for c in active) & ~used
        may_open = Cat(c.over for c in closing)
        m.d.comb += [
            self.column_allowed.eq(Cat(c.over for c in opening)),
            self.row.bank.eq(bank),
            self.row.row.eq(segment.row),
            self.o_segment.payload.eq(segment),
        ]

        found = Signal.like(segment.row, reset_less=True)  # row that is open in the bank
        found_open = Signal()
        with m.FSM() as fsm:
            with m.State("TAKE"):
                m.d.comb += self.i_segment.ready.eq(~self.hold)
                m.d.sync += segment.eq(self.i_segment.payload)
                with m.If(self.i_segment.valid & ~self.hold):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.d.sync += [found.eq(rows[bank]), found_open.eq(of_bank(is_open))]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                with m.If((segment.resp != RESP_OKAY) | (found_open & (found == segment.row))):
                    m.next = "PASS"
                with m.Elif(found_open):
                    m.next = "CLOSE"
                with m.Else():
                    m.next = "OPEN"
            with m.State("CLOSE"):
                with m.If(of_bank(may_close) & ~self.column.valid):
                    m.d.comb += self.row.precharge.eq(1)
                    m.next = "OPEN"
            with m.State("OPEN"):
                with m.If(of_bank(may_open) & ~self.column.valid):
                    m.d.comb += self.row.activate.eq(1)
                    m.next = "PASS"
            with m.State("PASS"):
                m.d.comb += self.o_segment.valid.eq(1)
                with m.If(self.o_segment.ready):
                    m.next = "TAKE"

        passing = self.o_segment.valid & self.o_segment.ready
        for b in range(BANKS):
            here = bank == b
            column_here = self.column.valid & (self.column.bank == b)
            begins = passing & here
            ends = column_here & self.column.final
            m.d.sync += users[b].eq(users[b] + begins - ends)
            with m.If(column_here & self.column.write):
                active[b].start(self.beat_words - 1 + times.wr)
            with m.Elif(column_here):
                active[b].start(self.beat_words)
            with m.If(self.row.activate & here):
                m.d.sync += [is_open[b].eq(1), rows[b].eq(segment.row)]
                opening[b].start(times.rcd)
                active[b].start(times.ras)
                closing[b].start(times.rc)
            with m.If(self.row.precharge & here):
                m.d.sync += is_open[b].eq(0)
                closing[b].start(times.rp)
        with m.If(self.closed):
            m.d.sync += is_open.eq(0)

        waiting = Cat(c.left for c in (*active, *closing)).any()
        m.d.sync += [
            self.busy.eq(~fsm.ongoing("TAKE") | used.any()),
            self.quiet.eq(self.hold & fsm.ongoing("TAKE") & ~used.any() & ~waiting),
        ]

        return m
