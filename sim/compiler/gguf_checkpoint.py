"""Reads a GGUF file as the Hugging Face folder that it was made from."""

import math

from sim.compiler.error import CheckpointError
from sim.compiler.float_model import LlamaConfig
from sim.compiler.gguf_file import GgufFile
from sim.compiler.gguf_tokenizer import gguf_tokenizer

__all__ = ["GGUF_ARCHITECTURES", "GgufCheckpoint"]

#: Values of ``general.architecture`` that can be compiled.
GGUF_ARCHITECTURES = ("llama",)

#: Keys of ``config.json``, and where a file has them: after the architecture's name.
SIZES = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "max_position_embeddings": "context_length",
}
REALS = {"rms_norm_eps": "attention.layer_norm_rms_epsilon", "rope_theta": "rope.freq_base"}
NEEDED = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
MAX_CONTEXT = 1 << 20  # more positions than this are not asked for
#: Keys that would change what the model computes, and the values that they may have.
OPTIONS = {
    "rope.scaling.type": ("none",),
    "expert_count": (0,),
    "attention.sliding_window": (0,),
    "attention.causal": (True,),
    "embedding_scale": (1.0,),
    "residual_scale": (1.0,),
    "logit_scale": (1.0,),
    "attention.scale": (0.0,),
}
TOP = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class GgufCheckpoint:
    """A GGUF file whose header was read and checked.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    config : dict
        What ``config.json`` would say.
    tokenizer : Tokenizer
        From the metadata.

    Raises
    ------
    CheckpointError
        Anything that is missing, damaged, or not supported; it names the file, and key or tensor.
    """

    def __init__(self, path):
        self._file = GgufFile(path)
        self._metadata = self._file.metadata
        self.config = self._config()
        try:
            self._llama = LlamaConfig.from_json(self.config)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from None
        self._check_rope()
        self._check_tensors()
        self.tokenizer = gguf_tokenizer(path, self._metadata)

    def read_tensors(self):
        """Return the tensors: float32, by Hugging Face's names.

        Raises
        ------
        CheckpointError
            Of an unsupported type, or with a number that is not finite.
        """
        llama = self._llama
        tensors = {}
        for name in llama.tensor_shapes():
            values = self._file.read(_gguf_name(name))
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                values = _split_halves(values, llama.head_dim)
            tensors[name] = values
        return tensors

    def _refuse(self, what):
        raise CheckpointError(f"{self._file.path}: {what}")

    def _config(self):
        metadata = self._metadata
        architecture = metadata.get("general.architecture")
        if architecture not in GGUF_ARCHITECTURES:
            allowed = ", ".join(GGUF_ARCHITECTURES)
            self._refuse(f"general.architecture must be {allowed}, not {architecture!r}")
        for key, allowed in OPTIONS.items():
            value = metadata.get(f"{architecture}.{key}")
            if value is not None and value not in allowed:
                self._refuse(f"{architecture}.{key} must be {allowed[0]!r}, not {value!r}")
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        for name, key in (SIZES | REALS).items():
            value = metadata.get(f"{architecture}.{key}")
            if value is None and name in NEEDED:
                self._refuse(f"{architecture}.{key} is missing")
            wanted = int if name in SIZES else float
            if value is not None and type(value) is not wanted:
                self._refuse(f"{architecture}.{key} must be one {wanted.__name__}, not {value!r}")
            if wanted is float and value is not None and not 0 < value < math.inf:
                self._refuse(f"{architecture}.{key} must be positive and finite, not {value!r}")
            if value is not None:
                config[name] = value
        if config["num_hidden_layers"] > len(self._file.names):
            self._refuse(
                f"tensor blk.{config['num_hidden_layers'] - 1}.attn_norm.weight is missing"
            )
        if "max_position_embeddings" in config:
            config["max_position_embeddings"] = min(config["max_position_embeddings"], MAX_CONTEXT)
        if "token_embd.weight" not in self._file.names:
            self._refuse("tensor token_embd.weight is missing")
        config["vocab_size"] = self._file.shape("token_embd.weight")[0]
        config["tie_word_embeddings"] = "output.weight" not in self._file.names
        for name in ("bos", "eos"):
            key = f"tokenizer.ggml.{name}_token_id"
            if type(metadata.get(key, 0)) is not int:
                self._refuse(f"{key} must be one int, not {metadata[key]!r}")
            config[f"{name}_token_id"] = metadata.get(key)
        return config

    def _check_rope(self):
        rotated = self._metadata.get("llama.rope.dimension_count", self._llama.head_dim)
        if rotated != self._llama.head_dim:
            self._refuse(
                f"llama.rope.dimension_count must be that of a head ({self._llama.head_dim}), "
                f"not {rotated}"
            )

    def _check_tensors(self):
        shapes = {_gguf_name(name): shape for name, shape in self._llama.tensor_shapes().items()}
        for name in self._file.names:
            if name not in shapes:
                self._refuse(f"tensor {name} is none of llama's")
        for name, shape in shapes.items():
            if name not in self._file.names:
                self._refuse(f"tensor {name} is missing")
            if self._file.shape(name) != shape:
                self._refuse(f"tensor {name} must have shape {shape}, not {self._file.shape(name)}")


def _gguf_name(name):
    """Return the name that a file has for one of Hugging Face's tensors."""
    name = name.removesuffix(".weight")
    if name in TOP:
        return f"{TOP[name]}.weight"
    index, rest = name.removeprefix("model.layers.").split(".", 1)
    return f"blk.{index}.{LAYER[rest]}.weight"


def _split_halves(weight, head_dim):
    """Undo what llama.cpp does to q and k: rope's pairs from neighbours to halves of the head."""
    pairs = weight.reshape(-1, head_dim // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)
