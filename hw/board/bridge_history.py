"""What became of the frames that the debug bridge carried out last."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.spec.bridge import WINDOW

__all__ = ["OUTCOME", "BridgeHistory", "Verdict"]

#: Of a frame: its CRC, the status that it was answered with, and the register that it read.
OUTCOME = data.StructLayout({"crc": 32, "status": 8, "data": 32})


class Verdict(enum.Enum, shape=2):
    """What a sequence number says of a frame."""

    NEXT = 0  #: it is the one that is expected
    AGAIN = 1  #: it was carried out already
    GAP = 2  #: one before it is missing
    CONFLICT = 3  #: another frame had its number


class BridgeHistory(wiring.Component):
    """Tell frames that are new from those that are repeated.

    Members
    -------
    sequence : In(8)
        Of the frame.
    crc : In(32)
        Of the frame.
    verdict : Out(Verdict)
        What it is.
    outcome : Out(OUTCOME)
        If it is repeated, what became of it.
    begin : In(1)
        The frame begins a session: its number is taken, and those before are forgotten.
    accept : In(1)
        The frame is carried out: its number is taken.
    finish : In(1)
        Its outcome is known; ``crc`` and ``sequence`` are still its own.
    status : In(8)
        ... and is this,
    data : In(32)
        ... and this.

    Timing
    ------
    ``outcome`` follows ``sequence`` by a cycle, ``verdict`` by two.
    """

    def __init__(self):
        super().__init__({
            "sequence": In(8),
            "crc": In(32),
            "verdict": Out(Verdict),
            "outcome": Out(OUTCOME),
            "begin": In(1),
            "accept": In(1),
            "finish": In(1),
            "status": In(8),
            "data": In(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.outcomes = outcomes = memory.Memory(shape=OUTCOME, depth=WINDOW, init=[])
        write, read = outcomes.write_port(), outcomes.read_port(domain="comb")
        place = self.sequence[: exact_log2(WINDOW)]
        m.d.comb += [
            read.addr.eq(place),
            write.addr.eq(place),
            write.data.crc.eq(self.crc),
            write.data.status.eq(self.status),
            write.data.data.eq(self.data),
            write.en.eq(self.finish),
        ]

        expected = Signal(8)
        known = Signal(range(WINDOW + 1))  # outcomes that are of this session
        age = Signal(8)
        m.d.sync += [self.outcome.eq(read.data), age.eq(expected - self.sequence)]
        with m.If(age == 0):
            m.d.sync += self.verdict.eq(Verdict.NEXT)
        with m.Elif(age > known):
            m.d.sync += self.verdict.eq(Verdict.GAP)
        with m.Elif(self.outcome.crc != self.crc):
            m.d.sync += self.verdict.eq(Verdict.CONFLICT)
        with m.Else():
            m.d.sync += self.verdict.eq(Verdict.AGAIN)

        with m.If(self.begin):
            m.d.sync += [expected.eq(self.sequence + 1), known.eq(1)]
        with m.Elif(self.accept):
            m.d.sync += [
                expected.eq(expected + 1),
                known.eq(Mux(known == WINDOW, WINDOW, known + 1)),
            ]
        return m
