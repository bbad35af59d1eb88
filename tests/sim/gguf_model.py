"""Writes GGUF files of small models, and checks that wrong ones are refused."""

from dataclasses import replace

import gguf
import numpy as np
import pytest

from sim.compiler.checkpoint import CheckpointError, read_checkpoint
from tests.sim import random_decoder
from tests.sim.random_decoder import FAMILIES

#: The architecture that files have for each of `FAMILIES`, and rope's theta.
ARCHITECTURES = {
    "llama": ("llama", 1e4),
    "llama3": ("llama", 5e5),
    "mistral": ("llama", 1e4),
    "ragged": ("llama", 1e4),
    "qwen2": ("qwen2", 1e6),
    "qwen3": ("qwen3", 1e6),
    "gemma": ("gemma", 1e4),
    "gpt2": ("gpt2", None),
}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMES = {
    "embedding": "token_embd",
    "positions": "position_embd",
    "final_norm": "output_norm",
    "head": "output",
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


def byte_alphabet():
    """The characters that stand for bytes 0 to 255 (GPT-2)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown}
    letters |= {byte: chr(256 + index) for index, byte in enumerate(rest)}
    return [letters[byte] for byte in range(256)]


TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    *byte_alphabet(),
    "he",
    "ll",
    "hell",
    "Ġt",
    "12",
]
MERGES = ["h e", "l l", "he ll", "Ġ t", "1 2"]
#: A SentencePiece vocabulary: (text, score, type), the best merge with the highest score.
PIECES = [
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)),
    ("▁t", -0.0, 1),
    ("he", -1.0, 1),
    ("ll", -2.0, 1),
    ("▁the", -3.0, 1),
    ("hell", -4.0, 1),
    ("▁▁", -5.0, 1),
    ("el", -6.0, 1),
    ("hel", -7.0, 1),
    *((letter, -10.0 - index, 1) for index, letter in enumerate("▁thelo12")),
    ("<|user|>", -1000.0, 4),
    ("[PAD]", -1000.0, 5),
]


def _family(name):
    """One of `FAMILIES`, with the vocabulary of TOKENS, as far as float32 holds it."""
    config = replace(FAMILIES[name], vocab=len(TOKENS), bos_token=1, eos_token=2)
    return replace(config, epsilon=float(np.float32(config.epsilon)))


GGUF_FAMILIES = {name: _family(name) for name in ARCHITECTURES}
CONFIG = GGUF_FAMILIES["llama"]


def metadata(family="llama", config=None, **changes):
    """What a file says, by key; a change of None leaves a key out."""
    config = config or GGUF_FAMILIES[family]
    architecture, theta = ARCHITECTURES[family]
    epsilon = "layer_norm" if config.norm == "layer" else "layer_norm_rms"
    values = {
        "block_count": config.layers,
        "context_length": config.context,
        "embedding_length": config.dim,
        "feed_forward_length": config.ffn,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        f"attention.{epsilon}_epsilon": config.epsilon,
    }
    if config.rope_frequencies is not None:
        values |= {"rope.freq_base": theta, "rope.dimension_count": config.head_dim}
    if config.windows[0]:
        values["attention.sliding_window"] = config.windows[0]
    values = {f"{architecture}.{key}": value for key, value in values.items()}
    values |= {
        "general.architecture": architecture,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (len(TOKENS) - 3),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": TEMPLATE,
    }
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in values.items() if value is not None}


def pieces_metadata(**changes):
    """The same with the tokenizer of PIECES."""
    texts, scores, types = map(list, zip(*PIECES, strict=True))
    return metadata(**{
        "tokenizer__ggml__model": "llama",
        "tokenizer__ggml__pre": "default",
        "tokenizer__ggml__tokens": texts,
        "tokenizer__ggml__scores": scores,
        "tokenizer__ggml__token_type": types,
        "tokenizer__ggml__merges": None,
        **changes,
    })


def random_tensors(seed, config=CONFIG):
    """Random weights by the names of `DecoderConfig.tensor_shapes`, in float32."""
    tensors = random_decoder.random_tensors(config, seed)
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def gguf_tensors(tensors, family="llama", config=None):
    """The same tensors under the names, and in the order of rows, of llama.cpp."""
    config = config or GGUF_FAMILIES[family]
    architecture, theta = ARCHITECTURES[family]
    result = {}
    for name, values in tensors.items():
        *index, part, kind = name.split(".") if "." in name else (name, "weight")
        stored = NAMES["up" if part == "gate" and not config.gated else part]
        kind = kind.replace("gain", "weight")
        if architecture == "llama" and part in ("q", "k"):  # pairs of the rope become neighbours
            halves = values.reshape(-1, 2, config.head_dim // 2, *values.shape[1:])
            values = halves.swapaxes(1, 2).reshape(values.shape)
        result[f"blk.{index[0]}.{stored}.{kind}" if index else f"{stored}.{kind}"] = values
    if architecture == "gpt2":
        result = join_qkv(result, config.layers)
    if family == "llama3":
        exponents = np.arange(config.head_dim // 2) * -2 / config.head_dim
        factors = theta**exponents / config.rope_frequencies
        result["rope_freqs.weight"] = factors.astype(np.float32)
    return result


def join_qkv(tensors, layers):
    """The same with q, k and v in one tensor."""
    result = dict(tensors)
    for index in range(layers):
        for kind in ("weight", "bias"):
            names = [f"blk.{index}.attn_{part}.{kind}" for part in "qkv"]
            if names[0] in result:
                joined = np.concatenate([result.pop(name) for name in names])
                result[f"blk.{index}.attn_qkv.{kind}"] = joined
    return result


def write_gguf(path, tensors, values=None, kinds=None):
    """Write a file; ``kinds`` gives types other than F32, with the bytes already made."""
    writer = gguf.GGUFWriter(path, "llama")
    add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32,
           float: writer.add_float32, list: writer.add_array}  # fmt: skip
    writer.kv_data[0].clear()  # general.architecture, which it writes by itself
    for key, value in (metadata() if values is None else values).items():
        add[type(value)](key, value)
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=(kinds or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refused(path, *parts):
    """Check that a file is refused with the path, once, and all of ``parts`` in the message."""
    with pytest.raises(CheckpointError) as info:
        read_checkpoint(path)
    for part in (path, *parts):
        assert str(part) in str(info.value)
    assert str(info.value).count(str(path)) == 1
