"""Draw where the area goes, as stacked bars."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

from .area import DEVICE, FIGURES
from .report import WHOLE, root

__all__ = ["parts", "save_plot"]

SIZE, RESOLUTION = (10, 5), 130  # inches, dots per inch
LARGEST = 15  #: units with a colour of their own


def parts(units):
    """Return unit to figures that add up to the chip: what holds others is shown by them."""
    top = root(units)
    holders = {top, WHOLE} | {unit.rpartition(".")[0] for unit in units}
    known = {unit: figures for unit, figures in units.items() if unit not in holders}
    size = {
        unit: max(figures[name] / DEVICE[name] for name in DEVICE)
        for unit, figures in known.items()
    }
    largest = sorted(known, key=size.get, reverse=True)[:LARGEST]
    chosen = {unit: known[unit] for unit in largest}
    others = {
        name: units[top][name] - sum(figures[name] for figures in chosen.values())
        for name in DEVICE
    }
    return chosen | {"others": others}


def save_plot(preset, units, folder):
    """Write ``areas.png`` and ``areas.svg`` of the units of `report.shown`; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(DEVICE))
    colours = colormaps["tab20"].colors
    for number, (unit, figures) in enumerate(parts(units).items()):
        share = np.array([figures[name] / DEVICE[name] for name in DEVICE])
        axes.barh(range(len(DEVICE)), share, left=left, color=colours[number], label=unit)
        left += share
    for place, name in enumerate(DEVICE):
        axes.text(left[place] + 0.01, place, f"{units[root(units)][name]:,}", va="center")
    axes.set_yticks(range(len(DEVICE)), [FIGURES[name] for name in DEVICE])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set(
        xlim=(0, max(1, *left) * 1.1),
        xlabel="share of an LFE5U-85F (the number behind the bar)",
        title=f"{preset}: where the area goes",
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=5, fontsize="small")
    paths = []
    # Text stays text, and the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "areas"}):
        for suffix in ("png", "svg"):
            path = folder / f"areas.{suffix}"
            part = path.with_name(f"areas.part.{suffix}")
            options = {"metadata": {"Date": None}} if suffix == "svg" else {}
            figure.savefig(part, dpi=RESOLUTION, **options)
            part.replace(path)
            paths.append(path)
    return paths
