from dataclasses import replace
from math import cos, erf, exp, pi, sin, sqrt, tanh

import numpy as np
import pytest

from sim.compiler.float_model import FloatModel
from sim.compiler.statistics import Statistics
from tests.sim.random_decoder import FAMILIES, random_tensors, random_tokens

ACTIVATIONS = {
    "silu": lambda x: x / (1 + exp(-x)),
    "gelu": lambda x: x * (1 + erf(x / sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: max(x, 0.0),
}


def slow_logits(config, tensors, tokens):
    """A decoder in plain Python floats, written from the definition."""
    weights = {name: value.tolist() for name, value in tensors.items()}
    size, half = config.head_dim, config.head_dim // 2
    group = config.heads // config.kv_heads

    def plus(x, y):
        return [a + b for a, b in zip(x, y, strict=True)]

    def times(matrix, x):
        return [sum(w * v for w, v in zip(row, x, strict=True)) for row in matrix]

    def linear(name, x):
        y = times(weights[f"{name}.weight"], x)
        return plus(y, weights[f"{name}.bias"]) if f"{name}.bias" in weights else y

    def norm(name, x):
        if config.norm == "layer":
            mean = sum(x) / len(x)
            x = [v - mean for v in x]
        scale = sqrt(sum(v * v for v in x) / len(x) + config.epsilon)
        y = [v / scale * g for v, g in zip(x, weights[f"{name}.gain"], strict=True)]
        return plus(y, weights[f"{name}.bias"]) if f"{name}.bias" in weights else y

    def head_of(name, x, head, position):
        x = x[head * size : (head + 1) * size]
        if config.qk_norm:
            scale = sqrt(sum(v * v for v in x) / size + config.epsilon)
            x = [v / scale * g for v, g in zip(x, weights[f"{name}_norm.gain"], strict=True)]
        if config.rope_frequencies is None:
            return x
        result = list(x)
        for i, frequency in enumerate(config.rope_frequencies):
            a, b = x[i], x[i + half]
            result[i] = a * cos(position * frequency) - b * sin(position * frequency)
            result[i + half] = a * sin(position * frequency) + b * cos(position * frequency)
        return result

    keys, values, result = {}, {}, []
    for position, token in enumerate(tokens):
        x = [v * config.embedding_scale for v in weights["embedding"][token]]
        if config.rope_frequencies is None:
            x = plus(x, weights["positions"][position])
        for n in range(config.layers):
            h = norm(f"{n}.attention_norm", x)
            q, k, v = (linear(f"{n}.{name}", h) for name in "qkv")
            first = max(0, position + 1 - config.windows[n]) if config.windows[n] else 0
            for j in range(config.kv_heads):
                keys.setdefault((n, j), []).append(head_of(f"{n}.k", k, j, position))
                values.setdefault((n, j), []).append(v[j * size : (j + 1) * size])
            output = []
            for head in range(config.heads):
                query = head_of(f"{n}.q", q, head, position)
                scores = times(keys[n, head // group][first:], query)
                p = [exp(score * config.score_scale) for score in scores]
                columns = zip(*values[n, head // group][first:], strict=True)
                output += [y / sum(p) for y in times(columns, p)]
            x = plus(x, linear(f"{n}.o", output))
            h = norm(f"{n}.ffn_norm", x)
            a = [ACTIVATIONS[config.activation](g) for g in linear(f"{n}.gate", h)]
            if config.gated:
                a = [g * u for g, u in zip(a, linear(f"{n}.up", h), strict=True)]
            x = plus(x, linear(f"{n}.down", a))
        logits = times(
            weights["embedding" if config.tied else "head.weight"], norm("final_norm", x)
        )
        result.append(plus(logits, weights["head.bias"]) if "head.bias" in weights else logits)
    return np.array(result)


def assert_is_the_definition(config, count, seed=1):
    print(f"seed {seed}")
    tensors, tokens = random_tensors(config, seed), random_tokens(config, seed, count)
    logits = FloatModel(config, tensors).forward(tokens)
    assert logits.dtype == np.float32
    slow = slow_logits(config, tensors, tokens)
    assert np.abs(logits - slow).max() < 1e-4 * np.abs(slow).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_definition(family):
    assert_is_the_definition(FAMILIES[family], 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": (3, 0)},
        {"windows": (1, 2)},
        {"activation": "gelu"},
        {"activation": "relu"},
        {"activation": "silu", "gated": False},
        {"biases": ("o", "up", "head")},
        {"biases": ("head",), "tied": False},
        {"score_scale": 1.0},
        {"norm": "layer", "qk_norm": True},
    ],
    ids=repr,
)
def test_every_option_is_that_of_the_definition(changes):
    assert_is_the_definition(replace(FAMILIES["llama"], layers=2, **changes), 6)


def test_row_sees_the_positions_of_its_window():
    config = FAMILIES["mistral"]
    tensors, tokens = random_tensors(config, 2), random_tokens(config, 2)
    first = replace(config, layers=1, windows=config.windows[:1])
    logits = FloatModel(first, tensors).forward(tokens)
    tokens[5] += 1
    changed = (FloatModel(first, tensors).forward(tokens) != logits).any(axis=1)
    assert np.flatnonzero(changed).tolist() == list(range(5, 5 + config.windows[0]))


def test_statistics_have_every_name_of_a_layer():
    both = {"attention_input", "o_input", "ffn_input", "down_input", "q", "k", "v", "gate", "glu"}
    for family, names in (
        ("llama", both | {"up"}), ("gpt2", both), ("qwen3", both | {"up", "q_raw", "k_raw"}),
    ):  # fmt: skip
        config, statistics = FAMILIES[family], Statistics()
        model = FloatModel(config, random_tensors(config, 3))
        model.hidden(random_tokens(config, 3), statistics)
        expected = {f"{n}.{name}" for n in range(config.layers) for name in names} | {
            "residual",
            "head_input",
        }
        assert set(statistics.largest) == expected
        for name, channels in (
            ("o_input", config.heads * config.head_dim),
            ("down_input", config.ffn),
        ):
            assert statistics[f"1.{name}"].shape == (channels,)
        assert statistics["1.glu"] == statistics["1.down_input"].max()


def test_statistics_of_qk_norm_are_from_both_sides_of_it():
    config = replace(FAMILIES["qwen3"], layers=1, windows=(0,))
    tensors = random_tensors(config, 4)
    tensors["0.q_norm.gain"][:] = 1.0
    tensors["0.q.weight"] *= 100
    statistics = Statistics()
    FloatModel(config, tensors).hidden(random_tokens(config, 4), statistics)
    assert statistics["0.q_raw"] > 100
    # Of unit rms, and a pair turned into one of its elements.
    assert 1 < statistics["0.q"] < sqrt(2) * sqrt(config.head_dim)


def test_positions_are_as_many_as_were_learned():
    config = FAMILIES["gpt2"]
    model = FloatModel(config, random_tensors(config, 1))
    assert model.forward([1] * 64).shape == (64, config.vocab)
    with pytest.raises(ValueError, match="tokens must be at most 64, not 65"):
        model.forward([1] * 65)


def test_tensors_that_do_not_fit_are_refused():
    config = FAMILIES["llama"]
    tensors = random_tensors(config, 1)
    name = "1.up.weight"
    with pytest.raises(ValueError, match=rf"{name} must have shape \(96, 64\), not \(64, 96\)"):
        FloatModel(config, tensors | {name: tensors[name].T})
    del tensors[name]
    with pytest.raises(ValueError, match=f"tensor {name} is missing"):
        FloatModel(config, tensors)
