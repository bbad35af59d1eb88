"""Turns descriptors into words for the array."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.burst_cutter import command_layout
from hw.lib.gearbox import Gearbox
from hw.lib.queue import Queue
from hw.lib.slice import Slice
from hw.memory_controller import STREAM_BEATS_WIDTH

__all__ = ["WORDS_WIDTH", "WeightStreamer", "descriptor_layout"]

WORDS_WIDTH = 32  #: width of a descriptor's length, in bits


def descriptor_layout(*, addr_width=32):
    """Return the layout of a descriptor: ``words`` words from ``addr`` (bytes) on."""
    return data.StructLayout({"addr": addr_width, "words": WORDS_WIDTH})


class WeightStreamer(wiring.Component):
    """Ask the memory for what descriptors name, and cut the beats that come into words.

    A descriptor of no words does nothing. Each other begins at a fresh beat: what is left of the
    last beat of the one before is dropped.

    Parameters
    ----------
    port_bytes : int
        Bytes of a beat of memory. A power of two.
    word_bytes : int
        Bytes of a word. A power of two.
    addr_width : int
        Width of an address, in bits.

    Members
    -------
    i_descriptor : In(stream.Signature(descriptor_layout()))
        What to stream. ``addr`` is a multiple of ``port_bytes``.
    o_words : Out(stream.Signature(data.ArrayLayout(signed(8), word_bytes)))
        Its words, in order.
    o_command : Out(stream.Signature(command_layout(STREAM_BEATS_WIDTH)))
        To the memory controller's ``i_stream``.
    i_beats : In(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes)))
        From the memory controller's ``o_stream``.
    halt : In(1)
        Forget everything, descriptors and beats that arrive included; offers are withdrawn.
    idle : Out(1)
        No descriptor is inside and all words are taken.

    Timing
    ------
    The first command is on offer two cycles after its descriptor, a word two cycles after its
    beat. The wider of beat and word moves at its full rate, across descriptors too; up to
    `MAX_DESCRIPTORS` descriptors wait, and as many more have words on their way.
    ``i_beats.ready`` depends combinationally on ``halt``.

    Raises
    ------
    ValueError
        ``port_bytes`` or ``word_bytes`` is no power of two.
    """

    #: Descriptors that wait until they are asked for, and those on their way.
    MAX_DESCRIPTORS, MAX_ASKED = 8, 16

    def __init__(self, *, port_bytes, word_bytes, addr_width=32):
        for name, value in (("port_bytes", port_bytes), ("word_bytes", word_bytes)):
            if not isinstance(value, int) or value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value!r}")
        self.port_bytes = port_bytes
        self.word_bytes = word_bytes
        self.addr_width = addr_width
        self._gearbox = Gearbox(i_bytes=port_bytes, o_bytes=word_bytes)
        command = command_layout(STREAM_BEATS_WIDTH, addr_width=addr_width)
        super().__init__({
            "i_descriptor": In(stream.Signature(descriptor_layout(addr_width=addr_width))),
            "o_words": Out(stream.Signature(data.ArrayLayout(signed(8), word_bytes))),
            "o_command": Out(stream.Signature(command)),
            "i_beats": In(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes))),
            "halt": In(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        descriptor = self.i_descriptor.payload.shape()
        m.submodules.waiting = waiting = Queue(descriptor, self.MAX_DESCRIPTORS)
        m.submodules.asked = asked = Queue(WORDS_WIDTH, self.MAX_ASKED)
        m.submodules.gearbox = gearbox = self._gearbox
        # Between the readiness of those who take words and that of the memory.
        m.submodules.words_out = words_out = Slice(self.o_words.payload.shape())
        connect(m, flipped(self.i_descriptor), waiting.i)
        connect(m, words_out.o, flipped(self.o_words))
        # A beat that meets halt must not become the first of what follows.
        m.d.comb += [
            gearbox.i.payload.eq(self.i_beats.payload),
            gearbox.i.valid.eq(self.i_beats.valid & ~self.halt),
            self.i_beats.ready.eq(gearbox.i.ready),
        ]

        # Asking: `left` beats from `addr` on are not asked for yet.
        shift = exact_log2(self.word_bytes) - exact_log2(self.port_bytes)
        words = waiting.o.p.words
        beats = words << shift if shift >= 0 else (words + (1 << -shift) - 1) >> -shift
        most_bits = STREAM_BEATS_WIDTH - 1
        most = 1 << most_bits
        left = Signal(WORDS_WIDTH + max(shift, 0))
        addr = Signal(self.addr_width, reset_less=True)
        is_last = Signal()
        leaving = Signal()
        take = Signal()
        m.d.comb += [
            # At most `most`, a power of two, without a carry chain.
            is_last.eq((left >> most_bits == 0) | (left == most)),
            self.o_command.valid.eq(left != 0),
            self.o_command.p.addr.eq(addr),
            self.o_command.p.beats.eq(most),
            leaving.eq(self.o_command.valid & self.o_command.ready),
            take.eq(waiting.o.valid & asked.i.ready & ((left == 0) | (leaving & is_last))),
            waiting.o.ready.eq(take),
            asked.i.payload.eq(words - 1),
            asked.i.valid.eq(take & (words != 0)),
        ]
        with m.If(is_last):
            m.d.comb += self.o_command.p.beats.eq(left)
        with m.If(take):
            m.d.sync += [addr.eq(waiting.o.p.addr), left.eq(beats)]
        with m.Elif(leaving & is_last):
            m.d.sync += left.eq(0)
        with m.Elif(leaving):
            m.d.sync += [addr.eq(addr + most * self.port_bytes), left.eq(left - most)]

        # Counting, to one less than was asked for: the rest of a last beat is dropped.
        done = Signal(WORDS_WIDTH)
        ends = Signal()
        moves = Signal()
        m.d.comb += [
            moves.eq(gearbox.o.valid & words_out.i.ready),
            ends.eq(moves & (done == asked.o.payload)),
            asked.o.ready.eq(ends),
            gearbox.flush.eq(ends | self.halt),
            gearbox.o.ready.eq(words_out.i.ready),
            words_out.i.valid.eq(gearbox.o.valid),
            words_out.i.payload.eq(gearbox.o.payload),
        ]
        with m.If(moves):
            m.d.sync += done.eq(done + 1)
        with m.If(ends):
            m.d.sync += done.eq(0)

        m.d.comb += [
            waiting.flush.eq(self.halt),
            asked.flush.eq(self.halt),
            words_out.flush.eq(self.halt),
            self.idle.eq(
                (waiting.level == 0) & (left == 0) & (asked.level == 0) & ~words_out.o.valid
            ),
        ]
        with m.If(self.halt):
            m.d.sync += [left.eq(0), done.eq(0)]

        return m
