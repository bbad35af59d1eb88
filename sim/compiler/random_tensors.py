"""Random weights for a decoder of any shape."""

from math import sqrt

import numpy as np

__all__ = ["random_tensors", "random_tokens"]


def random_tensors(config, seed, gain=1.0):
    """Return tensors whose activations are of order 1, with a few channels that stand out.

    Parameters
    ----------
    config : DecoderConfig
    seed : int
    gain : float
        Of the matrices of the layers.

    Returns
    -------
    dict
        By the names of `DecoderConfig.tensor_shapes`.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        x = rng.standard_normal(shape)
        if name.endswith("norm.gain"):
            x = np.exp(0.4 * x)
            # Behind a norm of a head more would leave each softmax with one position.
            x[rng.integers(shape[0])] *= 2 if name.endswith(("q_norm.gain", "k_norm.gain")) else 6
        elif name.endswith(".bias"):
            x *= 0.3
        elif name == "embedding":
            x *= 4 / sqrt(config.dim) / config.embedding_scale
        elif name == "positions":
            x *= 2 / sqrt(config.dim)
        else:
            x *= gain / sqrt(shape[1])
        tensors[name] = x
    return tensors


def random_tokens(config, seed, count=48):
    """Return ``count`` tokens below the vocabulary's end."""
    return np.random.default_rng(seed).integers(0, config.vocab, count)
