"""The float32 forward of a Llama checkpoint: what the quantiser measures, and is measured against.

Tensors have the names of Hugging Face, configurations the keys of its ``config.json``.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["FloatModel", "LlamaConfig", "Statistics", "rope_angles"]


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


def rope_angles(config, positions):
    """Return the angle of every pair (positions, head_dim // 2), in float64."""
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    return np.asarray(positions, dtype=np.float64)[:, None] * frequencies


class Statistics:
    """Largest magnitudes seen, by name: of a whole tensor, or for each of its channels."""

    def __init__(self):
        self.largest = {}

    def add(self, name, x, per_channel=False):
        """Take in a tensor whose last axis are its channels."""
        seen = np.abs(x).reshape(-1, x.shape[-1]).max(axis=0) if per_channel else np.abs(x).max()
        self.largest[name] = np.maximum(self.largest.get(name, 0.0), seen)

    def __getitem__(self, name):
        return self.largest[name]


class FloatModel:
    """A Llama in float32.

    Parameters
    ----------
    config : LlamaConfig or dict
    tensors : dict of arrays
    """

    def __init__(self, config, tensors):
        self.config = config if isinstance(config, LlamaConfig) else LlamaConfig.from_json(config)
        self.config.check(tensors)
        names = self.config.tensor_shapes()
        self.tensors = {name: np.asarray(tensors[name], dtype=np.float32) for name in names}

    def forward(self, tokens, statistics=None):
        """Return logits (tokens, vocab) of a sequence that begins at position 0.

        Parameters
        ----------
        tokens : sequence of int
        statistics : Statistics
            As for `hidden`.
        """
        head = "model.embed_tokens.weight" if self.config.tied else "lm_head.weight"
        return self.hidden(tokens, statistics) @ self.tensors[head].T

    def hidden(self, tokens, statistics=None):
        """Return what the head multiplies, (tokens, dim).

        With ``statistics``, adds for every layer n: ``n.attention_input``, ``n.o_input``,
        ``n.ffn_input`` and ``n.down_input`` for each channel; ``n.q`` and ``n.k`` (before and
        after rope), ``n.v``, ``n.gate``, ``n.up`` and ``n.glu``; and the ``residual``.
        """
        config, tensors = self.config, self.tensors
        seen = statistics.add if statistics is not None else lambda *_, **__: None
        angles = rope_angles(config, range(len(tokens)))
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        x = tensors["model.embed_tokens.weight"][np.asarray(tokens)]
        seen("residual", x)
        for index in range(config.layers):
            weight = _prefixed(tensors, f"model.layers.{index}.")
            h = _rms_norm(x, weight("input_layernorm"), config.epsilon)
            seen(f"{index}.attention_input", h, per_channel=True)
            o = self._attention(h, weight, cos, sin, index, seen)
            seen(f"{index}.o_input", o, per_channel=True)
            x = x + o @ weight("self_attn.o_proj").T
            seen("residual", x)

            h = _rms_norm(x, weight("post_attention_layernorm"), config.epsilon)
            seen(f"{index}.ffn_input", h, per_channel=True)
            gate, up = h @ weight("mlp.gate_proj").T, h @ weight("mlp.up_proj").T
            a = gate * _sigmoid(gate) * up
            for name, value in (("gate", gate), ("up", up), ("glu", a)):
                seen(f"{index}.{name}", value)
            seen(f"{index}.down_input", a, per_channel=True)
            x = x + a @ weight("mlp.down_proj").T
            seen("residual", x)
        return _rms_norm(x, tensors["model.norm.weight"], config.epsilon)

    def _attention(self, h, weight, cos, sin, index, seen):
        config, rows = self.config, len(h)

        def heads(name):
            x = h @ weight(f"self_attn.{name}_proj").T
            seen(f"{index}.{name}", x)
            return x.reshape(rows, -1, config.head_dim).transpose(1, 0, 2)

        q, k, v = _rotate(heads("q"), cos, sin), _rotate(heads("k"), cos, sin), heads("v")
        seen(f"{index}.q", q)
        seen(f"{index}.k", k)
        later = np.triu(np.full((rows, rows), -np.inf, dtype=np.float32), 1)
        output = np.empty_like(q)
        for head in range(config.heads):
            kv_head = head // (config.heads // config.kv_heads)
            scores = q[head] @ k[kv_head].T / np.float32(np.sqrt(config.head_dim)) + later
            probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
            output[head] = probs / probs.sum(axis=-1, keepdims=True) @ v[kv_head]
        return output.transpose(1, 0, 2).reshape(rows, -1)


def _prefixed(tensors, prefix):
    def weight(name):
        return tensors[f"{prefix}{name}.weight"]

    return weight


def _rms_norm(x, gain, epsilon):
    scale = np.sqrt((x.astype(np.float64) ** 2).mean(axis=-1, keepdims=True) + epsilon)
    return (x / scale).astype(np.float32) * gain


def _rotate(x, cos, sin):
    """Rotary embedding in Hugging Face's order: element i is paired with i + head_dim / 2."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))
