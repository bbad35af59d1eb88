"""SmoothQuant: move the spread between an activation's channels into the weights behind it."""

import numpy as np

__all__ = ["smooth_tensors"]

SMALLEST = 1e-5  # channels are taken for no smaller than this, relative to the largest


def smooth_tensors(config, tensors, statistics):
    """Return tensors, float64, of the same function whose linear inputs are more even.

    Parameters
    ----------
    config : LlamaConfig
    tensors : dict of arrays
    statistics : Statistics
        Of `FloatModel.hidden` with these tensors.
    """
    names = config.tensor_shapes()
    result = {name: np.asarray(tensors[name], dtype=np.float64) for name in names}
    for index in range(config.layers):
        prefix = f"model.layers.{index}."

        def weight(name, prefix=prefix):
            return f"{prefix}{name}.weight"

        q, k, v, o = (weight(f"self_attn.{name}_proj") for name in "qkvo")
        gate, up, down = (weight(f"mlp.{name}_proj") for name in ("gate", "up", "down"))
        for norm, kind, linears in (
            (weight("input_layernorm"), "attention_input", (q, k, v)),
            (weight("post_attention_layernorm"), "ffn_input", (gate, up)),
        ):
            seen = statistics[f"{index}.{kind}"]
            t = _factors(seen, _columns([result[name] for name in linears]))
            result[norm] = result[norm] / t
            for name in linears:
                result[name] = result[name] * t

        t = _factors(statistics[f"{index}.down_input"], _columns([result[down]]))
        result[down] = result[down] * t
        result[up] = result[up] / t[:, None]

        # All query heads of a group read the same v: one factor for each channel of a KV head.
        group = (config.kv_heads, config.heads // config.kv_heads, config.head_dim)
        seen = statistics[f"{index}.o_input"].reshape(group).max(axis=1)
        t = _factors(seen, _columns([result[o]]).reshape(group).max(axis=1))
        result[o] = result[o] * np.broadcast_to(t[:, None], group).reshape(-1)
        result[v] = result[v] / t.reshape(-1, 1)
    return result


def _columns(weights):
    """Return the largest magnitude of each input channel of matrices that share their input."""
    return np.max([np.abs(weight).max(axis=0) for weight in weights], axis=0)


def _factors(inputs, weights):
    """Return what to multiply weights with, and divide inputs by: geometric mean 1."""
    inputs = np.maximum(inputs, SMALLEST * (inputs.max() or 1.0))
    weights = np.maximum(weights, SMALLEST * (weights.max() or 1.0))
    t = np.sqrt(inputs / weights)
    return t / np.exp(np.log(t).mean())
