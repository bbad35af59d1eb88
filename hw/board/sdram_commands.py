"""Puts the commands of an SDR-SDRAM on its pins."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.board.sdram_pins import (
    ALL_BANKS,
    BANK_WIDTH,
    COLUMN_WIDTH,
    COMMANDS,
    ROW_WIDTH,
    column_layout,
    row_layout,
)
from hw.lib.axi import RESP_OKAY

__all__ = ["SdramCommands", "mode_word"]


def mode_word(*, cas_latency, beat_words):
    """Return the mode register for bursts of ``beat_words`` words, counting upwards."""
    return (cas_latency << 4) | (beat_words.bit_length() - 1)


class SdramCommands(wiring.Component):
    """Encode the command of a cycle, whichever unit it comes from; at most one does.

    Parameters
    ----------
    cas_latency : int
        For the mode register.
    beat_words : int
        Words of a column command.
    id_width : int
        Width of an ID.

    Members
    -------
    column : In(column_layout(...))
        Column command. One with an error response leaves the chip alone.
    row : In(row_layout())
        Row command.
    other : In(3)
        Command of `COMMANDS` without an address of its own.
    command : Out(3)
        Pins ``ras_n``, ``cas_n`` and ``we_n``, the first highest.
    ba, a : Out
        Pins.

    Timing
    ------
    On the pins two cycles later.
    """

    def __init__(self, *, cas_latency, beat_words, id_width):
        self.mode = mode_word(cas_latency=cas_latency, beat_words=beat_words)
        self.beat_words = beat_words
        super().__init__({
            "column": In(column_layout(beat_words, id_width)),
            "row": In(row_layout()),
            "other": In(3),
            "command": Out(3, init=COMMANDS["nop"]),
            "ba": Out(BANK_WIDTH),
            "a": Out(ROW_WIDTH),
        })

    def elaborate(self, platform):
        m = Module()
        nop = COMMANDS["nop"]

        # Who it comes from, and what it says.
        is_column = Signal()
        is_write = Signal()
        is_activate = Signal()
        is_precharge = Signal()
        other = Signal(3, init=nop)
        column, row = self.column, self.row
        column_place = Signal(COLUMN_WIDTH, reset_less=True)
        column_bank = Signal(BANK_WIDTH, reset_less=True)
        row_place = Signal(ROW_WIDTH, reset_less=True)
        row_bank = Signal(BANK_WIDTH, reset_less=True)
        m.d.sync += [
            is_column.eq(column.valid & (column.resp == RESP_OKAY)),
            is_write.eq(column.write),
            is_activate.eq(row.activate),
            is_precharge.eq(row.precharge),
            other.eq(self.other),
            column_place.eq(Cat(Const(0, COLUMN_WIDTH - len(column.column)), column.column)),
            column_bank.eq(column.bank),
            row_place.eq(row.row),
            row_bank.eq(row.bank),
        ]

        with m.If(is_column):
            m.d.sync += [
                self.command.eq(COMMANDS["read"]),
                self.ba.eq(column_bank),
                self.a.eq(column_place),
            ]
            with m.If(is_write):
                m.d.sync += self.command.eq(COMMANDS["write"])
        with m.Elif(is_activate | is_precharge):
            m.d.sync += [
                self.command.eq(COMMANDS["active"]),
                self.ba.eq(row_bank),
                self.a.eq(row_place),
            ]
            with m.If(is_precharge):
                m.d.sync += [self.command.eq(COMMANDS["precharge"]), self.a.eq(0)]
        with m.Else():
            m.d.sync += [self.command.eq(other), self.ba.eq(0), self.a.eq(ALL_BANKS)]
            with m.If(other == COMMANDS["mode"]):
                m.d.sync += self.a.eq(self.mode)

        return m
