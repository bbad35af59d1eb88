"""What parity costs: the chip on an ECP5 with it and without."""

import dataclasses

from hw.spec.presets import preset
from scripts.synth.area import LUTS
from scripts.synth.design import BUILD, TOP, for_ecp5, without_sources
from scripts.synth.mapping import mapped

__all__ = ["area_lines", "cells"]

PRESET = "tiny"
_COLUMNS = {"LUT4": LUTS, "FF": {"TRELLIS_FF": 1}, "DP16KD": {"DP16KD": 1}}


def cells(config, folder=BUILD / "parity_cells"):
    """Return the cells of a chip on an ECP5, mapped module by module, by kind.

    Raises
    ------
    ToolError
        From Yosys.
    """
    from amaranth.back import rtlil

    from hw.top import Top

    text = without_sources(for_ecp5(rtlil.convert(Top(config), name=TOP)))
    return mapped({"ecp5": text}, TOP, folder)["ecp5"]


def area_lines():
    """Return (label, value) for each kind of cell: without parity, with it, and the difference."""
    plain = preset(PRESET)
    found = [cells(plain), cells(dataclasses.replace(plain, parity=True))]
    lines = []
    for label, weights in _COLUMNS.items():
        before, after = (
            sum(weight * counts.get(kind, 0) for kind, weight in weights.items())
            for counts in found
        )
        change = f"{100 * (after - before) / before:+.1f} %" if before else "from none"
        lines.append((
            f"{label} of `{PRESET}` without, with parity",
            f"{before:,}, {after:,} ({change})",
        ))
    return lines
