"""Writes GGUF files of small Llamas."""

import gguf
import numpy as np

from sim.compiler.float_model import LlamaConfig

CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 264,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
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


def metadata(**changes):
    """What a file says, by key; a change of None leaves a key out."""
    values = {
        "general.architecture": "llama",
        "llama.block_count": CONFIG["num_hidden_layers"],
        "llama.context_length": CONFIG["max_position_embeddings"],
        "llama.embedding_length": CONFIG["hidden_size"],
        "llama.feed_forward_length": CONFIG["intermediate_size"],
        "llama.attention.head_count": CONFIG["num_attention_heads"],
        "llama.attention.head_count_kv": CONFIG["num_key_value_heads"],
        "llama.attention.layer_norm_rms_epsilon": CONFIG["rms_norm_eps"],
        "llama.rope.freq_base": CONFIG["rope_theta"],
        "llama.rope.dimension_count": 16,
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


def random_tensors(seed, config=CONFIG):
    """Random weights by Hugging Face's names."""
    rng = np.random.default_rng(seed)
    shapes = LlamaConfig.from_json(config).tensor_shapes()
    return {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def gguf_tensors(tensors):
    """The same tensors under the names, and in the order of rows, of llama.cpp."""
    result = {}
    for name, values in tensors.items():
        *prefix, rest = name.removesuffix(".weight").split(".", 3)
        if prefix[:2] == ["model", "layers"]:
            new = f"blk.{prefix[2]}.{NAMES[rest]}.weight"
        else:
            new = NAMES[name.removesuffix(".weight")] + ".weight"
        heads = {"attn_q": CONFIG["num_attention_heads"], "attn_k": CONFIG["num_key_value_heads"]}
        head_count = heads.get(new.split(".")[-2])
        if head_count:  # convert_hf_to_gguf.py, LlamaModel.permute
            shape = (head_count, 2, values.shape[0] // head_count // 2, *values.shape[1:])
            values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        result[new] = values
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
