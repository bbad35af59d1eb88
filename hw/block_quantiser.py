"""From integers to blocks of bytes that share an exponent."""

from amaranth.hdl import Array, Cat, Module, Shape, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .lib.arithmetic import bit_length, magnitude, or_tree, round_half, saturate, with_half
from .lib.collision import UNDEFINED
from .lib.slice import Slice
from .spec.formats import ACT_WIDTH, BLOCK_LEN, EXP_WIDTH, FFN_WIDTH

__all__ = ["BlockQuantiser"]


class BlockQuantiser(wiring.Component):
    """Quantise every 32 consecutive elements to bytes with a shared power of two.

    Every block computes ``sim.golden.block_quantise``. The first transfer after reset begins a
    block; there is no other framing.

    Parameters
    ----------
    lanes : int
        Elements in a transfer. A power of two, at most 32.
    width : int
        Width of an element, in bits. 9 to 39.
    meta_shape : shape-like
        What travels along; that of a block's last transfer comes out with the block.

    Members
    -------
    i_act : In(stream.Signature(StructLayout))
        ``data``: consecutive elements. ``meta``.
    o_block : Out(stream.Signature(StructLayout))
        ``q``: the bytes of a block. ``exp``: its exponent. ``meta``.

    Timing
    ------
    Takes a transfer in every cycle. A block is on offer :attr:`latency` cycles after its last
    transfer, if the one before has left. ``i_act.ready`` comes from a register.

    Raises
    ------
    ValueError
        ``lanes`` or ``width`` out of range.
    TypeError
        ``meta_shape`` is no shape.
    """

    #: Cycles from a block's last transfer to the block, besides its transfers.
    STAGES = Slice.LATENCY + 4

    def __init__(self, *, lanes, width=FFN_WIDTH, meta_shape):
        if lanes not in (1, 2, 4, 8, 16, BLOCK_LEN):
            raise ValueError(f"lanes must be 1, 2, 4, 8, 16 or {BLOCK_LEN}, not {lanes!r}")
        widest = ACT_WIDTH + (1 << EXP_WIDTH) - 1
        if width not in range(ACT_WIDTH + 1, widest + 1):
            raise ValueError(
                f"width must be an integer from {ACT_WIDTH + 1} to {widest}, not {width!r}"
            )
        try:
            Shape.cast(meta_shape)
        except TypeError:
            raise TypeError(f"meta_shape must be a shape, not {meta_shape!r}") from None
        self.lanes = lanes
        self.width = width
        self.meta_shape = meta_shape
        super().__init__({
            "i_act": In(
                stream.Signature(
                    data.StructLayout({
                        "data": data.ArrayLayout(signed(width), lanes),
                        "meta": meta_shape,
                    })
                )
            ),
            "o_block": Out(
                stream.Signature(
                    data.StructLayout({
                        "q": data.ArrayLayout(signed(ACT_WIDTH), BLOCK_LEN),
                        "exp": unsigned(EXP_WIDTH),
                        "meta": meta_shape,
                    })
                )
            ),
        })

    @property
    def beats(self):
        """Transfers of one block."""
        return BLOCK_LEN // self.lanes

    @property
    def latency(self):
        """Cycles from a block's last transfer to the block, with no backpressure."""
        return self.beats + self.STAGES

    def elaborate(self, platform):
        m = Module()

        m.submodules.arriving = arriving = Slice(self.i_act.payload.shape())
        connect(m, flipped(self.i_act), arriving.i)
        i, o = arriving.o, self.o_block
        last_beat = self.beats - 1

        # One half of the buffer fills while the other empties, a beat a cycle.
        m.submodules.buffer = buffer = memory.Memory(
            shape=i.p.data.shape(), depth=2 * self.beats, init=[], attrs=UNDEFINED
        )
        write = buffer.write_port()
        read = buffer.read_port()
        full = Array(Signal(name=f"full_{half}") for half in range(2))
        bits = Array(
            Signal(self.width - 1, name=f"bits_{half}", reset_less=True) for half in range(2)
        )
        metas = [Signal(self.meta_shape, name=f"meta_{half}", reset_less=True) for half in range(2)]

        # Fill. The bits in which elements of the block differ from their sign are gathered.
        fill_half = Signal()
        fill_beat = Signal(range(self.beats))
        filling = Signal()
        m.d.comb += [
            i.ready.eq(~full[fill_half]),
            filling.eq(i.valid & i.ready),
            write.addr.eq(Cat(fill_beat, fill_half) if last_beat else fill_half),
            write.data.eq(i.p.data),
            write.en.eq(filling),
        ]
        beat_bits = or_tree(magnitude(i.p.data[lane]) for lane in range(self.lanes))
        with m.If(filling):
            m.d.sync += fill_beat.eq(fill_beat + 1)
            with m.If(fill_beat == 0):
                m.d.sync += bits[fill_half].eq(beat_bits)
            with m.Else():
                m.d.sync += bits[fill_half].eq(bits[fill_half] | beat_bits)
            with m.If(fill_beat == last_beat):
                m.d.sync += fill_half.eq(~fill_half)
                m.d.sync += full[fill_half].eq(1)
                for half in range(2):
                    with m.If(fill_half == half):
                        m.d.sync += metas[half].eq(i.p.meta)

        # The four stages below move all at once, or none does.
        advance = Signal()
        m.d.comb += advance.eq(o.ready | ~o.valid)

        # Fetch a beat.
        fetch_half = Signal()
        fetch_beat = Signal(range(self.beats))
        fetching = Signal()
        fetched_valid = Signal()
        fetched_beat = Signal.like(fetch_beat, reset_less=True)
        fetched_bits = Signal(self.width - 1, reset_less=True)
        fetched_meta = Signal(self.meta_shape, reset_less=True)
        m.d.comb += [
            fetching.eq(full[fetch_half] & advance),
            read.addr.eq(Cat(fetch_beat, fetch_half) if last_beat else fetch_half),
            read.en.eq(fetching),
        ]
        with m.If(advance):
            m.d.sync += [
                fetched_valid.eq(full[fetch_half]),
                fetched_beat.eq(fetch_beat),
                fetched_bits.eq(bits[fetch_half]),
                fetched_meta.eq(metas[0]),
            ]
            with m.If(fetch_half):
                m.d.sync += fetched_meta.eq(metas[1])
        with m.If(fetching):
            m.d.sync += fetch_beat.eq(fetch_beat + 1)
            with m.If(fetch_beat == last_beat):
                m.d.sync += fetch_half.eq(~fetch_half)
                m.d.sync += full[fetch_half].eq(0)

        # Find the block's exponent, while what was fetched goes into a register.
        found_valid = Signal()
        found_beat = Signal.like(fetch_beat, reset_less=True)
        found_exp = Signal(EXP_WIDTH, reset_less=True)
        found_meta = Signal(self.meta_shape, reset_less=True)
        found = Signal(i.p.data.shape(), reset_less=True)
        exp = Signal(EXP_WIDTH)
        bit_length(m, fetched_bits[ACT_WIDTH - 1 :], exp)
        with m.If(advance):
            m.d.sync += [
                found_valid.eq(fetched_valid),
                found_beat.eq(fetched_beat),
                found_exp.eq(exp),
                found_meta.eq(fetched_meta),
                found.eq(read.data),
            ]

        # Shift: what is left, and the bit after it.
        shifted_valid = Signal()
        shifted_beat = Signal.like(fetch_beat, reset_less=True)
        shifted_exp = Signal(EXP_WIDTH, reset_less=True)
        shifted_meta = Signal(self.meta_shape, reset_less=True)
        shifted = [
            Signal(signed(ACT_WIDTH + 1), name=f"shifted_{lane}", reset_less=True)
            for lane in range(self.lanes)
        ]
        with m.If(advance):
            m.d.sync += [
                shifted_valid.eq(found_valid),
                shifted_beat.eq(found_beat),
                shifted_exp.eq(found_exp),
                shifted_meta.eq(found_meta),
            ]
            for lane in range(self.lanes):
                m.d.sync += shifted[lane].eq(with_half(found[lane]) >> found_exp)

        # Round, and put the beat into its place in the block.
        with m.If(advance):
            m.d.sync += [
                o.valid.eq(shifted_valid & (shifted_beat == last_beat)),
                o.p.exp.eq(shifted_exp),
                o.p.meta.eq(shifted_meta),
            ]
        for beat in range(self.beats):
            with m.If(advance & shifted_valid & (shifted_beat == beat)):
                for lane in range(self.lanes):
                    m.d.sync += o.p.q[beat * self.lanes + lane].eq(
                        saturate(round_half(shifted[lane]), ACT_WIDTH)
                    )

        return m
