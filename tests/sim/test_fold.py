"""Layer norms become RMS norms."""

from dataclasses import replace

import numpy as np
import pytest

from sim.compiler.float_model import FloatModel
from sim.compiler.fold import fold
from sim.compiler.statistics import Statistics
from tests.sim.random_decoder import FAMILIES, random_tensors, random_tokens

GPT2 = FAMILIES["gpt2"]
#: Layer norms where they meet the other options.
CONFIGS = {
    "gpt2": GPT2,
    "no biases": replace(GPT2, biases=()),
    "gated, rope, untied": replace(
        FAMILIES["ragged"], norm="layer", biases=("up", "down", "head"), embedding_scale=3.0
    ),
    "qk_norm": replace(FAMILIES["qwen3"], norm="layer"),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_stay_the_same(config, seed):
    tensors, tokens = random_tensors(config, seed), random_tokens(config, seed)
    for name in tensors:  # matrices have a mean of their own; biases shall too
        if name.endswith(".bias"):
            tensors[name] += 0.5
    folded, moved = fold(config, tensors)
    expected = FloatModel(config, tensors).forward(tokens)
    assert np.abs(FloatModel(folded, moved).forward(tokens) - expected).max() < 1e-4
    assert np.abs(expected).max() > 3


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_residual_has_no_mean(config):
    tensors, tokens = random_tensors(config, 3), random_tokens(config, 3)
    means = []

    class Means(Statistics):
        def add(self, name, x, per_channel=False):
            if name == "residual":
                means.append(np.abs(x.mean(axis=-1)).max())

    FloatModel(config, tensors).hidden(tokens, Means())
    assert max(means) > 0.05
    means.clear()
    FloatModel(*fold(config, tensors)).hidden(tokens, Means())
    assert len(means) == (6 if config.rope_frequencies is None else 5)
    assert max(means) < 1e-6


def test_folded_model_says_what_it_has():
    tensors = {name: x.astype(np.float32) for name, x in random_tensors(GPT2, 4).items()}
    config, tensors = fold(GPT2, tensors)
    assert (config.norm, config.tied) == ("rms", False)
    assert config.biases == ("q", "k", "v", "o", "gate", "down", "head")
    assert set(tensors) == set(config.tensor_shapes())
    assert all(tensor.dtype == np.float64 for tensor in tensors.values())
    gated, _ = fold(CONFIGS["qk_norm"], random_tensors(CONFIGS["qk_norm"], 4))
    assert gated.biases == ("q", "k", "v", "gate", "up", "head")


def test_tensors_given_stay_as_they_are():
    tensors = random_tensors(GPT2, 5)
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    fold(GPT2, tensors)
    assert all(np.array_equal(tensors[name], before[name]) for name in before)


def test_rms_norms_are_left_alone():
    tensors = random_tensors(FAMILIES["llama"], 6)
    assert fold(FAMILIES["llama"], tensors) == (FAMILIES["llama"], tensors)


def test_tensors_must_fit():
    tensors = random_tensors(GPT2, 7)
    del tensors["1.ffn_norm.bias"]
    with pytest.raises(ValueError, match=r"tensor 1.ffn_norm.bias is missing"):
        fold(GPT2, tensors)
