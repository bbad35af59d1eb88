"""The float32 forward of a decoder: what the quantiser measures, and is measured against."""

from math import erf

import numpy as np

from sim.compiler.rope_frequencies import rope_angles

__all__ = ["FloatModel"]


class FloatModel:
    """A decoder in float32.

    Parameters
    ----------
    config : DecoderConfig
    tensors : dict of arrays
        By the names of `DecoderConfig.tensor_shapes`.

    Raises
    ------
    ValueError
        A tensor that is missing or has another shape.
    """

    def __init__(self, config, tensors):
        self.config = config
        config.check(tensors)
        names = config.tensor_shapes()
        self.tensors = {name: np.asarray(tensors[name], dtype=np.float32) for name in names}

    def forward(self, tokens, statistics=None):
        """Return logits (tokens, vocab) of a sequence that begins at position 0.

        Parameters
        ----------
        tokens : sequence of int
        statistics : Statistics
            As for `hidden`.

        Raises
        ------
        ValueError
            As for `hidden`.
        """
        head = self.tensors["embedding" if self.config.tied else "head.weight"]
        logits = self.hidden(tokens, statistics) @ head.T
        return logits + self.tensors["head.bias"] if "head" in self.config.biases else logits

    def hidden(self, tokens, statistics=None):
        """Return what the head multiplies, (tokens, dim).

        With ``statistics``, adds for every layer n: ``n.attention_input``, ``n.o_input``,
        ``n.ffn_input`` and ``n.down_input`` for each channel; ``n.q`` and ``n.k`` (before and
        after rope; with QK-norm all behind the norm, and ``n.q_raw`` and ``n.k_raw`` before it),
        ``n.v``, ``n.gate``, ``n.up`` (if gated) and ``n.glu``, the input of down; ``head_input``
        for each channel; and the ``residual``.

        Raises
        ------
        ValueError
            More tokens than there are learned positions.
        """
        config = self.config
        seen = statistics.add if statistics is not None else lambda *_, **__: None
        x = self._embed(tokens, seen)
        rotate = self._rotation(len(tokens))
        for index in range(config.layers):
            h = self._norm(x, f"{index}.attention_norm")
            seen(f"{index}.attention_input", h, per_channel=True)
            o = self._attention(h, index, rotate, seen)
            seen(f"{index}.o_input", o, per_channel=True)
            x = x + self._linear(o, f"{index}.o")
            seen("residual", x)

            h = self._norm(x, f"{index}.ffn_norm")
            seen(f"{index}.ffn_input", h, per_channel=True)
            a = self._activate(h, index, seen)
            seen(f"{index}.glu", a)
            seen(f"{index}.down_input", a, per_channel=True)
            x = x + self._linear(a, f"{index}.down")
            seen("residual", x)
        h = self._norm(x, "final_norm")
        seen("head_input", h, per_channel=True)
        return h

    def _embed(self, tokens, seen):
        x = self.tensors["embedding"][np.asarray(tokens)] * np.float32(self.config.embedding_scale)
        seen("residual", x)
        if self.config.rope_frequencies is None:
            if len(tokens) > self.config.context:
                raise ValueError(f"tokens must be at most {self.config.context}, not {len(tokens)}")
            x = x + self.tensors["positions"][: len(tokens)]
            seen("residual", x)
        return x

    def _rotation(self, rows):
        """Return the function that rotates heads (heads, rows, head_dim)."""
        if self.config.rope_frequencies is None:
            return lambda x: x
        angles = rope_angles(self.config.rope_frequencies, range(rows))
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

        def rotate(x):
            a, b = np.split(x, 2, axis=-1)
            return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)

        return rotate

    def _linear(self, x, name):
        y = x @ self.tensors[f"{name}.weight"].T
        bias = self.tensors.get(f"{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, x, name):
        gain, wide = self.tensors[f"{name}.gain"], x.astype(np.float64)
        if self.config.norm == "layer":
            wide -= wide.mean(axis=-1, keepdims=True)
        y = _divided_by_rms(wide, self.config.epsilon) * gain
        return y + self.tensors[f"{name}.bias"] if self.config.norm == "layer" else y

    def _attention(self, h, index, rotate, seen):
        config, rows = self.config, len(h)

        def heads(name):
            x = self._linear(h, f"{index}.{name}").reshape(rows, -1, config.head_dim)
            if config.qk_norm and name != "v":
                seen(f"{index}.{name}_raw", x)
                gain = self.tensors[f"{index}.{name}_norm.gain"]
                x = _divided_by_rms(x.astype(np.float64), config.epsilon) * gain
            seen(f"{index}.{name}", x)
            return x.transpose(1, 0, 2)

        q, k, v = rotate(heads("q")), rotate(heads("k")), heads("v")
        seen(f"{index}.q", q)
        seen(f"{index}.k", k)
        hidden = _hidden_positions(rows, config.windows[index])
        output = np.empty_like(q)
        for head in range(config.heads):
            kv_head = head // (config.heads // config.kv_heads)
            # Divided: the default model's figures were measured with these roundings.
            scores = q[head] @ k[kv_head].T / np.float32(1 / config.score_scale) + hidden
            probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
            output[head] = probs / probs.sum(axis=-1, keepdims=True) @ v[kv_head]
        return output.transpose(1, 0, 2).reshape(rows, -1)

    def _activate(self, h, index, seen):
        gate = self._linear(h, f"{index}.gate")
        seen(f"{index}.gate", gate)
        a = _ACTIVATIONS[self.config.activation](gate)
        if not self.config.gated:
            return a
        up = self._linear(h, f"{index}.up")
        seen(f"{index}.up", up)
        return a * up


def _divided_by_rms(x, epsilon):
    return (x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)).astype(np.float32)


def _hidden_positions(rows, window):
    """Return what is added to scores (rows, rows): -inf where a row does not see a position."""
    position = np.arange(rows)
    distance = position[:, None] - position
    seen = (distance >= 0) & (distance < window) if window else distance >= 0
    return np.where(seen, 0, -np.inf).astype(np.float32)


def _silu(x):
    return x * (0.5 * (1 + np.tanh(0.5 * x)))


def _gelu(x):
    # numpy has no erf; Python's has the precision of its floats.
    return (0.5 * x * (1 + _erf(x / np.sqrt(2.0)))).astype(np.float32)


def _gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + 0.044715 * x**3)))


def _relu(x):
    return np.maximum(x, 0)


_erf = np.vectorize(erf, otypes=[np.float64])
_ACTIVATIONS = {"silu": _silu, "gelu": _gelu, "gelu_tanh": _gelu_tanh, "relu": _relu}
