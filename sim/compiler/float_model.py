"""The float32 forward of a decoder: what the quantiser measures, and is measured against."""

from dataclasses import dataclass
from math import erf

import numpy as np

from sim.compiler.rope_frequencies import rope_angles

__all__ = ["FloatModel", "LlamaConfig"]


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
        ``n.v``, ``n.gate``, ``n.up`` (if gated) and ``n.glu``, the input of down; and the
        ``residual``.

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
        return self._norm(x, "final_norm")

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
            scores = q[head] @ k[kv_head].T * np.float32(config.score_scale) + hidden
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


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The part of a ``config.json`` that says what a Llama computes."""

    layers: int
    dim: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    epsilon: float
    rope_theta: float
    tied: bool
    bos_token: int | None = None
    eos_token: int | None = None

    @classmethod
    def from_json(cls, config):
        """Read a ``config.json``, given as a dict.

        Raises
        ------
        ValueError
            An architecture or option that is not Llama's, a key that lacks, sizes that do not fit.
        """
        _check_options(config)
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        heads = _size(config, "num_attention_heads")
        dim = _size(config, "hidden_size")
        kv_heads = _size(config, "num_key_value_heads", heads)
        if heads % kv_heads:
            raise ValueError(
                f"num_key_value_heads must divide num_attention_heads ({heads}), not {kv_heads}"
            )
        if config.get("head_dim") is None and dim % heads:
            raise ValueError(f"num_attention_heads must divide hidden_size ({dim}), not {heads}")
        head_dim = _size(config, "head_dim", dim // heads)
        if head_dim % 2:
            raise ValueError(f"head_dim must be even, not {head_dim}")
        eos = config.get("eos_token_id")
        return cls(
            layers=_size(config, "num_hidden_layers"),
            dim=dim,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            ffn=_size(config, "intermediate_size"),
            vocab=_size(config, "vocab_size"),
            context=_size(config, "max_position_embeddings", 2048),
            epsilon=float(config.get("rms_norm_eps", 1e-6)),
            rope_theta=float(config.get("rope_theta", rope.get("rope_theta", 10000.0))),
            tied=bool(config.get("tie_word_embeddings", False)),
            bos_token=config.get("bos_token_id"),
            eos_token=eos[0] if isinstance(eos, list) else eos,
        )

    def tensor_shapes(self):
        """Return the shape of every tensor that must be there, by name."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        shapes = {"model.embed_tokens.weight": (self.vocab, self.dim)}
        for index in range(self.layers):
            layer = f"model.layers.{index}."
            shapes |= {
                layer + "input_layernorm.weight": (self.dim,),
                layer + "self_attn.q_proj.weight": (q, self.dim),
                layer + "self_attn.k_proj.weight": (kv, self.dim),
                layer + "self_attn.v_proj.weight": (kv, self.dim),
                layer + "self_attn.o_proj.weight": (self.dim, q),
                layer + "post_attention_layernorm.weight": (self.dim,),
                layer + "mlp.gate_proj.weight": (self.ffn, self.dim),
                layer + "mlp.up_proj.weight": (self.ffn, self.dim),
                layer + "mlp.down_proj.weight": (self.dim, self.ffn),
            }
        shapes["model.norm.weight"] = (self.dim,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab, self.dim)
        return shapes

    def check(self, tensors):
        """Raise ValueError for a tensor that lacks or has another shape."""
        for name, shape in self.tensor_shapes().items():
            if name not in tensors:
                raise ValueError(f"tensor {name} is missing")
            if tuple(tensors[name].shape) != shape:
                raise ValueError(
                    f"tensor {name} must have shape {shape}, not {tuple(tensors[name].shape)}"
                )


def _size(config, key, default=None):
    value = config.get(key)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"config.json must have {key}")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{key} must be a positive integer, not {value!r}")
    return value


def _check_options(config):
    kind = config.get("model_type", "llama")
    if kind != "llama":
        raise ValueError(f"model_type must be llama, not {kind!r}")
    allowed = {
        "hidden_act": ("silu", "swish"),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "partial_rotary_factor": (1, 1.0),
    }
    for key, values in allowed.items():
        if config.get(key) is not None and config[key] not in values:
            raise ValueError(f"{key} must be {values[0]!r}, not {config[key]!r}")
    for key in ("rope_scaling", "rope_parameters"):
        rope = config.get(key) or {}
        rope_type = rope.get("rope_type", rope.get("type", "default"))
        if rope_type != "default":
            raise ValueError(f"{key} must be of type default, not {rope_type!r}")
