"""Folders of Hugging Face: what is read, and what is refused."""

import json

import numpy as np
import pytest
import safetensors.numpy

from hw.spec.presets import preset
from sim.compiler.checkpoint import CheckpointError, read_checkpoint
from sim.compiler.compile import compile_model
from sim.compiler.quantise import quantise
from tests.sim.hf_folder import CONFIGS, DECODERS, stored_tensors, write_folder
from tests.sim.random_decoder import random_tensors

DEFAULT = "sim/models/default"
CONFIG = CONFIGS["llama3"]
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def tensors():
    """Tensors by the names that they have in the file."""
    seed = 8
    print(f"seed {seed}")
    return stored_tensors("llama3", random_tensors(DECODERS["llama3"], seed))


@pytest.fixture
def folder(tmp_path, tensors):
    """A good checkpoint, which tests then damage."""
    write_folder(tmp_path, CONFIG, tensors)
    return tmp_path


def write_config(folder, **changes):
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))


def write_raw(path, header, data=b""):
    """Write a safetensors file by hand; ``header`` is a dict, or bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)


def refused(folder, *parts):
    with pytest.raises(CheckpointError) as info:
        read_checkpoint(folder)
    for part in parts:
        assert str(part) in str(info.value)


def assert_tensors(folder, expected):
    tensors = read_checkpoint(folder).tensors
    assert all(array.dtype == np.float32 for array in tensors.values())
    tensors = stored_tensors("llama3", tensors)
    assert set(tensors) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array.astype(np.float32), err_msg=name)


def test_float32_is_read_exactly(folder, tensors):
    assert_tensors(folder, tensors)


def test_float16_is_read_exactly(folder, tensors):
    half = {name: array.astype(np.float16) for name, array in tensors.items()}
    safetensors.numpy.save_file(half, folder / "model.safetensors")
    assert_tensors(folder, half)


def test_bfloat16_is_read_exactly(folder, tensors):
    header, data, expected = {"__metadata__": {"format": "pt"}}, b"", {}
    for name, array in tensors.items():
        upper = (array.view(np.uint32) >> 16).astype("<u2")
        expected[name] = (upper.astype(np.uint32) << 16).view(np.float32)
        offsets = [len(data), len(data) + upper.nbytes]
        header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": offsets}
        data += upper.tobytes()
    write_raw(folder / "model.safetensors", header, data)
    assert_tensors(folder, expected)


def shard(folder, tensors):
    """Replace the weights by two shards with an index."""
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for index, names in enumerate((list(tensors)[::2], list(tensors)[1::2])):
        file = f"model-{index + 1:05}-of-00002.safetensors"
        safetensors.numpy.save_file({name: tensors[name] for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_are_read(folder, tensors):
    shard(folder, tensors)
    assert_tensors(folder, tensors)


def test_shard_must_be_there(folder, tensors):
    shard(folder, tensors)
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(folder, folder / "model-00002-of-00002.safetensors", "is missing")


@pytest.mark.parametrize("weight_map", [None, {"a": "../b"}, {"a": 1}])
def test_index_must_name_files_of_the_folder(folder, tensors, weight_map):
    shard(folder, tensors)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    refused(folder, index, "weight_map must name a file of this folder for each tensor")


def test_config_and_tokenizer_are_read(folder):
    checkpoint = read_checkpoint(str(folder))
    config, _, tokenizer = checkpoint
    assert config == DECODERS["llama3"]
    assert tokenizer.decode(tokenizer.encode("She was")) == "She was"
    assert checkpoint.config is config


def test_default_model_compiles_for_every_preset(pytestconfig):
    config, tensors, tokenizer = read_checkpoint(pytestconfig.rootpath / DEFAULT)
    model = quantise(config, tensors, tokenizer.encode("She was not at all sure of it."))
    for name in ("tiny", "small"):
        assert compile_model(model, preset(name)).memory_map.size_bytes < 1 << 24


def test_tensors_that_follow_from_others_are_left_out(folder, tensors):
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(16, np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    assert set(read_checkpoint(folder).tensors) == set(DECODERS["llama3"].tensor_shapes())


def test_tied_head_may_be_there_again(folder, tensors):
    write_config(folder, tie_word_embeddings=True)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    assert "head.weight" not in read_checkpoint(folder).tensors
    tensors["lm_head.weight"][5, 6] += 1
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    refused(
        folder,
        folder / "model.safetensors",
        "tensor lm_head.weight must equal model.embed_tokens.weight, "
        "because tie_word_embeddings is true",
    )


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_file_must_be_there(folder, file):
    (folder / file).unlink()
    refused(folder, folder, file)


def test_folder_must_be_there(tmp_path):
    refused(tmp_path / "nothing", tmp_path / "nothing", "is not a folder")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "\udcff"])
def test_config_must_be_a_json_object(folder, content):
    (folder / "config.json").write_bytes(content.encode(errors="surrogateescape"))
    refused(folder, folder / "config.json", "JSON")


def test_tokenizer_must_be_one(folder):
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, folder / "tokenizer.json", "is not a tokenizer")


@pytest.mark.parametrize("vocab", [512, 1023, 2048])
def test_tokenizer_must_match_the_vocabulary(folder, vocab):
    write_config(folder, vocab_size=vocab)
    refused(folder, folder / "tokenizer.json", f"must have {vocab} tokens", "not 1024")


def test_vocabulary_may_be_padded(folder, tensors):
    write_config(folder, vocab_size=1088)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = np.zeros((1088, 64), np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    assert read_checkpoint(folder).tensors["head.weight"].shape == (1088, 64)


@pytest.mark.parametrize("names", [["LlamaModel"], ["LlamaForCausalLM", "Other"], [], None, [[]]])
def test_architecture_must_be_known(folder, names):
    write_config(folder, architectures=names)
    refused(folder, folder / "config.json", "architecture", names[0] if names else names)


def test_architecture_error_tells_what_is_allowed(folder):
    write_config(folder, architectures=["MambaForCausalLM"])
    refused(
        folder,
        "architecture must be LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, "
        "Qwen3ForCausalLM, GemmaForCausalLM, GPT2LMHeadModel, not MambaForCausalLM",
    )


def test_model_type_must_be_that_of_the_architecture(folder):
    write_config(folder, model_type="mixtral")
    refused(folder, folder / "config.json", "model_type must be llama, not 'mixtral'")


@pytest.mark.parametrize(
    ("option", "value"),
    [("hidden_size", None), ("num_hidden_layers", 0), ("vocab_size", "x"), ("hidden_size", 33),
     ("rms_norm_eps", "small"), ("rms_norm_eps", 10**400), ("num_key_value_heads", 3)],
)  # fmt: skip
def test_sizes_must_be_sensible(folder, option, value):
    write_config(folder, **{option: value})
    refused(folder, folder / "config.json")


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_weights_must_not_be_truncated(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    refused(folder, path, "is truncated, corrupt or no safetensors file")


@pytest.mark.parametrize(
    "header",
    [
        b"no json",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"a": 3}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        (
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},'
            b' "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
        ),
        b"[" * 100_000,
    ],
    ids=range(14),
)
def test_header_must_be_readable(folder, header):
    write_raw(folder / "model.safetensors", header, bytes(8))
    refused(folder, folder / "model.safetensors", "truncated, corrupt or no safetensors file")


def test_pickle_is_refused(folder):
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04" + b"\x80\x02" * 50)
    refused(folder, folder / "model.safetensors", "truncated, corrupt or no safetensors file")


def test_damaged_header_never_escapes_as_another_error(folder):
    seed = 9
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    path = folder / "model.safetensors"
    good = path.read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    messages = []
    for _ in range(150):
        damaged = bytearray(good)
        damaged[rng.integers(0, length)] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(folder)
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize("name", [Q_PROJ, "model.norm.weight", "lm_head.weight"])
def test_tensor_must_be_there(folder, tensors, name):
    del tensors[name]
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    refused(folder, folder / "model.safetensors", f"tensor {name} is missing")


def test_tensor_must_have_its_shape(folder, tensors):
    tensors[Q_PROJ] = np.zeros((64, 63), np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    refused(
        folder, folder / "model.safetensors",
        f"tensor {Q_PROJ} must have shape (64, 64), not (64, 63)",
    )  # fmt: skip


def test_tensor_must_have_a_float_type(folder, tensors):
    tensors[Q_PROJ] = np.zeros((64, 64), np.int8)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    refused(folder, f"tensor {Q_PROJ} must be of type F32, F16, BF16, not I8")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_tensor_must_be_finite(folder, tensors, value, dtype):
    tensors[Q_PROJ] = tensors[Q_PROJ].astype(dtype)
    tensors[Q_PROJ][3, 4] = value
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    refused(folder, folder / "model.safetensors", f"{Q_PROJ} must be finite, not {value} at [3, 4]")


def test_tensor_that_the_architecture_does_not_have_is_named(folder, tensors):
    name = "model.layers.0.self_attn.q_proj.bias"
    tensors[name] = np.zeros(64, np.float32)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    refused(folder, folder / "model.safetensors", f"tensor {name} is none of LlamaForCausalLM's")


def test_chat_template_of_tokenizer_config(folder):
    options = {"chat_template": "{{ eos_token }}{{ messages[0].content }}"}
    write_json(folder / "tokenizer_config.json", options | {"eos_token": {"content": "<|x|>"}})
    tokenizer = read_checkpoint(folder).tokenizer
    assert tokenizer.decode(tokenizer.encode_chat("hi")) == "<|x|>hi"
    named = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    write_json(folder / "tokenizer_config.json", {"chat_template": named})
    tokenizer = read_checkpoint(folder).tokenizer
    assert tokenizer.decode(tokenizer.encode_chat("hi")) == "yes"


def test_chat_template_file_comes_first(folder):
    write_json(folder / "tokenizer_config.json", {"chat_template": "no"})
    (folder / "chat_template.jinja").write_text("yes")
    tokenizer = read_checkpoint(folder).tokenizer
    assert tokenizer.decode(tokenizer.encode_chat("hi")) == "yes"


def test_folder_without_chat_template_goes_on_with_the_prompt(folder):
    tokenizer = read_checkpoint(folder).tokenizer
    assert tokenizer.encode_chat("hi") == tokenizer.encode("hi")


@pytest.mark.parametrize("template", ["{% if", [{"name": "default"}], [1], 5])
def test_chat_template_must_be_one(folder, template):
    write_json(folder / "tokenizer_config.json", {"chat_template": template})
    refused(folder, "tokenizer_config.json", "template")


def write_json(path, value):
    path.write_text(json.dumps(value))
