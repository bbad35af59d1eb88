"""What the array must reach on an ECP5, whatever its budget."""

import re

__all__ = ["ARRAY", "CLOCKS", "PER_MAC", "array_goals", "clock", "plain"]

ARRAY = "core.matmul.array"  #: the array, without its tile

#: Clock that a unit must reach, in MHz; others must reach that of the chip.
CLOCKS = {ARRAY: 240, "top": 100}

#: Cells that the array may take for each MAC, by name and in words.
PER_MAC = {"lut": (30, "LUT4"), "ff": (110, "FF"), "dsp": (1, "DSP")}

_TILE = re.compile(r"\bcore\.tile_\d+(?=\.|$)")


def plain(unit):
    """Return the path of a unit without its tile: ``core.drain`` of ``core.tile_0.drain``."""
    return _TILE.sub("core", unit)


def clock(unit):
    """Return the clock that a unit must reach, in MHz."""
    return CLOCKS.get(plain(unit), CLOCKS["top"])


def array_goals(preset, config, units):
    """Return a line for each figure of an array that is above its goal.

    Parameters
    ----------
    preset : str
    config : ArchConfig
        Of the preset.
    units : dict
        Unit to figures, of which `PER_MAC` names those that count; others than arrays are left out.
    """
    macs = config.rows * config.cols
    return [
        f"{preset}: {unit}: {figures[name]:,} {label} for {macs} MACs, must be at most "
        f"{most * macs:,} ({most} each)"
        for unit, figures in units.items()
        if plain(unit) == ARRAY
        for name, (most, label) in PER_MAC.items()
        if figures[name] > most * macs
    ]
