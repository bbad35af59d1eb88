"""Boards by name: what is built for each, and what is soldered to it."""

from dataclasses import dataclass

__all__ = ["BOARDS", "BAUD", "Board", "board"]

#: Bits per second of the serial line: a rate that the USB chips of all boards make exactly.
BAUD = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with a 16-bit SDR-SDRAM.

    Parameters
    ----------
    name : str
        Of `hw.spec.bridge.BOARDS`.
    preset : str
        Configuration that fits its FPGA, of `hw.spec.presets`.
    clock_hz : int
        Clock of chip and SDRAM.
    sdram : str
        Its SDRAM, of `hw.board.sdram_timing.CHIPS`.
    capture_delay : int
        As for `SdramController`: cycles that registers in the pins take, out and in.
    loader : tuple of str
        What openFPGALoader is told of the board and of the cable to it; by default nothing.
    seed : int
        Of the placer, where no other is asked for: one with which the router ends.
    """

    name: str
    preset: str
    clock_hz: int
    sdram: str
    capture_delay: int = 1
    loader: tuple = ()
    seed: int = 1


BOARDS = {
    found.name: found
    for found in (
        # Boards were sold with several chips. No time of this one is shorter than another's. The
        # clock is one that place and route reaches. The SDRAM's clock is half a cycle late, 12.5 ns
        # at 40 MHz, in which a word comes back: one register on the way, not two.
        Board(
            name="ulx3s", preset="ulx3s", clock_hz=40_000_000, sdram="is42s16160g-7",
            loader=("--board", "ulx3s"),
        ),
        # openFPGALoader has no name for this module, nor has the module a cable: JTAG is on pins.
        Board(
            name="ulx4m_ls", preset="ulx3s", clock_hz=40_000_000, sdram="is42s16160g-7",
            loader=("--cable", "ft2232", "--fpga-part", "LFE5UM-85F"),
        ),
    )
}  # fmt: skip


def board(name):
    """Return the board called ``name``; ValueError names those there are."""
    if name not in BOARDS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
