"""Draw what `make eval` measured: noise by layer, and the loss difference token by token."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = ["save_plots"]

SUFFIXES = ("png", "svg")
SIZE, RESOLUTION = (11, 4.2), 130  # inches, dots per inch
SHOWN = 0.99  # share of the tokens that the vertical axis must show


def save_plots(result, name, folder):
    """Write ``eval.png`` and ``eval.svg``; return their paths.

    Parameters
    ----------
    result : Evaluation
        Of two tokens at least.
    name : str
        The model's, for the title.
    folder : Path
        Made if it is missing.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    ratio, error = result.ratio
    figure.suptitle(
        f"{name}: perplexity of the integers {ratio:.4f} ± {error:.4f} of float32's, "
        f"top-1 agreement {result.agreement:.1%} ({result.tokens:,} tokens)"
    )
    noise, losses = figure.subplots(1, 2)
    _draw_noise(noise, result.signal_to_noise)
    _draw_losses(losses, result.loss_differences)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"eval.{suffix}" for suffix in SUFFIXES]
    # Text stays text, and the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        for path in paths:
            options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
            figure.savefig(path, dpi=RESOLUTION, **options)
    return paths


def _draw_noise(axes, decibels):
    places = list(decibels)
    axes.plot(range(len(places)), list(decibels.values()), marker="o", markersize=3)
    step = max(1, len(places) // 8)
    axes.set_xticks(range(0, len(places), step), places[::step], rotation=30, ha="right")
    axes.set(title="residual", ylabel="signal to noise (dB)")
    axes.grid(alpha=0.3)


def _draw_losses(axes, differences):
    count = np.arange(1, len(differences) + 1)
    mean = np.cumsum(differences) / count
    square = np.cumsum(differences**2) / count
    error = np.sqrt(np.maximum(square - mean**2, 0) / count)
    axes.plot(count, differences, ".", markersize=1.5, alpha=0.35, color="tab:gray", label="token")
    axes.fill_between(
        count, mean - error, mean + error, alpha=0.4, color="tab:red", label="± 1 standard error"
    )
    axes.plot(count, mean, color="tab:red", label="mean so far")
    reach = np.quantile(np.abs(differences), SHOWN)
    if reach > 0:
        axes.set_ylim(-reach, reach)
    axes.set(title="loss, integers less float32", xlabel="token", ylabel="nats")
    axes.legend(loc="upper right", markerscale=5)
    axes.grid(alpha=0.3)
