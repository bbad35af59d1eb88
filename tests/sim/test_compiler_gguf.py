"""GGUF files: what is read, and what is refused."""

import random

import gguf
import numpy as np
import pytest

from sim.compiler.checkpoint import CheckpointError, read_checkpoint, read_tokenizer
from sim.compiler.float_model import LlamaConfig
from sim.compiler.gguf_file import QUANTISATIONS, GgufFile
from tests.sim.gguf_model import CONFIG, gguf_tensors, metadata, random_tensors, write_gguf

SEED = 31
DOWN = "blk.1.ffn_down.weight"
TYPES = gguf.GGMLQuantizationType


@pytest.fixture(scope="module")
def tensors():
    print(f"seed {SEED}")
    return random_tensors(SEED)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def refused(path, *parts):
    with pytest.raises(CheckpointError) as info:
        read_checkpoint(path)
    for part in (path, *parts):
        assert str(part) in str(info.value)


def test_is_the_folder_that_it_was_made_from(path, tensors):
    config, read, _ = read_checkpoint(write_gguf(path, gguf_tensors(tensors)))
    assert LlamaConfig.from_json(config) == LlamaConfig.from_json(
        CONFIG | {"bos_token_id": 1, "eos_token_id": 2, "rms_norm_eps": float(np.float32(1e-5))}
    )
    assert set(read) == set(tensors)
    for name, array in tensors.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], array, err_msg=name)


def test_head_of_its_own(path):
    tensors = random_tensors(SEED, CONFIG | {"tie_word_embeddings": False})
    config, read, _ = read_checkpoint(write_gguf(path, gguf_tensors(tensors)))
    assert config["tie_word_embeddings"] is False
    np.testing.assert_array_equal(read["lm_head.weight"], tensors["lm_head.weight"])


@pytest.mark.parametrize(
    ("kind", "step"),
    [("F16", 2**-11), ("BF16", 2**-8), ("Q8_0", 1 / 127), ("Q4_0", 1 / 8), ("Q4_1", 1 / 15)],
)
def test_rounded_weights_are_near(path, tensors, kind, step):
    made = gguf_tensors(tensors)
    values = made[DOWN]
    stored = gguf.quants.quantize(values, TYPES[kind])
    write_gguf(path, made | {DOWN: stored}, kinds={DOWN: TYPES[kind]})
    read = read_checkpoint(path).tensors["model.layers.1.mlp.down_proj.weight"]
    blocks = (*values.shape[:-1], -1, 32)
    spread = np.abs(values.reshape(blocks)).max(axis=-1, keepdims=True)
    error = np.abs(read - values).reshape(blocks)
    assert (error <= 1.01 * step * spread).all()
    assert error.max() > 0


def k_block(kind):
    """Return (bytes, numbers) of one block of 256 that was worked out by hand."""
    half = np.array([0.5], "<f2").tobytes()
    if kind == "Q6_K":  # every number is 0 - 32, times a scale of 3, times 1/2
        block = bytes(128 + 64) + bytes([3] * 16) + half
        return block, np.full(256, -48.0)
    scales = bytes([2] * 4 + [1] * 4 + [0] * 4)  # of the first four parts: 2, minimum 1
    block = half + half + scales + bytes([0x37] * 128)
    low_high = np.repeat([7.0, 3.0, 7.0, 3.0], 32)  # a part of 32 low halves, one of high halves
    return block, np.concatenate([low_high * 2 * 0.5 - 1 * 0.5, np.zeros(128)])


@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_k_blocks_are_as_worked_out(path, kind):
    block, numbers = k_block(kind)
    stored = np.frombuffer(block * 6, np.uint8).reshape(3, -1)  # rows of two blocks
    write_gguf(path, {"w": stored}, kinds={"w": TYPES[kind]})
    np.testing.assert_array_equal(GgufFile(path).read("w"), np.tile(numbers, (3, 2)))


def test_other_types_are_refused(path, tensors):
    made = gguf_tensors(tensors)
    stored = gguf.quants.quantize(made[DOWN], TYPES.Q5_0)
    write_gguf(path, made | {DOWN: stored}, kinds={DOWN: TYPES.Q5_0})
    refused(path, f"tensor {DOWN} must be of type {', '.join(QUANTISATIONS)}, not Q5_0")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_must_be_finite(path, tensors, number):
    made = gguf_tensors(tensors)
    made[DOWN] = made[DOWN].copy()
    made[DOWN][3, 5] = number
    refused(write_gguf(path, made), f"tensor {DOWN} must be finite, not {number} at [3, 5]")


def test_no_tensor_may_be_missing(path, tensors):
    for name in ("token_embd.weight", DOWN, "output_norm.weight"):
        made = gguf_tensors(tensors)
        del made[name]
        refused(write_gguf(path, made), f"tensor {name} is missing")


def test_layers_must_be_there(path, tensors):
    values = metadata(llama__block_count=1 << 31)
    write_gguf(path, gguf_tensors(tensors), values)
    refused(path, f"tensor blk.{(1 << 31) - 1}.attn_norm.weight is missing")


def test_tensors_must_be_llamas(path, tensors):
    made = gguf_tensors(tensors) | {"rope_freqs.weight": np.ones(8, np.float32)}
    refused(write_gguf(path, made), "tensor rope_freqs.weight is none of llama's")


def test_shapes_must_fit(path, tensors):
    made = gguf_tensors(tensors) | {DOWN: np.zeros((64, 95), np.float32)}
    refused(write_gguf(path, made), f"tensor {DOWN} must have shape (64, 96), not (64, 95)")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general__architecture": "mamba"}, "general.architecture must be llama, not 'mamba'"),
        ({"general__architecture": None}, "general.architecture must be llama, not None"),
        ({"llama__embedding_length": None}, "llama.embedding_length is missing"),
        ({"llama__embedding_length": 64.0}, "llama.embedding_length must be one int, not 64.0"),
        ({"llama__attention__head_count_kv": 3}, "num_key_value_heads must divide"),
        ({"llama__rope__scaling__type": "yarn"}, "llama.rope.scaling.type must be 'none'"),
        ({"llama__expert_count": 8}, "llama.expert_count must be 0, not 8"),
        ({"llama__rope__dimension_count": 8}, "must be that of a head (16), not 8"),
        ({"llama__rope__freq_base": -1.0}, "llama.rope.freq_base must be positive and finite"),
        ({"tokenizer__ggml__bos_token_id": 264}, "bos_token_id must be 0 to 263, not 264"),
        ({"tokenizer__ggml__eos_token_id": "2"}, "eos_token_id must be one int, not '2'"),
        ({"tokenizer__ggml__model": "llama"}, "ggml.model must be 'gpt2' (byte-level pairs)"),
        ({"tokenizer__ggml__pre": "qwen2"}, "ggml.pre must be smollm, gpt-2, default, not 'qwen2'"),
        ({"tokenizer__ggml__tokens": None}, "ggml.tokens must be a list of strings"),
        ({"tokenizer__ggml__merges": [1]}, "ggml.merges must be a list of strings"),
        ({"tokenizer__ggml__merges": ["h z"]}, "pairs of tokens that make a token, not 'h z'"),
        ({"tokenizer__ggml__token_type": [1]}, "ggml.token_type must be a list of 264 numbers"),
        ({"tokenizer__chat_template": "{% if"}, "the chat template is not one"),
        ({"tokenizer__chat_template": 3}, "the chat template must be a text, not int"),
        ({"general__alignment": 24}, "general.alignment must be a power of two, not 24"),
    ],
)  # fmt: skip
def test_metadata_must_fit(path, tensors, changes, message):
    refused(write_gguf(path, gguf_tensors(tensors), metadata(**changes)), message)


def test_tokenizer_must_fit_the_vocabulary(path):
    tensors = random_tensors(SEED, CONFIG | {"vocab_size": 200})
    refused(write_gguf(path, gguf_tensors(tensors)), "must have 200 tokens")


def test_tokens_must_differ(path, tensors):
    values = metadata()
    values["tokenizer.ggml.tokens"] = [*values["tokenizer.ggml.tokens"][:-1], "he"]
    write_gguf(path, gguf_tensors(tensors), values)
    refused(path, "tokenizer.ggml.tokens must be all different")


@pytest.mark.parametrize(
    "content", [b"", b"GGU", b"not one at all" * 9, b"GGUF\x01\0\0\0" + bytes(99)]
)
def test_file_must_be_gguf(path, content):
    path.write_bytes(content)
    refused(path)


def test_path_must_exist(path):
    refused(path, "is not a folder, and not a GGUF file")


def test_every_cut_is_an_error(path, tensors):
    whole = write_gguf(path, gguf_tensors(tensors)).read_bytes()
    for size in [*range(0, 9000, 97), len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        refused(path, "truncated")


def test_damage_is_an_error_or_harmless(path, tensors):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    whole = write_gguf(path, gguf_tensors(tensors)).read_bytes()
    header = whole.index(b"output_norm.weight") + 40
    refusals = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4))):
            damaged[rng.randrange(header)] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except CheckpointError:
            refusals += 1
    assert refusals > 50


def test_tokenizer_alone(path, tensors):
    tokenizer = read_tokenizer(write_gguf(path, gguf_tensors(tensors)))
    assert tokenizer.vocab_size == CONFIG["vocab_size"]
