"""Cases of a soak that do other things than run a chip."""

import os
from pathlib import Path

from scripts.verify.soak.outcome import Outcome

__all__ = ["kills_its_worker"]


def kills_its_worker(seed, *, folder, often):
    """End the process of seeds in ``often`` (seed to times); return what is left of them."""
    path = Path(folder) / f"{seed}"
    with path.open("a") as file:
        file.write("x")
    if path.stat().st_size <= often.get(seed, 0):
        os._exit(1)
    return Outcome(seed=seed, ok=True, values=1, sources="none")
