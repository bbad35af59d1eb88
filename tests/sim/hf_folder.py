"""Writes small models as Hugging Face publishes them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.numpy

from tests.sim.random_decoder import FAMILIES, LLAMA3_ROPE

__all__ = ["CONFIGS", "DECODERS", "stored_tensors", "write_folder"]

TOKENIZER = Path(__file__).resolve().parents[2] / "sim/models/default/tokenizer.json"
VOCAB = 1024  # that of this tokenizer

#: Decoders that have a family of Hugging Face, by its name.
DECODERS = {
    name: replace(config, vocab=VOCAB, bos_token=1, eos_token=2)
    for name, config in FAMILIES.items()
    if name != "ragged"
}


def _config(architecture, model_type, **changes):
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCAB,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "use_cache": True,
        "torch_dtype": "float32",
    } | changes


def _llama3_rope():
    rope = dict(LLAMA3_ROPE)
    return {"rope_type": "llama3", "original_max_position_embeddings": rope.pop("context")} | rope


#: What ``config.json`` says, by family.
CONFIGS = {
    "llama": _config(
        "LlamaForCausalLM", "llama", head_dim=32, rms_norm_eps=1e-5, tie_word_embeddings=True
    ),
    "llama3": _config(
        "LlamaForCausalLM",
        "llama",
        num_attention_heads=2,
        num_key_value_heads=None,
        rms_norm_eps=1e-5,
        rope_theta=5e5,
        rope_scaling=_llama3_rope(),
        eos_token_id=[2, 3],
    ),
    "mistral": _config("MistralForCausalLM", "mistral", rms_norm_eps=1e-5, sliding_window=20),
    "qwen2": _config(
        "Qwen2ForCausalLM",
        "qwen2",
        rope_theta=1e6,
        use_sliding_window=False,
        sliding_window=32,
        max_window_layers=1,
        tie_word_embeddings=True,
    ),
    "qwen3": _config(
        "Qwen3ForCausalLM", "qwen3", head_dim=32, rope_theta=1000000, tie_word_embeddings=True
    ),
    "gemma": _config(
        "GemmaForCausalLM",
        "gemma",
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        hidden_act="gelu",
        hidden_activation=None,
    ),
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": 64,
        "n_head": 4,
        "n_layer": 2,
        "n_inner": 128,
        "n_positions": 64,
        "n_ctx": 64,
        "vocab_size": VOCAB,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}

NAMES = {
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
} | {name: f"self_attn.{name}_proj" for name in "qkvo"}
NAMES |= {name: f"self_attn.{name}" for name in ("q_norm", "k_norm")}
TOP_NAMES = {
    "embedding": "model.embed_tokens.weight",
    "final_norm.gain": "model.norm.weight",
    "head.weight": "lm_head.weight",
}


def stored_tensors(family, tensors):
    """Return a decoder's tensors as a file has them, in float32."""
    tensors = {name: np.asarray(values, np.float32) for name, values in tensors.items()}
    if family == "gpt2":
        return _gpt2_tensors(tensors)
    stored = {}
    for name, values in tensors.items():
        if family == "gemma" and name.endswith(".gain"):
            values = values - 1
        if name in TOP_NAMES:
            stored[TOP_NAMES[name]] = values
        else:
            layer, module, kind = name.split(".")
            kind = kind.replace("gain", "weight")
            stored[f"model.layers.{layer}.{NAMES[module]}.{kind}"] = values
    return stored


def _gpt2_tensors(tensors):
    stored = {
        "transformer.wte.weight": tensors["embedding"],
        "transformer.wpe.weight": tensors["positions"],
        "transformer.ln_f.weight": tensors["final_norm.gain"],
        "transformer.ln_f.bias": tensors["final_norm.bias"],
    }
    if "head.weight" in tensors:
        stored["lm_head.weight"] = tensors["head.weight"]
    layer = 0
    while f"{layer}.q.weight" in tensors:
        old, new = f"{layer}.", f"transformer.h.{layer}."
        for norm, name in (("attention_norm", "ln_1"), ("ffn_norm", "ln_2")):
            stored[f"{new}{name}.weight"] = tensors[f"{old}{norm}.gain"]
            stored[f"{new}{name}.bias"] = tensors[f"{old}{norm}.bias"]
        for linears, name in (
            ("qkv", "attn.c_attn"), ("o", "attn.c_proj"),
            (("gate",), "mlp.c_fc"), (("down",), "mlp.c_proj"),
        ):  # fmt: skip
            weights = [tensors[f"{old}{linear}.weight"].T for linear in linears]
            biases = [tensors[f"{old}{linear}.bias"] for linear in linears]
            stored[f"{new}{name}.weight"] = np.concatenate(weights, axis=1)
            stored[f"{new}{name}.bias"] = np.concatenate(biases)
        layer += 1
    return stored


def write_folder(folder, config, stored):
    """Write config.json (a dict), the default model's tokenizer, and tensors as a file has them."""
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(TOKENIZER, folder)
    stored = {name: np.ascontiguousarray(values) for name, values in stored.items()}
    safetensors.numpy.save_file(stored, folder / "model.safetensors")
