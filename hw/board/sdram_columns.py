"""Issues the column commands of segments, back to back."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.board.sdram_pins import BANKS, Cooldown, column_layout, segment_layout

__all__ = ["SdramColumns"]


class SdramColumns(wiring.Component):
    """Issue one READ or WRITE for each beat of each segment, in order.

    Parameters
    ----------
    cas_latency : int
        Cycles from READ to its first word.
    beat_words : int
        Words of a command: the chip's burst length.
    id_width : int
        Width of an ID.

    Members
    -------
    i_segment : In(stream.Signature(segment_layout(...)))
        Segments whose rows are open, or will be allowed.
    allowed : In(4)
        For each bank: column commands may be issued.
    column : Out(column_layout(...))
        The command of this cycle.

    Timing
    ------
    A command every ``beat_words`` cycles, across segments, banks and from writes to reads: the data
    pins never idle. From a READ to a WRITE the bus rests for one cycle.
    """

    def __init__(self, *, cas_latency, beat_words, id_width):
        self.cas_latency = cas_latency
        self.beat_words = beat_words
        super().__init__({
            "i_segment": In(stream.Signature(segment_layout(beat_words, id_width))),
            "allowed": In(BANKS),
            "column": Out(column_layout(beat_words, id_width)),
        })

    def elaborate(self, platform):
        m = Module()
        column = self.column
        # The chip lets go of the bus in the cycle after its last word.
        turn_cycles = self.cas_latency + self.beat_words + 1

        segment = Signal(self.i_segment.payload.shape(), reset_less=True)
        active = Signal()
        is_final = Signal()
        taking = Signal()
        command = Cooldown(m, self.beat_words, "command")
        write = Cooldown(m, turn_cycles, "write")
        untouched = segment.resp.any()

        m.d.comb += [
            column.valid.eq(
                active
                & command.over
                & (~segment.write | write.over)
                & (untouched | self.allowed.bit_select(segment.bank, 1))
            ),
            column.final.eq(is_final),
            column.last.eq(segment.last & is_final),
            *(column[name].eq(segment[name]) for name in ("write", "resp", "id", "bank", "column")),
            taking.eq(~active | (column.valid & is_final)),
            self.i_segment.ready.eq(taking),
        ]
        with m.If(column.valid):
            command.start(self.beat_words)
            with m.If(~segment.write):
                write.start(turn_cycles)
            m.d.sync += [
                segment.column.eq(segment.column + 1),
                segment.beats.eq(segment.beats - 1),
                is_final.eq(segment.beats == 2),
            ]
        with m.If(taking):
            m.d.sync += [
                active.eq(self.i_segment.valid),
                segment.eq(self.i_segment.payload),
                is_final.eq(self.i_segment.p.beats == 1),
            ]

        return m
