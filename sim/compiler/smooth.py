"""SmoothQuant: move the spread between an activation's channels into the weights behind it."""

import numpy as np

from .decoder import LINEARS

__all__ = ["smooth_tensors"]

SMALLEST = 1e-5  # channels are taken for no smaller than this, relative to the largest


def smooth_tensors(config, tensors, statistics):
    """Return tensors, float64, of the same function whose linear inputs are more even.

    What counts of an input is its root mean square: a block of 32 shares an exponent anew for each
    token, so a channel that is large once costs little.

    Parameters
    ----------
    config : DecoderConfig
        Of RMS norms (see `fold`), and not tied. Where no ``up`` takes part in the input of
        ``down``, nothing can be divided by what ``down`` is multiplied with, and both stay as they
        are.
    tensors : dict of arrays
    statistics : Statistics
        Of `FloatModel.hidden` with these tensors.
    """
    names = config.tensor_shapes()
    result = {name: np.asarray(tensors[name], dtype=np.float64) for name in names}

    def divide_outputs(linear, t):
        result[f"{linear}.weight"] = result[f"{linear}.weight"] / t[:, None]
        if f"{linear}.bias" in result:
            result[f"{linear}.bias"] = result[f"{linear}.bias"] / t

    def smooth_behind(norm, kind, linears):
        weights = [f"{name}.weight" for name in linears]
        t = _factors(statistics.mean_square(kind), _columns([result[name] for name in weights]))
        result[f"{norm}.gain"] = result[f"{norm}.gain"] / t
        for name in weights:
            result[name] = result[name] * t

    for index in range(config.layers):
        q, k, v, o, gate, up, down = (f"{index}.{name}" for name in LINEARS)
        smooth_behind(f"{index}.attention_norm", f"{index}.attention_input", (q, k, v))
        behind = (gate, up) if config.gated else (gate,)
        smooth_behind(f"{index}.ffn_norm", f"{index}.ffn_input", behind)

        if config.gated:
            weight = f"{down}.weight"
            seen = statistics.mean_square(f"{index}.down_input")
            t = _factors(seen, _columns([result[weight]]))
            result[weight] = result[weight] * t
            divide_outputs(up, t)

        # All query heads of a group read the same v: one factor for each channel of a KV head.
        group = (config.kv_heads, config.heads // config.kv_heads, config.head_dim)
        weight = f"{o}.weight"
        seen = statistics.mean_square(f"{index}.o_input").reshape(group).mean(axis=1)
        t = _factors(seen, _columns([result[weight]]).reshape(group).max(axis=1))
        result[weight] = result[weight] * np.broadcast_to(t[:, None], group).reshape(-1)
        divide_outputs(v, t.reshape(-1))
    smooth_behind("final_norm", "head_input", ("head",))
    return result


def _columns(weights):
    """Return the largest magnitude of each input channel of matrices that share their input."""
    return np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0)


def _factors(squares, weights):
    """Return what to multiply weights with, and divide inputs by: geometric mean 1."""
    inputs = np.sqrt(squares)
    inputs = np.maximum(inputs, SMALLEST * (inputs.max() or 1.0))
    weights = np.maximum(weights, SMALLEST * (weights.max() or 1.0))
    t = np.sqrt(inputs / weights)
    return t / np.exp(np.log(t).mean())
