"""Appends block-quantised keys and values to the KV cache."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .activation_memory import Block
from .burst_cutter import command_layout
from .jobs import row_place
from .lib.slice import Slice
from .memory_controller import FETCH_BEATS_WIDTH
from .memory_writer import write_data_layout
from .spec.formats import BLOCK_LEN

__all__ = ["KvWriter", "kv_block_layout"]

_WORDS = BLOCK_LEN + 1  # of one block of K: the exponent, then 32 elements


def kv_block_layout(config):
    """Return the layout of a block to append: of a row's key or value, block of a KV head."""
    return data.StructLayout({
        "block": Block,
        "is_value": 1,
        "row": range(config.max_rows),
        "head": unsigned(8),
        "index": unsigned(4),
    })


class KvWriter(wiring.Component):
    """Write each block where `hw.spec.layout` says, and nowhere else.

    Head h lies on channel h mod tiles, and is head h // tiles there.

    A block of K is one burst of 33 words with one byte enabled in each: the column of its position.
    A block of V is its exponent, and a word in each substrip.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_block : In(stream of kv_block_layout)
        Blocks.
    kv_offset, head_stride, head_blocks : In
        Place of the layer in a channel's page, bytes from head to head, blocks of a head. They must
        hold while ``busy``.
    row, place : Out, In(row_place)
        Slot and position of a row, one cycle after its number.
    page_slot, page_index, page : Out, Out, In(32)
        Page table: address of a page, one cycle after slot and number.
    o_write, o_wdata : Out
        To the memory controller of channel ``channel``.
    channel : Out(range(config.tiles))
        Channel of the head. It holds while ``busy``.
    busy : Out(1)
        A block is inside.

    Timing
    ------
    Its first command is on offer six cycles after a block. Without stalls a block of K takes
    42 cycles, of V ``2 * subs + 10``; no other is taken meanwhile. ``o_wdata`` and
    ``i_block.ready`` come from registers.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i_block": In(stream.Signature(kv_block_layout(config))),
            "kv_offset": In(32),
            "head_stride": In(32),
            "head_blocks": In(4),
            "row": Out(range(config.max_rows)),
            "place": In(row_place(config)),
            "page_slot": Out(range(config.max_seqs)),
            "page_index": Out(range(max(2, config.max_pages))),
            "page": In(32),
            "o_write": Out(stream.Signature(command_layout(FETCH_BEATS_WIDTH))),
            "o_wdata": Out(stream.Signature(write_data_layout(config.port_bytes))),
            "channel": Out(range(config.tiles)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        port_bits = exact_log2(cfg.port_bytes)
        col_bits = exact_log2(cfg.cols)
        idle = Signal(init=1)  # the state of this name, for those who wait
        free = Signal(init=1)  # idle for a cycle, and the last word has left
        item = Signal(kv_block_layout(cfg))
        place = Signal(row_place(cfg))
        pos = place.position
        offset = pos[: exact_log2(cfg.page_len)]
        head_offset = Signal(32)  # of the head in a page
        group_blocks = Signal(16)
        place_in_page = Signal(32)  # of what is written next
        page = Signal(32)
        addr = Signal(32)  # of the byte or word to write
        sub = Signal(range(max(2, cfg.subs)))
        word = Signal(range(_WORDS + 1))
        bytes_left = Signal(8 * _WORDS)
        at = Signal(port_bits)  # byte of the beat
        beat = Signal(8 * cfg.port_bytes)
        strobe = Signal(cfg.port_bytes)

        # Between the readiness of the memory and the registers that a word moves.
        m.submodules.wdata = wdata = Slice(self.o_wdata.payload.shape())
        connect(m, wdata.o, flipped(self.o_wdata))

        tile_bits = exact_log2(cfg.tiles)
        m.d.comb += [
            self.busy.eq(~free),
            self.i_block.ready.eq(free),
            self.row.eq(item.row),
            self.page_slot.eq(place.slot),
            self.page_index.eq(pos[exact_log2(cfg.page_len) :]),
            self.o_write.p.addr.eq(Cat(Signal(port_bits), addr[port_bits:])),
        ]
        # An adder a cycle on the way to an address: what holds is added ahead.
        step = cfg.page_len * self.head_blocks  # bytes of one byte for each position and block
        exponents, values = Signal(32), Signal(32)  # places of V's in a head
        strides = [Signal(24, name=f"stride_{n}") for n in range(2)]  # to the head: two halves
        groups = Signal(16)  # blocks of the groups of positions before this one
        m.d.sync += [
            exponents.eq(step * _WORDS),
            values.eq(step * (_WORDS + 1)),
            strides[0].eq((item.head >> tile_bits) * self.head_stride[:16]),
            strides[1].eq((item.head >> tile_bits) * self.head_stride[16:]),
            groups.eq((offset >> col_bits) * self.head_blocks),
        ]
        value_place = item.index * (cfg.subs * cfg.page_len * cfg.cols) + (offset << col_bits)
        vectors = [
            Cat(*(item.block.q[cfg.cols * n + lane] for lane in range(cfg.cols)))
            for n in range(cfg.subs)
        ]

        m.d.sync += free.eq(idle & ~wdata.o.valid)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.row.eq(self.i_block.p.row)
                m.d.sync += item.eq(self.i_block.payload)
                with m.If(free & self.i_block.valid):
                    m.d.sync += [idle.eq(0), free.eq(0)]
                    m.next = "ROW"
            with m.State("ROW"):
                # Not from `item`, which is the next block while the last word still waits.
                m.d.sync += [place.eq(self.place), self.channel.eq(item.head[:tile_bits])]
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.d.sync += [
                    head_offset.eq(self.kv_offset + strides[0] + (strides[1] << 16)),
                    group_blocks.eq(groups + item.index),
                ]
                m.next = "PLACE"
            with m.State("PLACE"):
                m.d.sync += page.eq(self.page)
                with m.If(item.is_value):
                    exponent_place = item.index * cfg.page_len + offset
                    m.d.sync += place_in_page.eq(head_offset + exponents + exponent_place)
                with m.Else():
                    key_place = ((group_blocks << exact_log2(BLOCK_LEN)) + group_blocks) << col_bits
                    m.d.sync += place_in_page.eq(head_offset + key_place)
                m.next = "AIM"
            with m.State("AIM"):
                m.d.sync += [
                    word.eq(0),
                    sub.eq(0),
                    addr.eq(page + place_in_page),
                    place_in_page.eq(head_offset + values + value_place),
                    bytes_left.eq(Cat(item.block.exp, Signal(3), item.block.q)),
                ]
                m.next = "KEY"
                with m.If(item.is_value):
                    m.next = "EXPONENT"
            with m.State("KEY"):
                words_in = addr[col_bits:port_bits] if port_bits > col_bits else 0
                last_word = words_in + _WORDS - 1  # from the first beat's start on
                m.d.comb += [
                    self.o_write.valid.eq(1),
                    self.o_write.p.beats.eq((last_word >> (port_bits - col_bits)) + 1),
                ]
                m.d.sync += at.eq(Cat(offset[:col_bits], addr[col_bits:port_bits]))
                with m.If(self.o_write.ready):
                    m.next = "KEY_WORDS"
            with m.State("KEY_WORDS"):
                # One word a cycle; a beat leaves when its last word is in.
                value = bytes_left[:8]
                now_beat = Signal.like(beat)
                now_strobe = Signal.like(strobe)
                ends = Signal()
                shifted = Signal(8 * cfg.port_bytes)
                m.d.comb += [
                    shifted.eq(value << (at << 3)),
                    now_beat.eq(beat | shifted),
                    now_strobe.eq(strobe | (1 << at)),
                    ends.eq(
                        (at >> col_bits == (1 << (port_bits - col_bits)) - 1) | (word == _WORDS - 1)
                    ),
                    wdata.i.valid.eq(ends),
                    wdata.i.p.data.eq(now_beat),
                    wdata.i.p.strobe.eq(now_strobe),
                ]
                with m.If(~ends | wdata.i.ready):
                    m.d.sync += [
                        beat.eq(Mux(ends, 0, now_beat)),
                        strobe.eq(Mux(ends, 0, now_strobe)),
                        bytes_left.eq(bytes_left >> 8),
                        at.eq(at + cfg.cols),
                        word.eq(word + 1),
                    ]
                    with m.If(word == _WORDS - 1):
                        m.d.sync += idle.eq(1)
                        m.next = "IDLE"
            with m.State("EXPONENT"):
                m.d.comb += [self.o_write.valid.eq(1), self.o_write.p.beats.eq(1)]
                with m.If(self.o_write.ready):
                    m.next = "EXPONENT_BYTE"
            with m.State("EXPONENT_BYTE"):
                m.d.comb += [
                    wdata.i.valid.eq(1),
                    wdata.i.p.strobe.eq(1 << addr[:port_bits]),
                ]
                for lane in range(cfg.port_bytes):
                    m.d.comb += wdata.i.p.data[lane].eq(item.block.exp)
                with m.If(wdata.i.ready):
                    m.d.sync += addr.eq(page + place_in_page)
                    m.next = "VALUE"
            with m.State("VALUE"):
                m.d.comb += [self.o_write.valid.eq(1), self.o_write.p.beats.eq(1)]
                with m.If(self.o_write.ready):
                    m.next = "VALUE_WORD"
            with m.State("VALUE_WORD"):
                lanes = addr[col_bits:port_bits] if port_bits > col_bits else 0
                elements = Signal(8 * cfg.cols)
                m.d.comb += [
                    elements.eq(Array(vectors)[sub]),
                    wdata.i.valid.eq(1),
                    wdata.i.p.strobe.eq(((1 << cfg.cols) - 1) << (lanes * cfg.cols)),
                ]
                for lane in range(cfg.port_bytes):
                    element = elements.word_select(lane % cfg.cols, 8)
                    m.d.comb += wdata.i.p.data[lane].eq(element)
                with m.If(wdata.i.ready):
                    m.d.sync += [
                        addr.eq(addr + cfg.page_len * cfg.cols),
                        sub.eq(sub + 1),
                    ]
                    m.next = "VALUE"
                    with m.If(sub == cfg.subs - 1):
                        m.d.sync += idle.eq(1)
                        m.next = "IDLE"
        return m
