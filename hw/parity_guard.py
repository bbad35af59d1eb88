"""Looks after the parity of the memories: makes it right after power-on, and stops the chip."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .lib.parity_memory import ParityMemory

__all__ = ["ParityGuard"]

_RADIX = 8  # errors that a register gathers


class ParityGuard(wiring.Component):
    """Write every word once after power-on and after an error; say which memory has an error.

    What a memory holds at power-on has no parity, and a word that lost a bit would be found again
    by the next run, so a sweep writes all rows of all memories, while the chip is at rest. A start
    that comes during a sweep waits for its end.

    An error in a run stops it; at rest there is nothing to lose, and a sweep is enough.

    Parameters
    ----------
    codes : list of int
        What `hw.spec.memories` calls each memory.
    rows : int
        Rows of the deepest memory that is swept.

    Members
    -------
    errors : In(len(codes))
        A bit for each memory: it has read a wrong word.
    busy : In(1)
        A run is on, or coming to rest.
    quiet : In(1)
        Nothing is on the bus.
    start, o_start : In(1), Out(1)
        A start as it comes, and when it can be obeyed.
    waiting : Out(1)
        A start waits.
    sweep, sweep_bus, sweep_row : Out
        Write this row: to the memories of the core; to those of the memory controllers, which are
        left alone if the bus did not come to rest.
    failed : Out(1)
        A run has met an error. High until it is over.
    code : Out(32)
        Of the memory, while ``failed``.
    count : Out(32)
        Cycles with errors outside of sweeps, since reset.

    Timing
    ------
    ``failed`` comes :attr:`latency` cycles after a memory's error. A sweep takes ``rows`` cycles,
    and :attr:`settle_cycles` in which what it has stirred up passes.
    """

    def __init__(self, codes, *, rows):
        if not codes:
            raise ValueError("codes must name a memory at least")
        self.codes = list(codes)
        self.rows = rows
        super().__init__({
            "errors": In(len(codes)),
            "busy": In(1),
            "quiet": In(1),
            "start": In(1),
            "o_start": Out(1),
            "waiting": Out(1),
            "sweep": Out(1, init=1),
            "sweep_bus": Out(1, init=1),
            "sweep_row": Out(range(max(2, rows))),
            "failed": Out(1),
            "code": Out(32),
            "count": Out(32),
        })

    @property
    def latency(self):
        """Cycles from an error to ``failed``."""
        levels, left = 1, len(self.codes)
        while left > 1:
            levels, left = levels + 1, -(-left // _RADIX)
        return levels

    @property
    def settle_cycles(self):
        """Cycles after a sweep in which errors do not count."""
        return self.latency + ParityMemory.LATENCY + 2

    def _first(self, m):
        """Return whether some memory has an error, and the code of the first."""
        code_width = max(self.codes).bit_length() or 1
        level = [(self.errors[n], code) for n, code in enumerate(self.codes)]
        depth = 0
        while len(level) > 1:
            gathered = []
            for place in range(0, len(level), _RADIX):
                group = level[place : place + _RADIX]
                some = Signal(name=f"some_{depth}_{place}")
                code = Signal(code_width, name=f"code_{depth}_{place}", reset_less=True)
                any_of = group[0][0]
                for valid, _ in group[1:]:
                    any_of = any_of | valid
                m.d.sync += some.eq(any_of)
                for valid, of_one in reversed(group):
                    with m.If(valid):
                        m.d.sync += code.eq(of_one)
                gathered.append((some, code))
            level, depth = gathered, depth + 1
        return level[0]

    def elaborate(self, platform):
        m = Module()
        found, code = self._first(m)
        ready = Signal()
        settled = Signal(range(self.settle_cycles + 1))
        m.d.comb += self.o_start.eq((self.start | self.waiting) & ready)
        m.d.sync += self.waiting.eq((self.start | self.waiting) & ~ready)
        with m.FSM():
            with m.State("SWEEP"):
                m.d.sync += [self.sweep_row.eq(self.sweep_row + 1), settled.eq(0)]
                with m.If(self.sweep_row == self.rows - 1):
                    m.d.sync += [self.sweep.eq(0), self.sweep_bus.eq(0), self.sweep_row.eq(0)]
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += settled.eq(settled + 1)
                with m.If(settled == self.settle_cycles):
                    m.next = "WATCH"
            with m.State("WATCH"):
                m.d.comb += ready.eq(~self.failed)
                with m.If(found & ~self.failed):
                    m.d.sync += [self.failed.eq(1), self.code.eq(code)]
                with m.If(found & ~self.count.all()):
                    m.d.sync += self.count.eq(self.count + 1)
                with m.If(self.failed & ~self.busy):
                    m.d.sync += [
                        self.failed.eq(0),
                        self.sweep.eq(1),
                        self.sweep_bus.eq(self.quiet),
                    ]
                    m.next = "SWEEP"
        return m
