"""Fetches operator words, around and around the program."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .fetcher import fetch_layout
from .operator_word import HeaderLayout
from .spec.isa import OPERATORS, WORD_BYTES

__all__ = ["ProgramFetch", "located_word"]


def located_word():
    """Return the layout of an operator word beside the address it came from."""
    return data.StructLayout({"word": HeaderLayout, "addr": 32})


class ProgramFetch(wiring.Component):
    """Offer the words of the program in order; after ``end`` begin again.

    Members
    -------
    run : In(1)
        Begin with the program's first word. Once begun, only reset ends it.
    program_addr : In(32)
        Address of the first word. Must hold until reset.
    o_request, i_word : to `Fetcher`.
    o_operator : Out(stream of located_word)
        One word at a time.

    Timing
    ------
    A word is asked for in the cycle after ``run`` or after the word before was taken, and on offer
    in the cycle after its last 32 bits came.
    """

    def __init__(self):
        super().__init__({
            "run": In(1),
            "program_addr": In(32),
            "o_request": Out(stream.Signature(fetch_layout())),
            "i_word": In(stream.Signature(32)),
            "o_operator": Out(stream.Signature(located_word())),
        })

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(WORD_BYTES // 4))
        addr = Signal(32)
        word = Signal(8 * WORD_BYTES)
        m.d.comb += [
            self.o_request.p.addr.eq(addr),
            self.o_request.p.words.eq(WORD_BYTES // 4),
            self.o_operator.p.word.eq(word),
            self.o_operator.p.addr.eq(addr),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += addr.eq(self.program_addr)
                with m.If(self.run):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.o_request.valid.eq(1)
                with m.If(self.o_request.ready):
                    m.next = "RECEIVE"
            with m.State("RECEIVE"):
                m.d.comb += self.i_word.ready.eq(1)
                with m.If(self.i_word.valid):
                    m.d.sync += [
                        word.eq(Cat(word[32:], self.i_word.payload)),
                        count.eq(count + 1),
                    ]
                    with m.If(count == WORD_BYTES // 4 - 1):
                        m.d.sync += count.eq(0)
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_operator.valid.eq(1)
                with m.If(self.o_operator.ready):
                    m.d.sync += addr.eq(addr + WORD_BYTES)
                    with m.If(self.o_operator.p.word.opcode == OPERATORS["end"].opcode):
                        m.d.sync += addr.eq(self.program_addr)
                    m.next = "ASK"
        return m
