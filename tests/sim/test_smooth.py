"""Smoothing: the same function, with activations and weights of a channel equally large."""

from dataclasses import replace

import numpy as np
import pytest

from sim.compiler.float_model import FloatModel
from sim.compiler.smooth import smooth_tensors
from sim.compiler.statistics import Statistics
from tests.sim.random_decoder import FAMILIES, random_tensors

LLAMA, RAGGED, GPT2, QWEN3 = (
    replace(FAMILIES[name], tied=False) for name in ("llama", "ragged", "gpt2", "qwen3")
)


@pytest.mark.parametrize(
    "config",
    [LLAMA, RAGGED, QWEN3, replace(RAGGED, biases=("v", "up")), replace(GPT2, norm="rms")],
    ids=["llama", "ragged", "qwen3", "biases", "ungated"],
)
def test_smoothing_changes_the_balance_and_not_the_function(config):
    tensors, tokens = random_tensors(config, 2), np.arange(40)
    before, after = Statistics(), Statistics()
    expected = FloatModel(config, tensors).forward(tokens, before)
    smooth = smooth_tensors(config, tensors, before)
    logits = FloatModel(config, smooth).forward(tokens, after)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()
    # With alpha 0.5, activations (root mean square) and weights of a channel end up equally large.
    for index in range(2):

        def columns(tensors, *names, index=index):
            return np.max(
                [np.abs(tensors[f"{index}.{n}.weight"]).max(axis=0) for n in names], axis=0
            )

        if config.gated:
            ratio = after.mean_square(f"{index}.down_input") / columns(smooth, "down") ** 2
            assert ratio == pytest.approx(ratio[0], rel=1e-4)
        else:
            assert np.array_equal(smooth[f"{index}.down.weight"], tensors[f"{index}.down.weight"])

        group = (config.kv_heads, -1, config.head_dim)
        x, w = after.mean_square(f"{index}.o_input"), columns(smooth, "o") ** 2
        ratio = x.reshape(group).mean(axis=1) / w.reshape(group).max(axis=1)
        assert ratio.ravel() == pytest.approx(ratio[0, 0], rel=1e-4)

        for norm, kind, names in (
            ("attention_norm", "attention_input", "qkv"),
            ("ffn_norm", "ffn_input", ("gate", "up") if config.gated else ("gate",)),
        ):
            t = tensors[f"{index}.{norm}.gain"] / smooth[f"{index}.{norm}.gain"]
            root = np.sqrt(before.mean_square(f"{index}.{kind}"))
            ratio = t**2 * columns(tensors, *names) / root
            assert ratio == pytest.approx(ratio[0], rel=1e-4)
            assert np.log(t).mean() == pytest.approx(0, abs=1e-9)

    t = tensors["final_norm.gain"] / smooth["final_norm.gain"]
    largest = np.abs(tensors["head.weight"]).max(axis=0)
    ratio = t**2 * largest / np.sqrt(before.mean_square("head_input"))
    assert ratio == pytest.approx(ratio[0], rel=1e-4)
    assert np.log(t).mean() == pytest.approx(0, abs=1e-9)
