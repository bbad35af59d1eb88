"""Draw what `make perf` measured: the roofline, and where cycles go."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

__all__ = ["save_plots"]

SUFFIXES = ("png", "svg")
SIZE, RESOLUTION = (10, 4.6), 130  # inches, dots per inch


def save_plots(rows, config, preset, folder):
    """Write ``roofline`` and ``cycles``, each as PNG and SVG; return their paths.

    Parameters
    ----------
    rows : list of Row
    config : ArchConfig
        That all rows were measured on.
    preset : str
        Its name, for the titles.
    folder : Path
        Made if it is missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in (("roofline", _draw_roofline), ("cycles", _draw_cycles)):
        figure = Figure(figsize=SIZE, layout="constrained")
        draw(figure.subplots(), rows, config, preset)
        # Text stays text, and the same figures give the same file.
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            for suffix in SUFFIXES:
                path = folder / f"{name}.{suffix}"
                options = {"metadata": {"Date": None}} if suffix == "svg" else {}
                figure.savefig(path, dpi=RESOLUTION, **options)
                paths.append(path)
    return paths


def _draw_roofline(axes, rows, config, preset):
    peak, port = config.tiles * config.rows * config.cols, config.tiles * config.port_bytes
    ridge = peak / port
    intensities = [row.macs / (config.tiles * row.moved) for row in rows]
    reach = np.geomspace(min([*intensities, ridge]) / 2, max([*intensities, ridge]) * 2, 200)
    axes.plot(reach, np.minimum(reach * port, peak), color="black", label="roofline")
    for number, (row, intensity) in enumerate(zip(rows, intensities, strict=True)):
        label = f"{row.name}: {row.ratio:.1%}"
        axes.plot(intensity, row.macs / row.cycles, "o", color=f"C{number}", label=label)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="MACs for each byte that must move",
        ylabel="MACs a cycle",
        title=f"{preset}: {config.tiles} x {config.rows} x {config.cols} PEs, {port} bytes a cycle",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")


def _draw_cycles(axes, rows, config, preset):
    left = np.zeros(len(rows))
    for number, label in enumerate(rows[0].spent):
        share = np.array([row.spent[label] / row.cycles for row in rows])
        color = colormaps["tab20"](number)
        axes.barh(range(len(rows)), share, left=left, color=color, label=label)
        left += share
    for place, row in enumerate(rows):
        axes.text(1.01, place, f"{row.cycles:,}", va="center")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.16), xlabel="share of the cycles (their number behind the bar)")
    axes.set_title(f"{preset}: where cycles go")
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.15), ncols=6, fontsize="small")
