"""Qwen2, with biases of q, k and v, and Qwen3, with norms of q and k."""

from sim.compiler.families.common import (
    IGNORED,
    common_sources,
    read_common_config,
    read_windows,
)
from sim.compiler.families.family import Family

__all__ = ["QWEN2", "QWEN3"]


def _read_config(options, **choices):
    options.refuse_unsupported("sliding_window")
    window = 0
    if options.flag("use_sliding_window", False):
        no_window = options.has("sliding_window") and options.get("sliding_window") is None
        window = 0 if no_window else options.size("sliding_window", 4096)
    first = options.get("max_window_layers", 28)
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise ValueError(f"max_window_layers must be an integer from 0 on, not {first!r}")
    layers = options.layers("num_hidden_layers")
    windows = read_windows(options, layers, window, first, mixed=True)
    return read_common_config(options, kv_heads=32, context=32768, windows=windows, **choices)


def _read_qwen2(options):
    return _read_config(options, biases=("q", "k", "v"))


def _read_qwen3(options):
    biases = ("q", "k", "v", "o") if options.flag("attention_bias", False) else ()
    return _read_config(options, head_dim=128, biases=biases, qk_norm=True)


QWEN2 = Family(model_type="qwen2", read_config=_read_qwen2, sources=common_sources, ignored=IGNORED)
QWEN3 = Family(model_type="qwen3", read_config=_read_qwen3, sources=common_sources, ignored=IGNORED)
