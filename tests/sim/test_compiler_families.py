"""Folders of Hugging Face: every family's configuration and tensors."""

import re
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from sim.compiler.checkpoint import CheckpointError, read_checkpoint
from sim.compiler.families.options import Options
from sim.compiler.families.registry import ARCHITECTURES
from sim.compiler.float_model import FloatModel
from sim.compiler.rope_frequencies import (
    linear_frequencies,
    llama3_frequencies,
    plain_frequencies,
)
from tests.sim.hf_folder import CONFIGS, DECODERS, stored_tensors, write_folder
from tests.sim.random_decoder import LLAMA3_ROPE, random_tensors, random_tokens

LLAMA3 = CONFIGS["llama3"]["rope_scaling"]


def decoder(family, *left_out, **changes):
    """Return what the family makes of its usual config.json with changes."""
    values = CONFIGS[family] | changes
    for key in left_out:
        del values[key]
    return ARCHITECTURES[values["architectures"][0]].read_config(Options(values))


def checkpoint(folder, family, tensors, **changes):
    write_folder(folder, CONFIGS[family] | changes, tensors)
    return read_checkpoint(folder)


def refused(folder, family, tensors, message, **changes):
    with pytest.raises(CheckpointError) as info:
        checkpoint(folder, family, tensors, **changes)
    assert message in str(info.value)


@pytest.mark.parametrize("family", DECODERS)
def test_family_is_read(tmp_path, family):
    seed = 11
    print(f"seed {seed}")
    config, tensors = DECODERS[family], random_tensors(DECODERS[family], seed)
    read = checkpoint(tmp_path, family, stored_tensors(family, tensors))
    assert read.config == config
    assert set(read.tensors) == set(tensors)
    for name, array in tensors.items():
        assert read.tensors[name].dtype == np.float32
        np.testing.assert_allclose(read.tensors[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    tokens = random_tokens(config, seed, 30)
    logits = FloatModel(config, tensors).forward(tokens)
    difference = np.abs(FloatModel(read.config, read.tensors).forward(tokens) - logits).max()
    assert difference < 1e-4 * np.abs(logits).max()


@pytest.mark.parametrize("family", DECODERS)
def test_every_tensor_of_a_family_must_be_there(tmp_path, family):
    tensors = stored_tensors(family, random_tensors(DECODERS[family], 12))
    for name in tensors:
        short = name.removeprefix("transformer.")
        rest = {key: value for key, value in tensors.items() if key != name}
        refused(tmp_path, family, rest, f"tensor {short} is missing")


@pytest.mark.parametrize("family", DECODERS)
def test_tensor_of_another_family_is_named(tmp_path, family):
    tensors = stored_tensors(family, random_tensors(DECODERS[family], 13))
    name = "model.layers.0.post_feedforward_layernorm.weight"
    architecture = CONFIGS[family]["architectures"][0]
    refused(
        tmp_path, family, tensors | {name: np.ones(64, np.float32)},
        f"tensor {name} is none of {architecture}'s",
    )  # fmt: skip


def test_biases_of_attention_and_network():
    assert decoder("llama", attention_bias=True).biases == ("q", "k", "v", "o")
    assert decoder("llama", mlp_bias=True).biases == ("gate", "up", "down")
    assert decoder("qwen3", attention_bias=True).biases == ("q", "k", "v", "o")
    assert decoder("gemma", attention_bias=True).biases == ("q", "k", "v", "o")
    assert decoder("llama", attention_bias=False, mlp_bias=False).biases == ()


def test_llama_with_all_biases_is_read(tmp_path):
    config = replace(DECODERS["llama"], biases=("q", "k", "v", "o", "gate", "up", "down"))
    tensors = random_tensors(config, 14)
    stored = stored_tensors("llama", tensors)
    read = checkpoint(tmp_path, "llama", stored, attention_bias=True, mlp_bias=True)
    assert read.config == config
    np.testing.assert_array_equal(read.tensors["1.o.bias"], np.float32(tensors["1.o.bias"]))
    np.testing.assert_array_equal(read.tensors["0.up.bias"], np.float32(tensors["0.up.bias"]))


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("type_key", ["rope_type", "type"])
def test_rope_scaling(key, type_key):
    plain = plain_frequencies(32, 1e4)

    def scaled(kind, **values):
        return decoder("llama", **{key: {type_key: kind, **values}}).rope_frequencies

    assert scaled("default") == plain
    assert scaled("linear", factor=4.0) == linear_frequencies(plain, 4.0)
    values = {name: value for name, value in LLAMA3.items() if name != "rope_type"}
    assert scaled("llama3", **values) == llama3_frequencies(plain, **LLAMA3_ROPE)


def test_theta_is_in_either_place():
    assert decoder("llama", rope_theta=500).rope_frequencies == plain_frequencies(32, 500)
    rope = {"rope_type": "default", "rope_theta": 300.0}
    assert decoder("llama", rope_parameters=rope).rope_frequencies == plain_frequencies(32, 300)
    both = decoder("llama", rope_parameters=rope, rope_scaling=None, rope_theta=500)
    assert both.rope_frequencies == plain_frequencies(32, 300)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ("yarn", "rope_scaling must be null or an object, not 'yarn'"),
        *(
            ({"rope_type": kind, "factor": 2.0},
             f"rope_scaling must be of type default, linear, llama3, not '{kind}'")
            for kind in ("dynamic", "yarn", "longrope", "mrope")
        ),
        ({"type": "su"}, "rope_scaling must be of type default, linear, llama3, not 'su'"),
        ({"type": "linear"}, "rope_scaling of type linear must have factor"),
        ({"type": "linear", "factor": 0}, "factor must be a positive finite number, not 0"),
        *(
            ({key: value for key, value in LLAMA3.items() if key != name},
             f"rope_scaling of type llama3 must have {name}")
            for name in LLAMA3 if name != "rope_type"
        ),
        ({"full_attention": {"rope_type": "default"}}, "must be the same for all layers"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor must be"),
    ],
)  # fmt: skip
def test_rope_scaling_that_is_not_supported_is_named(tmp_path, rope, message):
    refused(tmp_path, "llama", {}, message, rope_scaling=rope)


def test_window_of_mistral():
    assert decoder("mistral", sliding_window=None).windows == (0, 0)
    assert decoder("mistral", "sliding_window").windows == (4096, 4096)
    assert decoder("mistral", layer_types=["sliding_attention"] * 2).windows == (20, 20)


def test_windows_of_qwen():
    for family in ("qwen2", "qwen3"):
        on = {"use_sliding_window": True, "sliding_window": 9}
        assert decoder(family, **on).windows == ((0, 9) if family == "qwen2" else (0, 0))
        assert decoder(family, **on, max_window_layers=0).windows == (9, 9)
        assert decoder(family, **on, max_window_layers=2).windows == (0, 0)
        types = ["sliding_attention", "full_attention"]
        assert decoder(family, **on, layer_types=types).windows == (9, 0)
        assert decoder(family, use_sliding_window=True, sliding_window=None).windows == (0, 0)
        with pytest.raises(ValueError, match=r"layer_types\[0\] must be full_attention, not"):
            decoder(family, layer_types=types)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("mistral", {"layer_types": ["full_attention"] * 2}, r"layer_types\[0\] must be sliding_"),
        ("qwen2", {"layer_types": ["full_attention"]}, "layer_types must be a list of 2"),
        ("qwen3", {"layer_types": ["full_attention", "x"]}, r"layer_types\[1\] must be full_att"),
        ("llama", {"layer_types": ["sliding_attention"] * 2}, r"layer_types\[0\] must be full_a"),
        ("mistral", {"sliding_window": -1}, "sliding_window must be a positive integer, not -1"),
        ("qwen2", {"max_window_layers": -1}, "max_window_layers must be an integer from 0 on"),
        ("qwen2", {"use_sliding_window": 1}, "use_sliding_window must be true or false, not 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(family, changes, message):
    with pytest.raises(ValueError, match=message):
        decoder(family, **changes)


def test_gemmas_gelu_is_the_approximation_unless_said_otherwise():
    assert decoder("gemma", hidden_act="gelu").activation == "gelu_tanh"
    assert decoder("gemma", "hidden_act").activation == "gelu_tanh"
    assert decoder("gemma", hidden_act="relu").activation == "relu"
    both = decoder("gemma", hidden_act="gelu", hidden_activation="gelu_pytorch_tanh")
    assert both.activation == "gelu_tanh"
    assert decoder("gemma", hidden_activation="gelu").activation == "gelu"


@pytest.mark.parametrize(
    ("name", "activation"),
    [("gelu_new", "gelu_tanh"), ("gelu_fast", "gelu_tanh"), ("gelu_pytorch_tanh", "gelu_tanh"),
     ("gelu", "gelu"), ("relu", "relu"), ("silu", "silu"), ("swish", "silu")],
)  # fmt: skip
def test_activations(name, activation):
    assert decoder("gpt2", activation_function=name).activation == activation
    assert decoder("llama", hidden_act=name).activation == activation


@pytest.mark.parametrize("name", ["quick_gelu", "relu2", "gelu_10", "", 3, ["silu"]])
def test_activation_must_be_known(tmp_path, name):
    refused(
        tmp_path, "gpt2", {}, "activation_function must be one of silu, ", activation_function=name
    )
    refused(tmp_path, "llama", {}, "hidden_act must be one of silu, ", hidden_act=name)


def test_sizes_have_the_defaults_of_the_family():
    assert decoder("llama", "num_key_value_heads").kv_heads == 4
    assert decoder("mistral", num_attention_heads=16, num_key_value_heads=None).kv_heads == 16
    assert decoder("mistral", "num_key_value_heads", num_attention_heads=16).kv_heads == 8
    assert decoder("qwen2", "num_key_value_heads", num_attention_heads=32).kv_heads == 32
    assert decoder("gemma", "num_key_value_heads", num_attention_heads=16).kv_heads == 16
    assert decoder("gemma", "head_dim").head_dim == 256
    assert decoder("qwen3", "head_dim").head_dim == 128
    assert decoder("qwen2", head_dim=24).head_dim == 24
    contexts = {"llama": 2048, "mistral": 131072, "qwen2": 32768, "qwen3": 32768, "gemma": 8192}
    for family, context in contexts.items():
        assert decoder(family, "max_position_embeddings").context == context
    gpt2 = decoder("gpt2", "n_inner", "n_positions", "layer_norm_epsilon", "activation_function")
    assert gpt2 == replace(DECODERS["gpt2"], ffn=256, context=1024)


def test_heads_are_tied_as_the_family_has_it():
    for family, tied in (("llama3", False), ("mistral", False), ("gemma", True), ("gpt2", True)):
        assert decoder(family).tied is tied
        assert decoder(family, tie_word_embeddings=not tied).tied is not tied


def test_scores_of_gpt2_may_be_unscaled():
    assert decoder("gpt2").score_scale == 1 / sqrt(16)
    assert decoder("gpt2", scale_attn_weights=False).score_scale == 1.0


def test_gpt2_is_read_without_prefix_and_with_what_older_files_have(tmp_path):
    tensors = random_tensors(DECODERS["gpt2"], 15)
    stored = stored_tensors("gpt2", tensors)
    bare = {name.removeprefix("transformer."): values for name, values in stored.items()}
    bare["h.0.attn.bias"] = np.tril(np.ones((1, 1, 64, 64), np.float32))
    bare["h.0.attn.masked_bias"] = np.float32([-1e4])
    bare["lm_head.weight"] = bare["wte.weight"]
    read = checkpoint(tmp_path, "gpt2", bare)
    assert set(read.tensors) == set(tensors)
    np.testing.assert_array_equal(read.tensors["1.k.weight"], np.float32(tensors["1.k.weight"]))
    bare["lm_head.weight"] = bare["wte.weight"] * 2
    refused(tmp_path, "gpt2", bare, "tensor lm_head.weight must equal wte.weight")
    read = checkpoint(tmp_path, "gpt2", bare, tie_word_embeddings=False)
    np.testing.assert_array_equal(read.tensors["head.weight"], bare["lm_head.weight"])


def test_matrices_of_gpt2_must_be_as_gpt2_stores_them(tmp_path):
    stored = stored_tensors("gpt2", random_tensors(DECODERS["gpt2"], 16))
    name = "transformer.h.1.attn.c_attn.weight"
    stored[name] = stored[name].T
    refused(
        tmp_path, "gpt2", stored, f"tensor {name} must have shape (64, 192), not (192, 64)"
    )  # fmt: skip


def test_tensor_with_and_without_prefix_is_refused(tmp_path):
    stored = stored_tensors("gpt2", random_tensors(DECODERS["gpt2"], 17))
    stored["wte.weight"] = stored["transformer.wte.weight"]
    refused(tmp_path, "gpt2", stored, "tensor wte.weight is there twice")


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("quantization_config", {"bits": 4}, "null, not {'bits': 4}: a file of quantised weights"),
        ("num_local_experts", 8, "0, not 8: a network of experts"),
        ("num_experts", 8, "0, not 8: a network of experts"),
        ("n_routed_experts", 8, "0, not 8: a network of experts"),
        ("attn_logit_softcapping", 50.0, "null, not 50.0: soft-capping of logits"),
        ("final_logit_softcapping", 30.0, "null, not 30.0: soft-capping of logits"),
        ("query_pre_attn_scalar", 256, "null, not 256: another scale of the scores"),
        ("attention_multiplier", 0.1, "null, not 0.1: another scale of the scores"),
        (
            "scale_attn_by_inverse_layer_idx",
            True,
            "false, not True: a scale of the scores in each layer",
        ),
        ("residual_multiplier", 0.2, "1.0, not 0.2: a scale of the residual"),
        ("embedding_multiplier", 12, "1.0, not 12: a scale of the embedding"),
        ("logits_scaling", 8.0, "1.0, not 8.0: a scale of the logits"),
        ("logit_scale", 0.1, "1.0, not 0.1: a scale of the logits"),
        ("partial_rotary_factor", 0.5, "1.0, not 0.5: partial rotary embedding"),
        ("rope_interleaved", True, "false, not True: rotary embedding of neighbours"),
        ("no_rope_layers", [1, 0], "null, not [1, 0]: a layer without rotary embedding"),
        ("use_mrope", True, "false, not True: multimodal rotary embedding"),
        ("alibi", True, "false, not True: ALiBi"),
        ("attention_chunk_size", 64, "null, not 64: attention in chunks"),
        ("use_bidirectional_attention", True, "false, not True: attention to later tokens"),
        ("add_cross_attention", True, "false, not True: cross-attention"),
        ("is_encoder_decoder", True, "false, not True: an encoder"),
        ("clip_qkv", 8.0, "null, not 8.0: clipping of q, k and v"),
        ("use_qk_norm", True, "false, not True: QK-norm"),
        ("qk_norm", True, "false, not True: QK-norm"),
        ("use_post_norm", True, "false, not True: a norm behind attention and network"),
        ("parallel_attn", True, "false, not True: attention beside the network"),
        ("use_parallel_residual", True, "false, not True: attention beside the network"),
        ("pruned_heads", {"0": [1]}, "{}, not {'0': [1]}: taking heads out"),
    ],
)
def test_option_that_is_not_supported_is_named(family, option, value, message):
    message = f"{option} must be {message} is not supported"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        decoder(family, **{option: value})
    assert decoder(family, **{option: None}) == decoder(family)


@pytest.mark.parametrize("family", ["llama", "gemma", "gpt2"])
def test_family_without_windows_refuses_one(family):
    message = "sliding_window must be null, not 64: a sliding window is not supported"
    with pytest.raises(ValueError, match=message):
        decoder(family, sliding_window=64)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"hidden_size": None}, "config.json must have hidden_size"),
        (
            "llama",
            {"num_attention_heads": 6, "head_dim": None},
            r"divide hidden_size \(64\), not 6",
        ),
        ("llama", {"num_key_value_heads": 3}, r"kv_heads must divide heads \(4\), not 3"),
        ("llama", {"head_dim": 31}, "head_dim must be even, not 31"),
        ("llama", {"vocab_size": 0}, "vocab_size must be a positive integer, not 0"),
        ("llama", {"hidden_size": "64"}, "hidden_size must be a positive integer, not '64'"),
        ("llama", {"rms_norm_eps": 0}, "rms_norm_eps must be a positive finite number, not 0"),
        ("llama", {"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false, not 1"),
        ("llama", {"eos_token_id": "2"}, "eos_token_id must be a token's number, or a list"),
        ("llama", {"head_dim": 1 << 40}, f"head_dim must be at most {1 << 24}, not {1 << 40}"),
        ("llama", {"num_hidden_layers": 9999}, "num_hidden_layers must be at most 1024, not 9999"),
        ("qwen2", {"num_hidden_layers": 9999}, "num_hidden_layers must be at most 1024, not 9999"),
        ("gpt2", {"n_layer": 9999}, "n_layer must be at most 1024, not 9999"),
        ("gpt2", {"n_head": 5}, r"n_head must divide n_embd \(64\), not 5"),
        ("gpt2", {"n_layer": None}, "config.json must have n_layer"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(family, changes, message):
    with pytest.raises(ValueError, match=message):
        decoder(family, **changes)
