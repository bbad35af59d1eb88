"""Models in GGUF files: what is read, and what is refused."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from sim.compiler.checkpoint import read_checkpoint, read_tokenizer
from sim.compiler.float_model import FloatModel
from sim.compiler.gguf_file import GgufFile
from sim.compiler.rope_frequencies import linear_frequencies, plain_frequencies
from tests.sim.gguf_model import (
    ARCHITECTURES,
    CONFIG,
    GGUF_FAMILIES,
    gguf_tensors,
    join_qkv,
    metadata,
    random_tensors,
    refused,
    write_gguf,
)
from tests.sim.random_decoder import random_tokens

SEED = 31
DOWN = "blk.1.ffn_down.weight"


@pytest.fixture(scope="module")
def tensors():
    print(f"seed {SEED}")
    return random_tensors(SEED)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def read_family(path, name, config, join=False, **changes):
    """Write a model of a family and read it back: (what is read, what was written)."""
    print(f"seed {SEED}")
    tensors = random_tensors(SEED, config)
    made = gguf_tensors(tensors, name, config)
    made = join_qkv(made, config.layers) if join else made
    return read_checkpoint(write_gguf(path, made, metadata(name, config, **changes))), tensors


def same_tensors(read, tensors):
    assert set(read) == set(tensors)
    for name, array in tensors.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], array, err_msg=name)


@pytest.mark.parametrize("name", GGUF_FAMILIES)
def test_model_is_the_one_that_was_written(path, name):
    config = GGUF_FAMILIES[name]
    read, tensors = read_family(path, name, config)
    frequencies = read.config.rope_frequencies
    assert replace(read.config, rope_frequencies=config.rope_frequencies) == config
    if frequencies is not None:  # in float32 where a tensor scales them
        np.testing.assert_allclose(frequencies, config.rope_frequencies, rtol=1e-7)
    same_tensors(read.tensors, tensors)


@pytest.mark.parametrize("name", GGUF_FAMILIES)
def test_logits_are_those_of_the_model_that_was_written(path, name):
    config = GGUF_FAMILIES[name]
    read, tensors = read_family(path, name, config)
    tokens = random_tokens(config, SEED)
    logits = FloatModel(config, tensors).forward(tokens)
    assert logits.std() > 0.1
    np.testing.assert_allclose(
        FloatModel(read.config, read.tensors).forward(tokens), logits, atol=1e-4
    )


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gpt2"])
def test_head_of_its_own(path, name):
    config = replace(GGUF_FAMILIES[name], tied=False)
    read, tensors = read_family(path, name, config)
    assert read.config.tied is False
    same_tensors(read.tensors, tensors)


@pytest.mark.parametrize(
    ("name", "biases"),
    [
        ("llama", ("q", "k", "v", "o")),
        ("llama", ("q", "k", "v", "o", "gate", "up", "down")),
        ("qwen2", ()),
        ("qwen2", ("q", "k", "v", "head")),
        ("qwen3", ("q", "k", "v")),
        ("gemma", ("q", "k", "v")),
    ],
)
def test_biases_that_are_there_are_read(path, name, biases):
    read, tensors = read_family(path, name, replace(GGUF_FAMILIES[name], biases=biases))
    assert read.config.biases == biases
    same_tensors(read.tensors, tensors)


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_joined_q_k_and_v_are_taken_apart(path, name):
    config = replace(GGUF_FAMILIES[name], biases=("q", "k", "v"))
    read, tensors = read_family(path, name, config, join=True)
    assert not any("attn_q." in stored for stored in GgufFile(path).names)
    same_tensors(read.tensors, tensors)


def test_sizes_that_a_file_may_leave_out(path):
    config = replace(GGUF_FAMILIES["mistral"], kv_heads=4, windows=(0, 0))
    changes = {
        f"llama.{key}": None
        for key in (
            "attention.head_count_kv",
            "attention.key_length",
            "attention.value_length",
            "rope.freq_base",
            "rope.dimension_count",
        )
    }
    read, tensors = read_family(path, "mistral", config, **changes)
    assert read.config == config
    same_tensors(read.tensors, tensors)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}, 4.0),
        ({"llama.rope.scaling.factor": 4.0}, 4.0),
        ({"llama.rope.scale_linear": 2.5}, 2.5),
        ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, 1.0),
        ({"llama.rope.scaling.type": "linear"}, 1.0),
    ],
)
def test_linear_scaling_divides_the_frequencies(path, changes, factor):
    read, _ = read_family(path, "llama", CONFIG, **changes)
    expected = linear_frequencies(plain_frequencies(CONFIG.head_dim, 1e4), factor)
    assert read.config.rope_frequencies == expected


def test_scaling_and_factors_are_both_applied(path):
    plain, _ = read_family(path, "llama3", GGUF_FAMILIES["llama3"])
    both, _ = read_family(
        path, "llama3", GGUF_FAMILIES["llama3"], **{"llama.rope.scaling.factor": 2.0}
    )
    np.testing.assert_allclose(
        both.config.rope_frequencies, np.divide(plain.config.rope_frequencies, 2), rtol=1e-12
    )


def test_context_is_at_most_what_can_be_asked_for(path):
    read, _ = read_family(path, "llama", CONFIG, **{"llama.context_length": 1 << 22})
    assert read.config.context == 1 << 20


def test_gemma_scales_the_embedding_with_the_root_of_its_width(path):
    config = replace(GGUF_FAMILIES["gemma"], dim=48, embedding_scale=sqrt(48))
    assert read_family(path, "gemma", config)[0].config.embedding_scale == sqrt(48)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("llama", "token_embd.weight"),
        ("llama", DOWN),
        ("llama", "output_norm.weight"),
        ("qwen2", "blk.1.attn_k.bias"),
        ("qwen3", "blk.0.attn_q_norm.weight"),
        ("gpt2", "position_embd.weight"),
        ("gpt2", "blk.0.attn_qkv.bias"),
        ("gpt2", "blk.0.ffn_up.bias"),
        ("gpt2", "blk.1.attn_norm.bias"),
        ("gpt2", "output_norm.bias"),
    ],
)
def test_no_tensor_may_be_missing(path, name, stored):
    made = gguf_tensors(random_tensors(SEED, GGUF_FAMILIES[name]), name)
    del made[stored]
    missing = stored.replace("attn_qkv", "attn_q")  # which may be in a tensor of its own
    refused(write_gguf(path, made, metadata(name)), f"tensor {missing} is missing")


def test_layers_must_be_there(path, tensors):
    values = metadata(llama__block_count=1 << 31)
    write_gguf(path, gguf_tensors(tensors), values)
    refused(path, f"tensor blk.{(1 << 31) - 1}.attn_norm.weight is missing")


@pytest.mark.parametrize(
    ("name", "stored", "shape"),
    [
        ("llama", "rope_factors_long.weight", (16,)),
        ("llama", "blk.0.attn_q_norm.weight", (32,)),
        ("llama", "blk.0.ffn_gate_inp.weight", (8, 64)),
        ("qwen2", "rope_freqs.weight", (8,)),
        ("qwen2", "blk.0.attn_output.bias", (64,)),
        ("gemma", "output.weight", (264, 64)),
        ("gemma", "blk.0.post_attention_norm.weight", (64,)),
        ("gpt2", "blk.0.ffn_gate.weight", (128, 64)),
    ],
)
def test_tensors_must_be_the_architectures(path, name, stored, shape):
    made = gguf_tensors(random_tensors(SEED, GGUF_FAMILIES[name]), name)
    write_gguf(path, made | {stored: np.ones(shape, np.float32)}, metadata(name))
    refused(path, f"tensor {stored} is none of {ARCHITECTURES[name][0]}'s")


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.ones(15), "tensor rope_freqs.weight must have shape (16,), not (15,)"),
        (np.array([0.0] + [1.0] * 15), "tensor rope_freqs.weight must be positive, not 0.0"),
        (np.array([np.nan] + [1.0] * 15), "tensor rope_freqs.weight must be finite, not nan"),
    ],
)
def test_rope_factors_must_fit(path, tensors, factors, message):
    made = gguf_tensors(tensors) | {"rope_freqs.weight": factors.astype(np.float32)}
    refused(write_gguf(path, made), message)


@pytest.mark.parametrize(
    ("name", "stored", "shape", "wrong"),
    [
        ("llama", DOWN, (64, 96), (64, 95)),
        ("gpt2", "blk.0.attn_qkv.weight", (192, 64), (191, 64)),
        ("gpt2", "position_embd.weight", (64, 64), (63, 64)),
        ("qwen3", "blk.1.attn_k_norm.weight", (32,), (64,)),
        ("qwen2", "blk.1.attn_v.bias", (32,), (32, 1)),
    ],
)
def test_shapes_must_fit(path, name, stored, shape, wrong):
    made = gguf_tensors(random_tensors(SEED, GGUF_FAMILIES[name]), name)
    write_gguf(path, made | {stored: np.zeros(wrong, np.float32)}, metadata(name))
    refused(path, f"tensor {stored} must have shape {shape}, not {wrong}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"general__architecture": "mamba"},
            "general.architecture must be llama, qwen2, qwen3, gemma, gpt2, not 'mamba'",
        ),
        ({"general__architecture": None}, "qwen2, qwen3, gemma, gpt2, not None"),
        ({"llama__embedding_length": None}, "llama.embedding_length is missing"),
        ({"llama__context_length": None}, "llama.context_length is missing"),
        ({"llama__embedding_length": 64.0}, "llama.embedding_length must be one int, not 64.0"),
        ({"llama__feed_forward_length": [96, 96]}, "feed_forward_length must be one int, not [96"),
        ({"llama__attention__head_count": 0}, "head_count must be positive and finite, not 0"),
        ({"llama__attention__head_count_kv": 3}, "kv_heads must divide heads (4), not 3"),
        (
            {"llama__attention__key_length": None, "llama__attention__head_count": 5},
            "head_count must divide embedding_length (64) where attention.key_length is missing",
        ),
        ({"llama__attention__key_length": 4096}, "must have at most 1024 elements, not 4096"),
        ({"llama__attention__value_length": 16}, "value_length must be that of a head (32)"),
        ({"llama__rope__dimension_count": 8}, "must be that of a head (32), not 8"),
        (
            {"llama__rope__scaling__type": "yarn"},
            "llama.rope.scaling.type must be 'none' or 'linear', not 'yarn'",
        ),
        ({"llama__rope__scaling__factor": 0.0}, "rope.scaling.factor must be positive and finite"),
        ({"llama__attention__sliding_window": 1.0}, "sliding_window must be one int, not 1.0"),
        ({"llama__rope__freq_base": -1.0}, "llama.rope.freq_base must be positive and finite"),
        ({"tokenizer__ggml__bos_token_id": 264}, "bos_token_id must be 0 to 263, not 264"),
        ({"tokenizer__ggml__eos_token_id": "2"}, "eos_token_id must be one int, not '2'"),
        ({"tokenizer__chat_template": "{% if"}, "the chat template is not one"),
        ({"tokenizer__chat_template": 3}, "the chat template must be a text, not int"),
        ({"general__alignment": 24}, "general.alignment must be a power of two, not 24"),
    ],
)  # fmt: skip
def test_metadata_must_fit(path, tensors, changes, message):
    refused(write_gguf(path, gguf_tensors(tensors), metadata(**changes)), message)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("attention.causal", False, "True"),
        ("attention.scale", 0.5, "0.0"),
        ("attention.sliding_window_pattern", [True, False], "absent"),
        ("attention.clamp_kqv", 8.0, "0.0"),
        ("attention.max_alibi_bias", 8.0, "0.0"),
        ("attn_logit_softcapping", 50.0, "0.0"),
        ("final_logit_softcapping", 30.0, "0.0"),
        ("expert_count", 8, "0"),
        ("embedding_scale", 12.0, "1.0"),
        ("residual_scale", 0.25, "1.0"),
        ("logit_scale", 0.125, "1.0"),
        ("nextn_predict_layers", 1, "0"),
        ("pooling_type", 1, "0"),
        ("rope.scaling.attn_factor", 1.5, "1.0"),
        ("rope.scaling.yarn_ext_factor", 1.0, "0.0"),
    ],
)
@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_options_that_change_the_function_are_refused(path, name, option, value, allowed):
    made = gguf_tensors(random_tensors(SEED, GGUF_FAMILIES[name]), name)
    write_gguf(path, made, metadata(name, **{f"{name}.{option}": value}))
    refused(path, f"{name}.{option} must be {allowed}, not {value}")


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gemma", "gpt2"])
def test_window_must_say_which_layers_it_is_of(path, name):
    made = gguf_tensors(random_tensors(SEED, GGUF_FAMILIES[name]), name)
    key = f"{name}.attention.sliding_window"
    read_checkpoint(write_gguf(path, made, metadata(name, **{key: 0})))
    write_gguf(path, made, metadata(name, **{key: 32}))
    refused(path, f"{key} must be 0, not 32")


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_epsilon_must_be_the_architectures(path, name):
    made = gguf_tensors(random_tensors(SEED, GGUF_FAMILIES[name]), name)
    key = f"{name}.attention.layer_norm{'_rms' * (name == 'llama')}_epsilon"
    write_gguf(path, made, metadata(name, **{key: None}))
    refused(path, f"{key} is missing")


def test_tokenizer_must_fit_the_vocabulary(path):
    tensors = random_tensors(SEED, replace(CONFIG, vocab=200))
    refused(write_gguf(path, gguf_tensors(tensors)), "must have 200 tokens")


def test_tokenizer_alone(path, tensors):
    tokenizer = read_tokenizer(write_gguf(path, gguf_tensors(tensors)))
    assert tokenizer.vocab_size == CONFIG.vocab
