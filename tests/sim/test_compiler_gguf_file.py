"""GGUF files as such: types of numbers, and files that are cut off or damaged."""

import random

import gguf
import numpy as np
import pytest

from sim.compiler.checkpoint import CheckpointError, read_checkpoint
from sim.compiler.gguf_file import QUANTISATIONS, GgufFile
from tests.sim.gguf_model import gguf_tensors, random_tensors, refused, write_gguf

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


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("F16", 2**-11),
        ("BF16", 2**-8),
        ("Q8_0", 1 / 127),
        ("Q4_0", 1 / 8),
        ("Q4_1", 1 / 15),
        ("Q5_0", 1 / 16),
        ("Q5_1", 1 / 31),
    ],
)
def test_rounded_weights_are_near(path, tensors, kind, step):
    made = gguf_tensors(tensors)
    values = made[DOWN]
    stored = gguf.quants.quantize(values, TYPES[kind])
    write_gguf(path, made | {DOWN: stored}, kinds={DOWN: TYPES[kind]})
    read = read_checkpoint(path).tensors["1.down.weight"]
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
    fifth = bytes([0b0101] * 32) if kind == "Q5_K" else b""  # a 16 in parts 0 and 2
    block = half + half + scales + fifth + bytes([0x37] * 128)
    low = 7.0 + 16 * bool(fifth)
    low_high = np.repeat([low, 3.0, low, 3.0], 32)  # a part of 32 low halves, one of high halves
    return block, np.concatenate([low_high * 2 * 0.5 - 1 * 0.5, np.zeros(128)])


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K", "Q6_K"])
def test_k_blocks_are_as_worked_out(path, kind):
    block, numbers = k_block(kind)
    stored = np.frombuffer(block * 6, np.uint8).reshape(3, -1)  # rows of two blocks
    write_gguf(path, {"w": stored}, kinds={"w": TYPES[kind]})
    np.testing.assert_array_equal(GgufFile(path).read("w"), np.tile(numbers, (3, 2)))


def test_other_types_are_refused(path, tensors):
    made = gguf_tensors(tensors)
    write_gguf(path, made | {DOWN: made[DOWN].astype(np.float64)})
    refused(path, f"tensor {DOWN} must be of type {', '.join(QUANTISATIONS)}, not F64")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_must_be_finite(path, tensors, number):
    made = gguf_tensors(tensors)
    made[DOWN] = made[DOWN].copy()
    made[DOWN][3, 5] = number
    refused(write_gguf(path, made), f"tensor {DOWN} must be finite, not {number} at [3, 5]")


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
