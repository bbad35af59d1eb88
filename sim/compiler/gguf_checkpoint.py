"""Reads a GGUF file: what it computes, its tensors, and its tokenizer."""

import math
from dataclasses import dataclass

from sim.compiler.decoder import LINEARS, DecoderConfig
from sim.compiler.error import CheckpointError
from sim.compiler.gguf_file import GgufFile
from sim.compiler.gguf_tokenizer import gguf_tokenizer, special_token
from sim.compiler.rope_frequencies import linear_frequencies, plain_frequencies

__all__ = ["GGUF_ARCHITECTURES", "GgufCheckpoint"]

ROPE_FACTORS = "rope_freqs.weight"  # a divisor for each frequency: what Llama 3 does to them
ROPE_THETA = 10000.0  # unless a file says otherwise
MAX_CONTEXT = 1 << 20  # more positions than this are not asked for
MAX_HEAD_DIM = 1024
#: Keys that would change what a model computes, and the values that they may have.
OPTIONS = {
    "attention.causal": (True,),
    "attention.scale": (0.0,),
    "attention.sliding_window_pattern": (),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attn_logit_softcapping": (0.0,),
    "final_logit_softcapping": (0.0,),
    "expert_count": (0,),
    "embedding_scale": (1.0,),
    "residual_scale": (1.0,),
    "logit_scale": (1.0,),
    "nextn_predict_layers": (0,),
    "pooling_type": (0,),
    "rope.scaling.type": ("none", "linear"),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (0.0,),
}
TOP = {
    "embedding": "token_embd.weight",
    "positions": "position_embd.weight",
    "final_norm.gain": "output_norm.weight",
    "final_norm.bias": "output_norm.bias",
    "head.weight": "output.weight",
    "head.bias": "output.bias",
}
LAYER = {
    "attention_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "o": "attn_output",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}
JOINED = "attn_qkv"  # q, k and v in one tensor


@dataclass(frozen=True, kw_only=True)
class _Architecture:
    """What the files of an architecture do not say, because its name does."""

    norm: str = "rms"
    epsilon_key: str = "attention.layer_norm_rms_epsilon"
    activation: str = "silu"
    gated: bool = True
    qk_norm: bool = False
    rotary: bool = True
    rope_factors: bool = False
    neighbours: bool = False  # rope's pairs are neighbours in the rows of q and k
    windowed: bool = False
    embedding_root: bool = False  # the embedding is multiplied by sqrt(dim)
    own_head: bool = True
    needed_biases: tuple = ()
    biases: tuple = ("q", "k", "v")  # those that a file may have besides


ARCHITECTURES = {
    "llama": _Architecture(rope_factors=True, neighbours=True, windowed=True, biases=LINEARS),
    "qwen2": _Architecture(biases=("q", "k", "v", "head")),
    "qwen3": _Architecture(qk_norm=True),
    "gemma": _Architecture(activation="gelu_tanh", embedding_root=True, own_head=False),
    "gpt2": _Architecture(
        norm="layer",
        epsilon_key="attention.layer_norm_epsilon",
        activation="gelu_tanh",
        gated=False,
        rotary=False,
        needed_biases=("q", "k", "v", "o", "gate", "down"),
        biases=(),
    ),
}
#: Values of ``general.architecture`` that can be compiled.
GGUF_ARCHITECTURES = tuple(ARCHITECTURES)


class GgufCheckpoint:
    """A GGUF file whose header was read and checked.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    config : DecoderConfig
    tokenizer : Tokenizer
        From the metadata.

    Raises
    ------
    CheckpointError
        Anything that is missing, damaged, or not supported; it names the file, and key or tensor.
    """

    def __init__(self, path):
        self._file = GgufFile(path)
        self._metadata, self._names = self._file.metadata, frozenset(self._file.names)
        self._name = self._metadata.get("general.architecture")
        if self._name not in GGUF_ARCHITECTURES:
            allowed = ", ".join(GGUF_ARCHITECTURES)
            self._refuse(f"general.architecture must be {allowed}, not {self._name!r}")
        self._architecture = ARCHITECTURES[self._name]
        self._check_options()
        self.config = self._config()
        self._check_tensors()
        self.tokenizer = gguf_tokenizer(path, self._metadata)

    def read_tensors(self):
        """Return the tensors: float32, by the names of `DecoderConfig.tensor_shapes`.

        Raises
        ------
        CheckpointError
            Of an unsupported type, or with a number that is not finite.
        """
        tensors = {}
        for name in self.config.tensor_shapes():
            stored, part = self._stored(name), None if name in TOP else name.split(".")[1]
            values = self._file.read(stored)
            if _is_joined(stored):
                values = values[self._rows()[part]].copy()
            if self._architecture.neighbours and part in ("q", "k"):
                values = _split_halves(values, self.config.head_dim)
            tensors[name] = values
        return tensors

    def _refuse(self, what):
        raise CheckpointError(f"{self._file.path}: {what}")

    def _get(self, key, kind, default=None):
        """Return a number of the architecture, which must be there unless it has a default."""
        value = self._metadata.get(f"{self._name}.{key}", default)
        if value is None:
            self._refuse(f"{self._name}.{key} is missing")
        if type(value) is not kind:
            self._refuse(f"{self._name}.{key} must be one {kind.__name__}, not {value!r}")
        if not 0 < value < math.inf:
            self._refuse(f"{self._name}.{key} must be positive and finite, not {value!r}")
        return value

    def _check_options(self):
        options = dict(OPTIONS)
        if not self._architecture.windowed:
            options["attention.sliding_window"] = (0,)
        for key, allowed in options.items():
            value = self._metadata.get(f"{self._name}.{key}")
            if value is not None and value not in allowed:
                texts = " or ".join(map(repr, allowed)) or "absent"
                self._refuse(f"{self._name}.{key} must be {texts}, not {value!r}")

    def _config(self):
        names, architecture = self._names, self._architecture
        layers = self._get("block_count", int)
        if layers > len(names):
            self._refuse(f"tensor blk.{layers - 1}.attn_norm.weight is missing")
        if TOP["embedding"] not in names:
            self._refuse(f"tensor {TOP['embedding']} is missing")
        dim, heads = self._get("embedding_length", int), self._get("attention.head_count", int)
        head_dim = self._head_dim(dim, heads)
        options = {
            "layers": layers,
            "dim": dim,
            "heads": heads,
            "kv_heads": self._get("attention.head_count_kv", int, heads),
            "head_dim": head_dim,
            "ffn": self._get("feed_forward_length", int),
            "vocab": self._file.shape(TOP["embedding"])[0],
            "context": min(self._get("context_length", int), MAX_CONTEXT),
            "epsilon": self._get(architecture.epsilon_key, float),
            "score_scale": 1 / math.sqrt(head_dim),
            "norm": architecture.norm,
            "activation": architecture.activation,
            "gated": architecture.gated,
            "biases": self._biases(layers),
            "qk_norm": architecture.qk_norm,
            "windows": (self._window(),) * layers,
            "rope_frequencies": self._frequencies(head_dim) if architecture.rotary else None,
            "embedding_scale": math.sqrt(dim) if architecture.embedding_root else 1.0,
            "tied": not architecture.own_head or TOP["head.weight"] not in names,
            "bos_token": self._token("bos"),
            "eos_token": self._token("eos"),
        }
        try:
            return DecoderConfig(**options)
        except ValueError as error:
            raise CheckpointError(f"{self._file.path}: {error}") from None

    def _head_dim(self, dim, heads):
        if f"{self._name}.attention.key_length" in self._metadata:
            head_dim = self._get("attention.key_length", int)
        elif dim % heads:
            self._refuse(
                f"{self._name}.attention.head_count must divide embedding_length ({dim}) where "
                f"attention.key_length is missing, not {heads}"
            )
        else:
            head_dim = dim // heads
        if head_dim > MAX_HEAD_DIM:
            self._refuse(f"a head must have at most {MAX_HEAD_DIM} elements, not {head_dim}")
        same = ("attention.value_length", "rope.dimension_count")
        for key in same if self._architecture.rotary else same[:1]:
            value = self._get(key, int, head_dim)
            if value != head_dim:
                self._refuse(f"{self._name}.{key} must be that of a head ({head_dim}), not {value}")
        return head_dim

    def _window(self):
        if self._metadata.get(f"{self._name}.attention.sliding_window") in (None, 0):
            return 0
        return self._get("attention.sliding_window", int)

    def _biases(self, layers):
        """Return the matrices that have a bias in some layer, and so must have one in each."""

        def found(name):
            inner = (f"{index}.{name}.bias" for index in range(layers))
            full = ["head.bias"] if name == "head" else inner
            return any(self._stored(one) in self._names for one in full)

        return (*self._architecture.needed_biases, *filter(found, self._architecture.biases))

    def _frequencies(self, head_dim):
        """Return the rope's frequencies in radians a position, with their scaling."""
        frequencies = plain_frequencies(head_dim, self._get("rope.freq_base", float, ROPE_THETA))
        if self._metadata.get(f"{self._name}.rope.scaling.type") != "none":
            old = self._get("rope.scale_linear", float, 1.0)  # the key's name in old files
            factor = self._get("rope.scaling.factor", float, old)
            frequencies = linear_frequencies(frequencies, factor)
        if not self._architecture.rope_factors or ROPE_FACTORS not in self._names:
            return frequencies
        self._check_shape(ROPE_FACTORS, (head_dim // 2,))
        factors = self._file.read(ROPE_FACTORS).tolist()
        if min(factors) <= 0:
            self._refuse(f"tensor {ROPE_FACTORS} must be positive, not {min(factors)}")
        return tuple(f / factor for f, factor in zip(frequencies, factors, strict=True))

    def _token(self, name):
        token = special_token(self._metadata, name)
        if token is not None and type(token) is not int:
            self._refuse(f"tokenizer.ggml.{name}_token_id must be one int, not {token!r}")
        return token

    def _stored(self, name):
        """Return the name of the file's tensor that has one of `DecoderConfig`'s, whole or not."""
        if name in TOP:
            return TOP[name]
        index, part, kind = name.split(".")
        kind = "weight" if kind == "gain" else kind
        joined = f"blk.{index}.{JOINED}.{kind}"
        if part in ("q", "k", "v") and joined in self._names:
            return joined
        if part == "gate" and not self._architecture.gated:
            part = "up"
        return f"blk.{index}.{LAYER[part]}.{kind}"

    def _rows(self):
        """Return where q, k and v are in the rows of a tensor that joins them."""
        config = self.config
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        return {
            "q": slice(0, queries),
            "k": slice(queries, queries + keys),
            "v": slice(queries + keys, queries + 2 * keys),
        }

    def _check_tensors(self):
        shapes = {}
        for name, shape in self.config.tensor_shapes().items():
            stored = self._stored(name)
            rows = self._rows()["v"].stop if _is_joined(stored) else shape[0]
            shapes[stored] = (rows, *shape[1:])
        known = {*shapes, ROPE_FACTORS} if self._architecture.rope_factors else shapes
        for name in self._file.names:
            if name not in known:
                self._refuse(f"tensor {name} is none of {self._name}'s")
        for name, shape in shapes.items():
            if name not in self._names:
                self._refuse(f"tensor {name} is missing")
            self._check_shape(name, shape)

    def _check_shape(self, name, shape):
        if self._file.shape(name) != shape:
            self._refuse(f"tensor {name} must have shape {shape}, not {self._file.shape(name)}")


def _is_joined(stored):
    return f".{JOINED}." in stored


def _split_halves(values, head_dim):
    """Undo what llama.cpp does to q and k: rope's pairs from neighbours to halves of the head."""
    pairs = values.reshape(-1, head_dim // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)
