"""Change the width of a stream of bytes."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


class Gearbox(wiring.Component):
    """Cut words of ``i_bytes`` bytes into, or join them to, words of ``o_bytes``; lowest first.

    Parameters
    ----------
    i_bytes, o_bytes : int
        Bytes of a word on either side. One is the other times a power of two.

    Members
    -------
    i : In(stream.Signature(data.ArrayLayout(unsigned(8), i_bytes)))
        Words.
    o : Out(stream.Signature(data.ArrayLayout(unsigned(8), o_bytes)))
        The same bytes in the same order.
    flush : In(1)
        Forget the bytes inside; a transfer on ``o`` in the same cycle still counts, and one on
        ``i`` is the first of what follows. ``i.ready`` is high.

    Timing
    ------
    The wider side moves one word, or the narrower one, in every cycle; the first word comes out
    one cycle after its last byte went in. ``i.ready`` depends combinationally on ``o.ready``
    and ``flush``.

    Raises
    ------
    TypeError, ValueError
        A width is not a positive integer, or the ratio is no power of two.
    """

    #: Cycles from the transfer that completes the first word to its offer on ``o``.
    LATENCY = 1

    def __init__(self, *, i_bytes, o_bytes):
        for name, value in (("i_bytes", i_bytes), ("o_bytes", o_bytes)):
            if not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be positive, not {value!r}")
        ratio, rest = divmod(max(i_bytes, o_bytes), min(i_bytes, o_bytes))
        if rest or ratio & (ratio - 1):
            raise ValueError(
                f"o_bytes must be i_bytes ({i_bytes}) times or over a power of two, not {o_bytes!r}"
            )
        self.i_bytes = i_bytes
        self.o_bytes = o_bytes
        self.ratio = ratio
        super().__init__({
            "i": In(stream.Signature(data.ArrayLayout(unsigned(8), i_bytes))),
            "o": Out(stream.Signature(data.ArrayLayout(unsigned(8), o_bytes))),
            "flush": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        arriving = self.i.valid & self.i.ready
        leaving = self.o.valid & self.o.ready
        i_bits = self.i.payload.as_value()
        o_bits = self.o.payload.as_value()

        word = Signal(8 * max(self.i_bytes, self.o_bytes), reset_less=True)
        joins = self.i_bytes < self.o_bytes
        left = Signal(range(self.ratio + 1), init=self.ratio if joins else 0)
        if joins:
            # `left` narrow words are missing; the newest comes in at the top.
            m.d.comb += [
                self.o.valid.eq(left == 0),
                o_bits.eq(word),
                self.i.ready.eq((left != 0) | self.o.ready | self.flush),
            ]
            with m.If(leaving | self.flush):
                m.d.sync += left.eq(self.ratio - arriving)
            with m.Elif(arriving):
                m.d.sync += left.eq(left - 1)
            with m.If(arriving):
                m.d.sync += word.eq(Cat(word[8 * self.i_bytes :], i_bits))
        else:
            # `left` narrow words are inside; the next goes out at the bottom.
            m.d.comb += [
                self.o.valid.eq(left != 0),
                o_bits.eq(word),
                self.i.ready.eq((left == 0) | ((left == 1) & self.o.ready) | self.flush),
            ]
            with m.If(arriving):
                m.d.sync += [word.eq(i_bits), left.eq(self.ratio)]
            with m.Elif(leaving | self.flush):
                m.d.sync += [
                    word.eq(word >> 8 * self.o_bytes),
                    left.eq(Mux(self.flush, 0, left - 1)),
                ]

        return m
