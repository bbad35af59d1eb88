"""Starts the core, and brings it to rest: after the last token, a stop, or an error."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .spec.csr import ERRORS

__all__ = ["RunControl"]


class RunControl(wiring.Component):
    """Idle, running, or coming to rest.

    However a run ends, the core is held in reset while the memory controller finishes what is on
    the bus: the next start finds it as after power-on.

    Members
    -------
    start, stop : In(1)
        What the host wants. ``start`` comes only while not ``busy``; ``stop`` counts only while a
        run is on, and after an error or the end of the request in the same cycle.
    core_start : Out(1)
        To the core.
    core_reset : Out(1)
        All that resets the core: a register, 1 from power-on and from a reset to the first cycle
        behind it.
    halt : Out(1)
        To the memory controller, until it is ``idle``.
    idle : In(1)
    finished : In(1)
        The core's request is at its end.
    core_error, core_cause, core_addr : In
        Errors of the core.
    bus_error, bus_cause, bus_addr : In
        Errors of the memory controller; of several in one cycle these are reported, and those of
        the core before the watchdog's.
    progress : In(1)
        Something moved in this cycle.
    watchdog : In(32)
        Cycles without progress before a trap; 0 for never. They count anew when the core is
        reset: a bus that does not come to rest in them ends the run by an error, too.
    busy, done : Out(1)
        A run is on, or coming to rest; the last run came to the end of its request.
    error_event, error_cause, error_addr : Out
        The run ends by an error. One strobe for a run, and one more if the bus then hangs.
    done_event : Out(1)
        The run is over and the core at rest, for whatever reason.

    Timing
    ------
    ``core_start`` comes with ``start``. ``halt`` and ``core_reset`` rise in the cycle after a run's
    end, and ``halt`` lasts to the first cycle with ``idle`` but its own first; ``done_event``
    follows, and one cycle later the next ``start`` is taken. The watchdog's trap comes
    ``watchdog + 1`` cycles after the last ``progress``.
    """

    def __init__(self):
        super().__init__({
            "start": In(1),
            "stop": In(1),
            "core_start": Out(1),
            "core_reset": Out(1, init=1),
            "halt": Out(1),
            "idle": In(1),
            "finished": In(1),
            "core_error": In(1),
            "core_cause": In(4),
            "core_addr": In(32),
            "bus_error": In(1),
            "bus_cause": In(4),
            "bus_addr": In(32),
            "progress": In(1),
            "watchdog": In(32),
            "busy": Out(1),
            "done": Out(1),
            "error_event": Out(1),
            "error_cause": Out(4),
            "error_addr": Out(32),
            "done_event": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        quiet = Signal(32, init=1)  # cycles since something moved, this one included
        starved = Signal()
        settling = Signal()
        moves = Signal()
        m.d.comb += moves.eq(self.progress | ~self.busy | settling)
        m.d.sync += [
            quiet.eq(Mux(moves, 1, quiet + 1)),
            starved.eq((self.watchdog != 0) & ~moves & (quiet >= self.watchdog)),
        ]
        m.d.comb += [
            self.busy.eq(1),
            self.error_cause.eq(ERRORS["watchdog"]),
        ]
        with m.If(self.bus_error):
            m.d.comb += [
                self.error_cause.eq(self.bus_cause),
                self.error_addr.eq(self.bus_addr),
            ]
        with m.Elif(self.core_error):
            m.d.comb += [
                self.error_cause.eq(self.core_cause),
                self.error_addr.eq(self.core_addr),
            ]
        # Registers of their own: they go to the whole core and to all of the controller.
        ends = Signal()
        with m.If(ends):
            m.d.sync += [self.core_reset.eq(1), self.halt.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(0)
                m.d.sync += self.core_reset.eq(0)
                with m.If(self.start):
                    m.d.comb += self.core_start.eq(1)
                    m.d.sync += self.done.eq(0)
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(self.bus_error | self.core_error | starved):
                    m.d.comb += [self.error_event.eq(1), ends.eq(1)]
                    m.next = "SETTLE"
                with m.Elif(self.finished):
                    m.d.sync += self.done.eq(1)
                    m.d.comb += ends.eq(1)
                    m.next = "SETTLE"
                with m.Elif(self.stop):
                    m.d.comb += ends.eq(1)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                # The controller sees `halt` for a cycle before its `idle` counts.
                m.d.comb += settling.eq(1)
                m.next = "HALT"
            with m.State("HALT"):
                with m.If(self.idle):
                    m.d.sync += self.halt.eq(0)
                    m.next = "REST"
                with m.Elif(starved):
                    # A bus that never answers: say so. The controller drops what comes later.
                    m.d.comb += self.error_event.eq(1)
                    m.d.sync += [self.done.eq(0), self.halt.eq(0)]
                    m.next = "REST"
            with m.State("REST"):
                m.d.comb += self.done_event.eq(1)
                m.d.sync += self.core_reset.eq(0)
                m.next = "IDLE"
        return m
