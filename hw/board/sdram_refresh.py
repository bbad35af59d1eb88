"""Brings an SDR-SDRAM chip up, and refreshes it."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.board.sdram_pins import COMMANDS
from hw.board.sdram_timing import MAX_POSTPONED

__all__ = ["SdramRefresh"]

_SETTLE_CYCLES = 31  # longer than any command that a reset cut off still needs


class SdramRefresh(wiring.Component):
    """Issue what belongs to no segment: the power-up sequence, and refreshes.

    A refresh that is due waits for an idle moment. When `MAX_POSTPONED` less one are due, segments
    are held up and all are made, which costs less than one at a time.

    Parameters
    ----------
    timing : SdramTiming
        Times of the chip.

    Members
    -------
    idle : In(1)
        No segment is inside or on offer.
    hold : Out(1)
        No new segment may begin.
    quiet : In(1)
        While ``hold``, from a cycle after it rose: all banks may be closed.
    command : Out(3)
        The command of this cycle, of `COMMANDS`; a precharge is one of all banks.
    ready : Out(1)
        The chip was brought up.
    """

    def __init__(self, *, timing):
        self.timing = timing
        super().__init__({
            "idle": In(1),
            "hold": Out(1, init=1),
            "quiet": In(1),
            "command": Out(3),
            "ready": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        times = self.timing
        m.d.comb += self.command.eq(COMMANDS["nop"])

        # Below zero when the time is over.
        longest = max(times.power_up, times.rp, times.rfc, times.mrd)
        wait = Signal(range(-1, longest), init=times.power_up - 1)
        elapsed = wait < 0
        with m.If(~elapsed):
            m.d.sync += wait.eq(wait - 1)

        def issue(command, cycles):
            m.d.comb += self.command.eq(COMMANDS[command])
            m.d.sync += wait.eq(cycles - 2)

        interval = Signal(range(-1, times.refresh_interval), init=times.refresh_interval - 2)
        due = Signal(range(MAX_POSTPONED + 1))
        is_due = Signal()
        urgent = Signal()
        falls_due = interval < 0
        refreshes = Signal()
        m.d.sync += [
            interval.eq(interval - 1),
            due.eq(due + falls_due - refreshes),
            is_due.eq(due != 0),
            urgent.eq(due >= MAX_POSTPONED - 1),
        ]
        with m.If(falls_due):
            m.d.sync += interval.eq(times.refresh_interval - 2)

        was_ready = Signal(reset_less=True)
        settled = Signal()
        settling = Signal(_SETTLE_CYCLES, init=-1)
        m.d.sync += [
            settling.eq(settling >> 1),
            settled.eq(was_ready & ~settling[0]),
        ]
        with m.If(self.ready):
            m.d.sync += was_ready.eq(1)

        first = Signal(range(times.chip.init_refreshes + 1), init=times.chip.init_refreshes)
        with m.FSM():
            with m.State("POWER_UP"):
                with m.If(elapsed | settled):
                    issue("precharge", times.rp)
                    m.next = "REFRESH_FIRST"
            with m.State("REFRESH_FIRST"):
                with m.If(elapsed):
                    with m.If(first == 0):
                        issue("mode", times.mrd)
                        m.next = "FINISH"
                    with m.Else():
                        issue("refresh", times.rfc)
                        m.d.sync += first.eq(first - 1)
            with m.State("FINISH"):
                with m.If(elapsed):
                    m.d.sync += [self.hold.eq(0), self.ready.eq(1)]
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(urgent | (is_due & self.idle)):
                    m.d.sync += self.hold.eq(1)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(self.quiet):
                    issue("precharge", times.rp)
                    m.next = "REFRESH"
            with m.State("REFRESH"):
                with m.If(elapsed):
                    with m.If(due == 0):
                        m.d.sync += self.hold.eq(0)
                        m.next = "RUN"
                    with m.Else():
                        issue("refresh", times.rfc)
                        m.d.comb += refreshes.eq(1)
        with m.If(~self.ready):
            # What fell due during the power-up sequence was made by it.
            m.d.sync += due.eq(0)

        return m
