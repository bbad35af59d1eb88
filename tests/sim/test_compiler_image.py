"""Memory images, read back byte by byte."""

import itertools
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from hw.spec import isa
from hw.spec.config import ArchConfig
from sim.compiler.compile import compile_model
from sim.compiler.image import linear_bytes, pack_linear
from sim.compiler.memory_map import ALIGN_BYTES
from sim.golden.model import Linear
from sim.golden.random_model import random_model, small_shape
from tests.sim.layout_reader import read_embedding, read_linear, read_norm, read_rope
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

CONFIGS = {
    "4x4, 4 lanes, 4 bytes": {"rows": 4, "cols": 4, "lanes": 4, "port_bytes": 4},
    "8x16, 8 lanes, 64 bytes": {"rows": 8, "cols": 16, "lanes": 8, "port_bytes": 64},
    "16x16, 16 lanes, 16 bytes": {"rows": 16, "cols": 16, "lanes": 16, "port_bytes": 16},
    "32x8, 2 lanes, 32 bytes": {"rows": 32, "cols": 8, "lanes": 2, "port_bytes": 32},
    "4x32, 16 lanes, 32 bytes": {"rows": 4, "cols": 32, "lanes": 16, "port_bytes": 32},
    "4x4, 2 tiles": {"rows": 4, "cols": 4, "lanes": 4, "port_bytes": 4, "tiles": 2},
    "8x4, 4 tiles, 32 bytes": {"rows": 8, "cols": 4, "lanes": 4, "port_bytes": 32, "tiles": 4},
    "16x16, 4 tiles": {"tiles": 4},
    "8x32, 2 tiles": {"rows": 8, "cols": 32, "port_bytes": 32, "tiles": 2},
    "8x32, 4 tiles": {"rows": 8, "cols": 32, "port_bytes": 32, "tiles": 4},
}
IMAGE_BASE = 0x8000_0000


@pytest.fixture(scope="module", params=[False, True], ids=["no bias", "bias"])
def model(request):
    print("seed 5")
    return random_model(small_shape(layers=1, dim=96, vocab=70, context=40), 5, bias=request.param)


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def image(request, model):
    compiled = compile_model(model, ArchConfig(**request.param), image_base=IMAGE_BASE)
    memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
    compiled.fill(memory)
    return compiled, memory


def decoder_image(config, sizes):
    """Return the image of a small decoder, as the fixture does, and its model."""
    print("seed 6")
    model = quantised_decoder(config, 6)[0]
    compiled = compile_model(model, ArchConfig(**sizes), image_base=IMAGE_BASE)
    memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
    compiled.fill(memory)
    return (compiled, memory), model


def place(compiled, name):
    """Return the offset in a channel and the size of an operator's data, from its word."""
    word = compiled.program[compiled.op_id(name)]
    _, fields = isa.decode(word)
    assert fields["addr"] % ALIGN_BYTES == 0
    return fields["addr"] - IMAGE_BASE, fields["words"] * compiled.config.cols


def read_sections(image, name, blocks, strips, bias):
    compiled, memory = image
    config = compiled.config
    start, size = place(compiled, name)
    channels = memory.reshape(config.tiles, -1)
    result, ends = read_linear(channels, start, config, blocks, strips, bias)
    # What the chip makes of the word: a group that has a strip less has so many words less.
    strip_words = isa.decode(compiled.program[compiled.op_id(name)])[1]["strip_words"]
    lacking = [
        strips % config.groups and tile // config.strip_tiles >= strips % config.groups
        for tile in range(config.tiles)
    ]
    assert ends == [start + size - (strip_words * config.cols if less else 0) for less in lacking]
    return result


def assert_is(strips, linear):
    """Check strips against a section; channels after its last have nothing but zeros."""
    rows = list(itertools.chain.from_iterable(strip["weight"] for strip in strips))
    multipliers = list(itertools.chain.from_iterable(strip["multiplier"] for strip in strips))
    count = len(linear.weight)
    assert len(strips) == -(-count // 32)
    np.testing.assert_array_equal(rows[:count], linear.weight)
    np.testing.assert_array_equal(multipliers[:count], linear.multiplier)
    assert not np.any(rows[count:])
    assert not np.any(multipliers[count:])
    if strips[0]["bias"] is not None:
        biases = list(itertools.chain.from_iterable(strip["bias"] for strip in strips))
        expected = np.zeros(count, np.int32) if linear.bias is None else linear.bias
        np.testing.assert_array_equal(biases[:count], expected)


def test_qkv_sections_follow_each_other(image, model):
    layer, has_bias = model.layers[0], model.layers[0].q.bias is not None
    strips = read_sections(image, "layer 0 qkv", 3, 8, has_bias)
    assert_is(strips[:4], layer.q)
    assert_is(strips[4:6], layer.k)
    assert_is(strips[6:], layer.v)


def test_gate_and_up_strips_alternate(image, model):
    strips = read_sections(image, "layer 0 glu", 3, 6, bias=False)
    assert_is(strips[0::2], model.layers[0].gate)
    assert_is(strips[1::2], model.layers[0].up)


@pytest.mark.parametrize(("name", "blocks"), [("o", 4), ("down", 3)])
def test_residual_operators_have_one_section(image, model, name, blocks):
    strips = read_sections(image, f"layer 0 {name}", blocks, 3, bias=False)
    assert_is(strips, getattr(model.layers[0], name))


def test_padded_channels_of_the_head_have_multiplier_0(image, model):
    assert model.shape.vocab % 32
    assert_is(read_sections(image, "logits", 3, 3, bias=False), model.head)


@pytest.mark.parametrize("name", ["layer 0 attention norm", "layer 0 ffn norm", "final norm"])
def test_norms_are_their_gains(image, model, name):
    compiled, memory = image
    start, size = place(compiled, name)
    gains, end = read_norm(memory, start, 3)
    owner = model if name == "final norm" else model.layers[0]
    attribute = name.removeprefix("layer 0 ").replace(" ", "_")
    np.testing.assert_array_equal(gains, getattr(owner, attribute).gain)
    assert end == start + size


def test_embedding_rows_are_aligned(image, model):
    compiled, memory = image
    start, row_bytes = place(compiled, "embed")
    rows, end = read_embedding(memory, start, compiled.config, 3, model.shape.vocab)
    np.testing.assert_array_equal([row[0] for row in rows], model.embedding_multiplier)
    np.testing.assert_array_equal([row[1] for row in rows], model.embedding)
    assert end == start + row_bytes * model.shape.vocab


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("name", ["qwen3", "ragged"])
def test_gains_of_head_norms_follow_each_other(config, name):
    (compiled, memory), model = decoder_image(replace(FAMILIES[name], qk_norm=True), config)
    layer, blocks = model.layers[1], model.shape.head_dim // 32
    start, size = place(compiled, "layer 1 head norm")
    for norm in (layer.q_norm, layer.k_norm):
        gains, start = read_norm(memory, start, blocks)
        np.testing.assert_array_equal(gains, norm.gain)
    assert start == place(compiled, "layer 1 head norm")[0] + size


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_learned_positions_are_a_table_like_the_embedding(config):
    (compiled, memory), model = decoder_image(FAMILIES["gpt2"], config)
    start, row_bytes = place(compiled, "positions")
    rows, end = read_embedding(memory, start, compiled.config, 2, 64)
    np.testing.assert_array_equal([row[0] for row in rows], model.positions_multiplier)
    np.testing.assert_array_equal([row[1] for row in rows], model.positions)
    assert end == start + row_bytes * 64


def test_matrices_of_a_network_without_up_and_all_biases():
    image, model = decoder_image(FAMILIES["gpt2"], CONFIGS["16x16, 16 lanes, 16 bytes"])
    layer = model.layers[0]
    assert_is(read_sections(image, "layer 0 glu", 2, 4, bias=True), layer.gate)
    assert_is(read_sections(image, "layer 0 down", 4, 2, bias=True), layer.down)
    assert_is(read_sections(image, "layer 0 o", 4, 2, bias=True), layer.o)
    assert_is(read_sections(image, "logits", 2, 3, bias=True), model.head)


def test_rope_rows_are_aligned(image, model):
    compiled, memory = image
    start, row_bytes = place(compiled, "rope")
    rows, end = read_rope(memory, start, compiled.config, 1, model.shape.context)
    np.testing.assert_array_equal(rows, model.rope)
    assert end == start + row_bytes * model.shape.context


def test_pieces_do_not_overlap(image):
    compiled, _ = image
    pieces = [(IMAGE_BASE, len(compiled.program) * isa.WORD_BYTES)]
    for step, addr in zip(compiled.steps, compiled.addresses, strict=True):
        if step.stream:
            pieces.append((addr, step.stream.size))
    for (addr, size), (following, _) in itertools.pairwise(sorted(pieces)):
        assert addr + size <= following
    addr, size = max(pieces)
    assert addr + size <= compiled.memory_map.image_limit <= compiled.memory_map.host_limit


def test_only_linear_operators_are_on_other_channels(image):
    compiled, memory = image
    others = memory.reshape(compiled.config.tiles, -1)[1:].copy()
    for step, addr in zip(compiled.steps, compiled.addresses, strict=True):
        if step.operator == "linear":
            others[:, addr - IMAGE_BASE : addr - IMAGE_BASE + step.stream.size] = 0
    assert not others.any()


def test_program_comes_first(image):
    compiled, memory = image
    assert compiled.memory_map.program_addr == IMAGE_BASE
    assert memory.tobytes().startswith(b"".join(compiled.program))


@pytest.mark.parametrize("bias", [-(1 << 31), (1 << 31) - 1, -1, 0, 0x8000, -0x8001])
@pytest.mark.parametrize("weight", [-127, 127])
def test_edge_values_survive(weight, bias):
    config = ArchConfig(cols=8, lanes=8)
    linear = Linear(
        np.full((33, 32), weight, np.int8), np.full(33, 65535, np.uint16), 0, 0, 18,
        np.full(33, bias, np.int32),
    )  # fmt: skip
    out = np.zeros(linear_bytes(config, [linear]), np.uint8)
    pack_linear(config, [linear], out)
    strips, ends = read_linear([out], 0, config, 1, 2, bias=True)
    assert ends == [len(out)]
    assert_is(strips, linear)


def test_sections_without_bias_get_zeros_beside_one_with_bias():
    config = ArchConfig()
    model = random_model(small_shape(layers=1), 2, bias=True)
    v = model.layers[0].v
    k = Linear(v.weight, v.multiplier, v.shift1, v.shift2, v.out_width)
    out = np.zeros(linear_bytes(config, [k, v]), np.uint8)
    pack_linear(config, [k, v], out)
    strips, _ = read_linear([out], 0, config, 2, 4, bias=True)
    assert_is(strips[:2], k)
    assert_is(strips[2:], v)


def test_file_is_the_same_every_time(tmp_path):
    model = random_model(small_shape(), 7)
    for name in "ab":
        compile_model(random_model(small_shape(), 7), ArchConfig()).write_image(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    compiled = compile_model(model, ArchConfig())
    assert (tmp_path / "a").stat().st_size == compiled.memory_map.size_bytes
    memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
    compiled.fill(memory)
    assert (tmp_path / "a").read_bytes() == memory.tobytes()


def test_regions_after_the_image_are_zero(tmp_path):
    compiled = compile_model(random_model(small_shape(), 7), ArchConfig())
    memory = compiled.write_image(tmp_path / "image")
    limit = compiled.memory_map.offset(compiled.memory_map.image_limit)
    assert memory[:limit].any()
    assert not memory[limit:].any()


def test_ten_million_weights_pack_in_a_second_and_little_memory():
    config = ArchConfig()
    linear = Linear(
        np.ones((16384, 640), np.int8), np.ones(16384, np.uint16), 0, 0, 32,
    )  # fmt: skip
    out = np.zeros(linear_bytes(config, [linear]), np.uint8)
    start = time.perf_counter()
    pack_linear(config, [linear], out)
    assert time.perf_counter() - start < 3  # it takes 0.05 s on an idle core
    tracemalloc.start()
    pack_linear(config, [linear], out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * linear.weight.size
