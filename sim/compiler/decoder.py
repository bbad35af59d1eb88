"""What a decoder-only transformer computes, whatever family it comes from.

Readers turn a checkpoint into a `DecoderConfig` and tensors by the names of
`DecoderConfig.tensor_shapes`; float model, quantiser and compiler know nothing else of a model.
"""

from dataclasses import dataclass

from hw.spec.tables import ACTIVATIONS

__all__ = ["LINEARS", "DecoderConfig"]

#: The matrices of a layer, in the order in which a pass multiplies with them.
LINEARS = ("q", "k", "v", "o", "gate", "up", "down")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes and choices of a decoder, in elements.

    Parameters
    ----------
    layers, dim, heads, kv_heads, head_dim, ffn, vocab : int
        Sizes; ``heads`` is a multiple of ``kv_heads``, ``head_dim`` is even.
    context : int
        Positions that the model was made for.
    epsilon : float
        Of every norm.
    norm : str
        ``rms`` or ``layer``. A layer norm has a bias and takes the mean away first.
    activation : str
        A key of `hw.spec.tables.ACTIVATIONS`.
    gated : bool
        The network is down(act(gate) * up); otherwise down(act(gate)), and there is no ``up``.
    biases : tuple of str
        Those of `LINEARS`, and ``head``, that have a bias.
    qk_norm : bool
        RMS norms over each head of q and of k, before the rotation.
    windows : tuple of int
        For each layer the positions that a row sees, its own included; 0: all.
    rope_frequencies : tuple of float, or None
        Radians a position of each of the ``head_dim // 2`` pairs: scaling is in them already.
        Element i of a head is paired with i + head_dim / 2. None: learned positions are added to
        the embedding instead.
    embedding_scale : float
        Of the embedding, not of the head.
    score_scale : float
        Of q . k; 1 / sqrt(head_dim) almost everywhere.
    tied : bool
        The head's weights are the embedding's.
    bos_token, eos_token : int or None
    """

    layers: int
    dim: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    epsilon: float
    score_scale: float
    norm: str = "rms"
    activation: str = "silu"
    gated: bool = True
    biases: tuple = ()
    qk_norm: bool = False
    windows: tuple
    rope_frequencies: tuple | None
    embedding_scale: float = 1.0
    tied: bool = False
    bos_token: int | None = None
    eos_token: int | None = None

    def __post_init__(self):
        for name in ("layers", "dim", "heads", "kv_heads", "head_dim", "ffn", "vocab", "context"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide heads ({self.heads}), not {self.kv_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, not {self.head_dim}")
        for name, allowed in (("norm", ("rms", "layer")), ("activation", tuple(ACTIVATIONS))):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be {' or '.join(allowed)}, not {getattr(self, name)!r}"
                )
        if len(self.windows) != self.layers:
            raise ValueError(f"windows must be {self.layers}, not {len(self.windows)}")
        for window in self.windows:
            if not isinstance(window, int) or isinstance(window, bool) or window < 0:
                raise ValueError(f"a window must be an integer from 0 on, not {window!r}")
        for name in self.biases:
            if name not in (*LINEARS, "head"):
                raise ValueError(f"a bias must be of {', '.join(LINEARS)} or head, not {name!r}")
        frequencies = self.rope_frequencies
        if frequencies is not None and len(frequencies) != self.head_dim // 2:
            raise ValueError(
                f"rope_frequencies must be {self.head_dim // 2}, not {len(frequencies)}"
            )

    def tensor_shapes(self):
        """Return the shape of every tensor, by name; matrices are (outputs, inputs).

        ``embedding``, ``positions`` (learned ones), ``final_norm.gain``, ``head.weight`` (unless
        tied), ``head.bias``; for layer n ``n.attention_norm.gain``, ``n.q.weight``,
        ``n.q.bias``, ..., ``n.q_norm.gain``, ``n.k_norm.gain``, ``n.ffn_norm.gain``,
        ``n.gate.weight``, ...; every layer norm has a ``.bias`` beside its ``.gain``. A gain is the
        whole factor: where a checkpoint stores it less one, its reader has added the one.
        """
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        linears = {
            "q": (queries, self.dim),
            "k": (keys, self.dim),
            "v": (keys, self.dim),
            "o": (self.dim, queries),
            "gate": (self.ffn, self.dim),
            "up": (self.ffn, self.dim),
            "down": (self.dim, self.ffn),
        }
        if not self.gated:
            del linears["up"]
        shapes = {"embedding": (self.vocab, self.dim)}
        if self.rope_frequencies is None:
            shapes["positions"] = (self.context, self.dim)

        def add_norm(name):
            shapes[f"{name}.gain"] = (self.dim,)
            if self.norm == "layer":
                shapes[f"{name}.bias"] = (self.dim,)

        for index in range(self.layers):
            add_norm(f"{index}.attention_norm")
            if self.qk_norm:
                shapes[f"{index}.q_norm.gain"] = (self.head_dim,)
                shapes[f"{index}.k_norm.gain"] = (self.head_dim,)
            for name, shape in linears.items():
                shapes[f"{index}.{name}.weight"] = shape
                if name in self.biases:
                    shapes[f"{index}.{name}.bias"] = shape[:1]
            add_norm(f"{index}.ffn_norm")
        add_norm("final_norm")
        if not self.tied:
            shapes["head.weight"] = (self.vocab, self.dim)
        if "head" in self.biases:
            shapes["head.bias"] = (self.vocab,)
        return shapes

    def check(self, tensors):
        """Raise ValueError for a tensor that is missing or has another shape."""
        for name, shape in self.tensor_shapes().items():
            if name not in tensors:
                raise ValueError(f"tensor {name} is missing")
            if tuple(tensors[name].shape) != shape:
                raise ValueError(
                    f"tensor {name} must have shape {shape}, not {tuple(tensors[name].shape)}"
                )
