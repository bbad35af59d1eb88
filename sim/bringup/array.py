"""Rung 5: the array: products of random words, compared with golden."""

import numpy as np

from sim.bringup.execution import execute
from sim.bringup.operators import failure
from sim.bringup.programs import PROGRAMS, compiled_for, random_tokens
from sim.bringup.rung import RungFailed

__all__ = ["bad_columns", "climb"]


def climb(target):
    """Multiply rows of random activations by random weights, and look at V in the KV cache."""
    program, config = PROGRAMS["qkv"], target.settings.config
    whole = compiled_for(program.model, config)
    target.load(whole)
    prompt = random_tokens(target, config.max_rows + 1)  # two passes, the second with one row
    result = execute(target, program.compiled(whole), program.golden_model(), prompt, 1)
    want, got = (result.expected_cache().v, result.cache.v)
    if result.first is None:
        macs = result.counters["array_rows"] * config.rows * config.cols
        return [f"{macs} products, {got.size} sums as golden"]
    columns = bad_columns(want, got, config.cols)
    if columns:
        raise RungFailed(
            f"array: wrong sums in column {', '.join(map(str, columns))} of {config.cols} only",
            expected=f"V of {want.size} elements as golden",
            got=f"{int((want != got).sum())} elements differ; first: {result.first}",
            look="place and route: timing of these columns; a lower clock",
        )
    raise failure("array", result, "the clock: does place and route meet it? (`make pnr`)")


def bad_columns(want, got, count):
    """Return the columns of the array in which all wrong elements are, if not all have some."""
    channels = np.argwhere(want != got)[:, -1]
    columns = sorted({int(channel) % count for channel in channels})
    return columns if len(columns) < count else []
