"""SDR-SDRAM chips by name: their data sheets' times, and those times in clock cycles."""

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["CHIPS", "MAX_POSTPONED", "SdramChip", "SdramTiming", "chip", "timing"]

MAX_POSTPONED = 8  #: refreshes that may be due


@dataclass(frozen=True, kw_only=True)
class SdramChip:
    """What a data sheet says of a chip with 16 data pins, four banks and burst mode.

    Parameters
    ----------
    sheet : str
        Where the times are from, with the revision.
    cl2_ns, cl3_ns : float
        Shortest clock period at a CAS latency of 2 and of 3 cycles.
    rcd_ns : float
        ACTIVE to READ or WRITE.
    rp_ns : float
        PRECHARGE to ACTIVE, REFRESH or MODE.
    ras_ns, ras_max_ns : float
        ACTIVE to PRECHARGE, at least and at most.
    rc_ns : float
        ACTIVE to ACTIVE of a bank.
    rfc_ns : float
        REFRESH to any command.
    rrd_ns, rrd_clocks : float, int
        ACTIVE to ACTIVE of another bank, the longer of the two.
    wr_ns, wr_clocks : float, int
        Last word written to PRECHARGE.
    mrd_ns, mrd_clocks : float, int
        MODE to any command.
    ref_ns : float
        Time in which every row is refreshed.
    power_up_ns : float
        Stable power and clock to the first command.
    init_refreshes : int
        REFRESH commands before the first use.
    rows, columns, banks : int
        Geometry: words of a row, rows of a bank.
    """

    sheet: str
    cl2_ns: float
    cl3_ns: float
    rcd_ns: float
    rp_ns: float
    ras_ns: float
    ras_max_ns: float
    rc_ns: float
    rfc_ns: float
    rrd_ns: float = 0
    rrd_clocks: int = 1
    wr_ns: float = 0
    wr_clocks: int = 1
    mrd_ns: float = 0
    mrd_clocks: int = 1
    ref_ns: float = 64e6
    power_up_ns: float = 200e3
    init_refreshes: int = 8
    rows: int = 8192
    columns: int = 512
    banks: int = 4

    @property
    def size_bytes(self):
        """Bytes of the chip."""
        return 2 * self.columns * self.rows * self.banks


# The chips that ULX3S boards were sold with: 4 banks x 8192 rows x 512 columns x 16 bits.
CHIPS = {
    "as4c16m16sa-6": SdramChip(
        sheet="Alliance AS4C16M16SA rev. 3.0, March 2015, table 16",
        cl2_ns=10, cl3_ns=6, rcd_ns=18, rp_ns=18, ras_ns=42, ras_max_ns=100e3, rc_ns=60, rfc_ns=60,
        rrd_ns=12, wr_ns=12, mrd_ns=12,
    ),
    "as4c16m16sa-7": SdramChip(
        sheet="Alliance AS4C16M16SA rev. 3.0, March 2015, table 16",
        cl2_ns=10, cl3_ns=7, rcd_ns=21, rp_ns=21, ras_ns=42, ras_max_ns=100e3, rc_ns=63, rfc_ns=63,
        rrd_ns=14, wr_ns=14, mrd_ns=14,
    ),
    "w9825g6kh-6": SdramChip(
        sheet="Winbond W9825G6JH rev. A04, November 2011, 9.5 (the die before KH)",
        cl2_ns=7.5, cl3_ns=6, rcd_ns=15, rp_ns=15, ras_ns=42, ras_max_ns=100e3, rc_ns=60, rfc_ns=60,
        rrd_clocks=2, wr_clocks=2, mrd_clocks=2,
    ),
    "is42s16160g-7": SdramChip(
        sheet="none at hand: the slowest times of the chips of this size and grade",
        cl2_ns=10, cl3_ns=7.5, rcd_ns=21, rp_ns=21, ras_ns=45, ras_max_ns=100e3, rc_ns=67.5,
        rfc_ns=67.5, rrd_ns=15, wr_ns=15, wr_clocks=2, mrd_ns=15, mrd_clocks=2,
    ),
}  # fmt: skip


def chip(name):
    """Return the chip called ``name``; ValueError names those there are."""
    if name not in CHIPS:
        raise ValueError(f"chip must be one of {', '.join(CHIPS)}, not {name!r}")
    return CHIPS[name]


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """The times of a chip in cycles of a clock.

    Parameters
    ----------
    chip : SdramChip
        The chip.
    clock_hz : int
        Its clock.
    cas_latency : int
        READ to the first word.
    rcd, rp, ras, rc, rfc, rrd, wr, mrd, power_up : int
        As in `SdramChip`, rounded up.
    refresh_interval : int
        From one REFRESH to the next on average: so short that each row is refreshed in time though
        `MAX_POSTPONED` refreshes wait; rounded down.
    """

    chip: SdramChip
    clock_hz: int
    cas_latency: int
    rcd: int
    rp: int
    ras: int
    rc: int
    rfc: int
    rrd: int
    wr: int
    mrd: int
    power_up: int
    refresh_interval: int


def timing(chip, clock_hz):
    """Return the `SdramTiming` of an `SdramChip` at a clock, in Hz.

    The CAS latency is the shortest that the chip allows.

    Raises
    ------
    TypeError, ValueError
        ``clock_hz`` is not an integer, or faster than the chip allows at any CAS latency.
    """
    if not isinstance(clock_hz, int) or isinstance(clock_hz, bool):
        raise TypeError(f"clock_hz must be an integer, not {clock_hz!r}")
    fastest = int(10**9 / Fraction(min(chip.cl2_ns, chip.cl3_ns)))
    if not 0 < clock_hz <= fastest:
        raise ValueError(f"clock_hz must be from 1 to {fastest}, not {clock_hz!r}")
    period = Fraction(10**9, clock_hz)

    def cycles(ns, least=1):
        return max(least, -int(-Fraction(ns) // period))

    return SdramTiming(
        chip=chip,
        clock_hz=clock_hz,
        cas_latency=2 if Fraction(chip.cl2_ns) <= period else 3,
        rcd=cycles(chip.rcd_ns),
        rp=cycles(chip.rp_ns),
        ras=cycles(chip.ras_ns),
        rc=cycles(chip.rc_ns),
        rfc=cycles(chip.rfc_ns),
        rrd=cycles(chip.rrd_ns, chip.rrd_clocks),
        wr=cycles(chip.wr_ns, chip.wr_clocks),
        mrd=cycles(chip.mrd_ns, chip.mrd_clocks),
        power_up=cycles(chip.power_up_ns),
        refresh_interval=int(Fraction(chip.ref_ns) / (chip.rows + MAX_POSTPONED) // period),
    )
