"""Options of the simulated SDR-SDRAM (`sdram.sv`)."""

from fractions import Fraction
from pathlib import Path

__all__ = ["SOURCES", "plusargs"]

_HERE = Path(__file__).resolve().parent

#: What `sim.verilate.build` needs for it.
SOURCES = [_HERE / "sdram.sv", _HERE / "sdram.cpp"]

# Option: field of `hw.board.sdram_timing.SdramChip`.
_TIMES = {
    "trcd": "rcd_ns",
    "trp": "rp_ns",
    "tras": "ras_ns",
    "tras_max": "ras_max_ns",
    "trc": "rc_ns",
    "trfc": "rfc_ns",
    "trrd": "rrd_ns",
    "twr": "wr_ns",
    "tmrd": "mrd_ns",
    "tref": "ref_ns",
    "tcl2": "cl2_ns",
    "tcl3": "cl3_ns",
    "power_up": "power_up_ns",
}
_COUNTS = {
    "trrd_clocks": "rrd_clocks",
    "twr_clocks": "wr_clocks",
    "tmrd_clocks": "mrd_clocks",
    "init_refreshes": "init_refreshes",
}


def plusargs(chip, clock_hz, image, **faults):
    """Return the simulator's arguments for a chip.

    Parameters
    ----------
    chip : SdramChip
        Whose times are checked.
    clock_hz : int
        Its clock.
    image : Path
        File with its contents, which must exist.
    **faults
        Other options of `sdram.cpp`, without their ``sdram_``.
    """
    options = {name: int(Fraction(getattr(chip, field)) * 1000) for name, field in _TIMES.items()}
    options |= {name: getattr(chip, field) for name, field in _COUNTS.items()}
    options |= {"clock_hz": clock_hz, **faults}
    return [f"+sdram={Path(image).resolve()}"] + [
        f"+sdram_{name}={value}" for name, value in options.items()
    ]
