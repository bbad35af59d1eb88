"""Turns descriptors into words for the array."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
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
    The first command is on offer three cycles after its descriptor, a word two cycles after its
    beat. The wider of beat and word moves at its full rate, across descriptors too; up to
    `MAX_DESCRIPTORS` descriptors wait, and `MAX_ASKED` have words on their way.
    ``i_beats.ready`` depends combinationally on ``halt``.

    Raises
    ------
    ValueError
        ``port_bytes`` or ``word_bytes`` is no power of two.
    """

    #: Descriptors that wait until they are asked for, and those on their way.
    MAX_DESCRIPTORS, MAX_ASKED = 10, 17

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
        m.submodules.waiting = waiting = Queue(descriptor, self.MAX_DESCRIPTORS - 2)
        # Between the queue's memory and the counting.
        m.submodules.ahead = ahead = Slice(descriptor)
        m.submodules.asked = asked = Queue(WORDS_WIDTH, self.MAX_ASKED - 3)
        # Between that queue's memory and the counting, too.
        m.submodules.counted = counted = Slice(WORDS_WIDTH)
        m.submodules.gearbox = gearbox = self._gearbox
        # Between the readiness of those who take words and that of the memory.
        m.submodules.words_out = words_out = Slice(self.o_words.payload.shape())
        connect(m, flipped(self.i_descriptor), waiting.i)
        connect(m, waiting.o, ahead.i)
        connect(m, asked.o, counted.i)
        connect(m, words_out.o, flipped(self.o_words))
        # A beat that meets halt must not become the first of what follows.
        m.d.comb += [
            gearbox.i.payload.eq(self.i_beats.payload),
            gearbox.i.valid.eq(self.i_beats.valid & ~self.halt),
            self.i_beats.ready.eq(gearbox.i.ready),
        ]

        # Asking: `left` beats from `addr` on are not asked for yet. What depends on all bits of
        # `left` is known with it, in registers.
        shift = exact_log2(self.word_bytes) - exact_log2(self.port_bytes)
        words = ahead.o.p.words
        beats = words << shift if shift >= 0 else (words + (1 << -shift) - 1) >> -shift
        most_bits = STREAM_BEATS_WIDTH - 1
        most = 1 << most_bits
        left = Signal(WORDS_WIDTH + max(shift, 0))
        addr = Signal(self.addr_width, reset_less=True)
        asks, is_last = Signal(), Signal(init=1)  # left != 0; left <= most
        leaving = Signal()
        take = Signal()

        def within(value, bits):
            """Return whether a value is at most ``1 << bits``, without a carry chain."""
            return (value >> bits == 0) | (value == 1 << bits)

        m.d.comb += [
            self.o_command.valid.eq(asks),
            self.o_command.p.addr.eq(addr),
            self.o_command.p.beats.eq(Mux(is_last, left, most)),
            leaving.eq(asks & self.o_command.ready),
            take.eq(ahead.o.valid & asked.i.ready & (~asks | (leaving & is_last))),
            ahead.o.ready.eq(take),
            asked.i.payload.eq(words - 1),
            asked.i.valid.eq(take & (words != 0)),
        ]
        with m.If(take):
            m.d.sync += [
                addr.eq(ahead.o.p.addr),
                left.eq(beats),
                asks.eq(words != 0),
                is_last.eq(within(beats, most_bits)),
            ]
        with m.Elif(leaving & is_last):
            m.d.sync += asks.eq(0)
        with m.Elif(leaving):
            m.d.sync += [
                addr.eq(addr + most * self.port_bytes),
                left.eq(left - most),
                is_last.eq(within(left, most_bits + 1)),
            ]

        # Counting: `rest` words come behind this one. The rest of a last beat is dropped.
        rest = Signal(WORDS_WIDTH)
        counting, is_end = Signal(), Signal()
        ends = Signal()
        moves = Signal()
        m.d.comb += [
            moves.eq(gearbox.o.valid & words_out.i.ready & counting),
            ends.eq(moves & is_end),
            counted.o.ready.eq(ends | ~counting),
            gearbox.flush.eq(ends | self.halt),
            gearbox.o.ready.eq(words_out.i.ready & counting),
            words_out.i.valid.eq(gearbox.o.valid & counting),
            words_out.i.payload.eq(gearbox.o.payload),
        ]
        with m.If(counted.o.ready):
            m.d.sync += [
                counting.eq(counted.o.valid),
                rest.eq(counted.o.payload),
                is_end.eq(counted.o.payload == 0),
            ]
        with m.Elif(moves):
            m.d.sync += [rest.eq(rest - 1), is_end.eq(rest == 1)]

        m.d.comb += [
            waiting.flush.eq(self.halt),
            ahead.flush.eq(self.halt),
            asked.flush.eq(self.halt),
            counted.flush.eq(self.halt),
            words_out.flush.eq(self.halt),
            self.idle.eq(
                (waiting.level == 0)
                & ~ahead.o.valid
                & ~asks
                & (asked.level == 0)
                & ~counted.o.valid
                & ~counting
                & ~words_out.o.valid
            ),
        ]
        with m.If(self.halt):
            m.d.sync += [asks.eq(0), counting.eq(0)]

        return m
