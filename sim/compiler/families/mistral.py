"""Mistral: Llama with a sliding window."""

from sim.compiler.families.common import (
    IGNORED,
    common_sources,
    read_common_config,
    read_windows,
)
from sim.compiler.families.family import Family

__all__ = ["MISTRAL"]

USUAL_WINDOW = 4096  # null means none, but no word of it means this


def _read_config(options):
    options.refuse_unsupported("sliding_window")
    window = 0
    if options.get("sliding_window") is not None or not options.has("sliding_window"):
        window = options.size("sliding_window", USUAL_WINDOW)
    layers = options.layers("num_hidden_layers")
    return read_common_config(
        options, kv_heads=8, context=131072, windows=read_windows(options, layers, window)
    )


MISTRAL = Family(
    model_type="mistral", read_config=_read_config, sources=common_sources, ignored=IGNORED
)
