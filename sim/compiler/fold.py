"""Layer norms become RMS norms: the same function in what the chip computes."""

from dataclasses import replace

import numpy as np

from .decoder import LINEARS

__all__ = ["fold"]


def fold(config, tensors):
    """Return (config, tensors) of the same function whose norms are RMS norms.

    A layer norm takes the mean away, and a residual without a mean has none to lose: so whatever is
    added to the residual loses its mean here. What a norm adds goes into the biases of the matrices
    behind it. The head keeps its weights: only the embedding's are changed.

    Parameters
    ----------
    config : DecoderConfig
    tensors : dict of arrays
        By the names of `DecoderConfig.tensor_shapes`. Those returned are float64 where the norms
        were layer norms, and the same otherwise.

    Raises
    ------
    ValueError
        A tensor that is missing, or of another shape.
    """
    config.check(tensors)
    if config.norm == "rms":
        return config, tensors
    names = config.tensor_shapes()
    tensors = {name: np.asarray(tensors[name], dtype=np.float64) for name in names}
    tensors.setdefault("head.weight", tensors["embedding"])

    def take_mean_away(name, axis):
        if name in tensors:
            tensors[name] = tensors[name] - tensors[name].mean(axis=axis, keepdims=True)

    def move_bias(norm, linears):
        added = tensors.pop(f"{norm}.bias")
        for name in linears:
            bias = tensors.get(f"{name}.bias", 0.0)
            tensors[f"{name}.bias"] = bias + tensors[f"{name}.weight"] @ added

    take_mean_away("embedding", 1)
    take_mean_away("positions", 1)
    behind_ffn_norm = ("gate", "up") if config.gated else ("gate",)
    for index in range(config.layers):
        for name in ("o", "down"):
            take_mean_away(f"{index}.{name}.weight", 0)
            take_mean_away(f"{index}.{name}.bias", 0)
        move_bias(f"{index}.attention_norm", [f"{index}.{name}" for name in "qkv"])
        move_bias(f"{index}.ffn_norm", [f"{index}.{name}" for name in behind_ffn_norm])
    move_bias("final_norm", ["head"])
    biased = {*config.biases, *"qkv", *behind_ffn_norm, "head"}
    biases = tuple(name for name in (*LINEARS, "head") if name in biased)
    return replace(config, norm="rms", tied=False, biases=biases), tensors
