"""Small reads: operator words, page tables and prompts, as 32-bit words."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .burst_cutter import command_layout
from .lib.slice import Slice
from .memory_controller import FETCH_BEATS_WIDTH
from .spec.config import MAX_FETCH

__all__ = ["Fetcher", "fetch_layout"]


def fetch_layout():
    """Return the layout of a request: ``words`` (from 1) 32-bit words from ``addr`` (bytes) on."""
    return data.StructLayout({"addr": 32, "words": range(MAX_FETCH + 1)})


class Fetcher(wiring.Component):
    """Read 32-bit words for two clients, one request after the other.

    Parameters
    ----------
    port_bytes : int
        Width of the memory port, in bytes.

    Members
    -------
    i_program, i_data : In(stream of fetch_layout)
        Requests; data goes first. ``addr`` is a multiple of 4.
    o_program, o_data : Out(stream of 32 bits)
        Their words.
    o_fetch, i_beat : to the memory controller.

    Timing
    ------
    The command is on offer one cycle after the request. Then a word each cycle, the first two
    cycles after its beat. ``i_beat.ready`` comes from a register.
    """

    def __init__(self, *, port_bytes):
        self.port_bytes = port_bytes
        request = stream.Signature(fetch_layout())
        word = stream.Signature(32)
        super().__init__({
            "i_program": In(request),
            "i_data": In(request),
            "o_program": Out(word),
            "o_data": Out(word),
            "o_fetch": Out(stream.Signature(command_layout(FETCH_BEATS_WIDTH))),
            "i_beat": In(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes))),
        })

    def elaborate(self, platform):
        m = Module()
        per_beat = self.port_bytes // 4
        port_bits = exact_log2(self.port_bytes)
        request = Signal(fetch_layout())
        for_data = Signal()
        place = Signal(range(max(2, per_beat)))  # word in the beat
        skipped = Signal(range(per_beat + 1))
        is_last = Signal()  # the word that is taken next is the request's last
        m.d.comb += [
            skipped.eq(request.addr[2:port_bits] if port_bits > 2 else 0),
            self.o_fetch.p.addr.eq(Cat(Signal(port_bits), request.addr[port_bits:])),
            self.o_fetch.p.beats.eq((request.words + skipped + per_beat - 1) >> (port_bits - 2)),
        ]
        # Between the readiness of those who take words and that of the memory.
        m.submodules.arriving = arriving = Slice(self.i_beat.payload.shape())
        connect(m, flipped(self.i_beat), arriving.i)
        beat = arriving.o
        words = [Cat(*(beat.payload[4 * n + k] for k in range(4))) for n in range(per_beat)]
        # A word knows whose it is: the next request may be taken before it is.
        m.submodules.leaving = leaving = Slice(data.StructLayout({"word": 32, "for_data": 1}))
        into, word = leaving.i, leaving.o
        m.d.comb += [
            into.p.word.eq(Array(words)[place]),
            into.p.for_data.eq(for_data),
            self.o_program.payload.eq(word.p.word),
            self.o_data.payload.eq(word.p.word),
            self.o_data.valid.eq(word.valid & word.p.for_data),
            self.o_program.valid.eq(word.valid & ~word.p.for_data),
            word.ready.eq(Mux(word.p.for_data, self.o_data.ready, self.o_program.ready)),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.i_data.ready.eq(1),
                    self.i_program.ready.eq(~self.i_data.valid),
                ]
                m.d.sync += for_data.eq(self.i_data.valid)
                with m.If(self.i_data.valid):
                    m.d.sync += request.eq(self.i_data.payload)
                    m.next = "ASK"
                with m.Elif(self.i_program.valid):
                    m.d.sync += request.eq(self.i_program.payload)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.o_fetch.valid.eq(1)
                m.d.sync += [place.eq(skipped), is_last.eq(request.words == 1)]
                with m.If(self.o_fetch.ready):
                    m.next = "UNPACK"
            with m.State("UNPACK"):
                m.d.comb += into.valid.eq(beat.valid)
                with m.If(beat.valid & into.ready):
                    m.d.sync += [
                        place.eq(place + 1),
                        request.words.eq(request.words - 1),
                        is_last.eq(request.words == 2),
                    ]
                    with m.If((place == per_beat - 1) | is_last):
                        m.d.comb += beat.ready.eq(1)
                        m.d.sync += place.eq(0)
                    with m.If(is_last):
                        m.next = "IDLE"
        return m
