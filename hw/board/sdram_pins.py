"""What goes to an SDR-SDRAM chip: its pins, commands and cooldowns."""

from amaranth.hdl import Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "ALL_BANKS",
    "BANKS",
    "BANK_WIDTH",
    "COLUMN_WIDTH",
    "COMMANDS",
    "DQ_WIDTH",
    "ROW_WIDTH",
    "SEGMENT_BEATS",
    "Cooldown",
    "SdramPins",
    "column_layout",
    "row_layout",
    "segment_layout",
]

DQ_WIDTH = 16  #: data pins

#: Commands as the pins (ras_n, cas_n, we_n), the first highest, while cs_n is low.
COMMANDS = {
    "mode": 0b000,
    "refresh": 0b001,
    "precharge": 0b010,
    "active": 0b011,
    "write": 0b100,
    "read": 0b101,
    "nop": 0b111,
}

ALL_BANKS = 1 << 10  #: address of a precharge of all banks

#: Widths of the addresses of all chips in `hw.board.sdram_timing`.
ROW_WIDTH, COLUMN_WIDTH, BANK_WIDTH = 13, 9, 2
BANKS = 1 << BANK_WIDTH

#: Beats of a segment at most.
SEGMENT_BEATS = 8


class SdramPins(wiring.Signature):
    """The pins, seen from the controller; ``dq`` in three parts, for the board's buffers."""

    def __init__(self):
        super().__init__({
            "cke": Out(1),
            "cs_n": Out(1),
            "ras_n": Out(1),
            "cas_n": Out(1),
            "we_n": Out(1),
            "ba": Out(BANK_WIDTH),
            "a": Out(ROW_WIDTH),
            "dqm": Out(DQ_WIDTH // 8),
            "dq_out": Out(DQ_WIDTH),
            "dq_oe": Out(1),
            "dq_in": In(DQ_WIDTH),
        })


def segment_layout(beat_words, id_width):
    """Return the layout of up to `SEGMENT_BEATS` beats in one row.

    ``column`` counts beats. ``last``: it ends the burst ``id``. With a ``resp`` that is not OKAY
    the chip is not touched.
    """
    return data.StructLayout({
        "write": 1,
        "resp": 2,
        "id": id_width,
        "last": 1,
        "row": ROW_WIDTH,
        "bank": BANK_WIDTH,
        "column": COLUMN_WIDTH - (beat_words - 1).bit_length(),
        "beats": range(SEGMENT_BEATS + 1),
    })


def column_layout(beat_words, id_width):
    """Return the layout of a column command, of one beat, as it is decided.

    ``final``: it is the last of its segment; ``last``: of its burst.
    """
    segment = segment_layout(beat_words, id_width)
    names = ("write", "resp", "id", "last", "bank", "column")
    return data.StructLayout({
        "valid": 1,
        "final": 1,
        **{name: segment[name].shape for name in names},
    })


def row_layout():
    """Return the layout of a row command as it is decided."""
    return data.StructLayout({
        "activate": 1,
        "precharge": 1,
        "bank": BANK_WIDTH,
        "row": ROW_WIDTH,
    })


class Cooldown:
    """Cycles until something is allowed again, as a shift register of ones: no counter, no carry.

    Parameters
    ----------
    m : Module
        Where the register is made.
    most : int
        Cycles at most.
    name : str
        Name of the register.
    """

    def __init__(self, m, most, name):
        self._m = m
        self.left = Signal(max(most - 1, 1), name=name)
        m.d.sync += self.left.eq(self.left >> 1)

    @property
    def over(self):
        """Whether it is allowed in this cycle."""
        return ~self.left[0]

    def start(self, cycles):
        """Forbid it until so many cycles from this one, or longer if it was forbidden longer."""
        self._m.d.sync += self.left.eq((self.left >> 1) | ((1 << (cycles - 1)) - 1))
