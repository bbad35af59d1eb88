"""Between beats and the data pins of an SDR-SDRAM."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.board.sdram_pins import DQ_WIDTH

__all__ = ["SdramData", "beat_layout"]


def beat_layout(data_bytes):
    """Return the layout of a beat to write: its bytes, and which of them to write."""
    return data.StructLayout({"data": 8 * data_bytes, "strobe": data_bytes})


class SdramData(wiring.Component):
    """Send beats word by word, lowest first, and put words that come back together.

    Parameters
    ----------
    cas_latency : int
        Cycles from READ to its first word.
    capture_delay : int
        Further cycles until ``dq_in`` shows it: registers of the pins and the way to the chip and
        back.
    data_bytes : int
        Bytes of a beat.

    Members
    -------
    write : In(1)
        A WRITE is decided in this cycle ...
    beat : In(beat_layout(data_bytes))
        ... with this beat.
    read : In(1)
        A READ is decided in this cycle.
    dq_out, dq_oe, dqm : Out
        Pins. A masked byte is not written.
    dq_in : In(16)
        Pins.
    word_valid : Out(1)
        The beat of a READ is complete.
    word : Out(8 * data_bytes)
        That beat.

    Timing
    ------
    The first word is on the pins `PIN_CYCLES` cycles after ``write``, as the command is. ``word``
    is complete `read_cycles` cycles after ``read``. Between two writes, or reads, are at least as
    many cycles as a beat has words.
    """

    #: Cycles from a decision to the pins.
    PIN_CYCLES = 2

    def __init__(self, *, cas_latency, capture_delay, data_bytes):
        self.data_bytes = data_bytes
        self.beat_words = 8 * data_bytes // DQ_WIDTH
        # The chip takes the command at the end of a cycle; one register holds each word.
        self.read_cycles = self.PIN_CYCLES + 1 + cas_latency + capture_delay + self.beat_words
        super().__init__({
            "write": In(1),
            "beat": In(beat_layout(data_bytes)),
            "read": In(1),
            "dq_out": Out(DQ_WIDTH),
            "dq_oe": Out(1),
            "dqm": Out(DQ_WIDTH // 8),
            "dq_in": In(DQ_WIDTH),
            "word_valid": Out(1),
            "word": Out(8 * data_bytes),
        })

    def elaborate(self, platform):
        m = Module()

        # Words of a beat with their strobes; those that are left lie at the bottom.
        words = Signal(8 * self.data_bytes, reset_less=True)
        strobes = Signal(self.data_bytes, reset_less=True)
        left = Signal(self.beat_words)
        m.d.sync += [
            words.eq(words >> DQ_WIDTH),
            strobes.eq(strobes >> DQ_WIDTH // 8),
            left.eq(left >> 1),
            self.dq_out.eq(words),
            self.dq_oe.eq(left[0]),
            # While the chip sends, no byte is masked.
            self.dqm.eq(~strobes & left[0].replicate(DQ_WIDTH // 8)),
        ]
        with m.If(self.write):
            m.d.sync += [
                words.eq(self.beat.data),
                strobes.eq(self.beat.strobe),
                left.eq((1 << self.beat_words) - 1),
            ]

        captured = Signal(DQ_WIDTH, reset_less=True)
        awaited = Signal(self.read_cycles)
        m.d.sync += [
            captured.eq(self.dq_in),
            self.word.eq(Cat(self.word[DQ_WIDTH:], captured)),
            awaited.eq(Cat(self.read, awaited)),
        ]
        m.d.comb += self.word_valid.eq(awaited[-1])

        return m
