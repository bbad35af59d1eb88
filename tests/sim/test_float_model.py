from math import cos, exp, sin, sqrt

import numpy as np
import pytest

from sim.compiler.float_model import FloatModel, LlamaConfig
from tests.sim.random_llama import RAGGED, SMALL, random_tensors


def slow_logits(config, tensors, tokens):
    """A Llama in plain Python floats, written from the definition."""
    weights = {name.removesuffix(".weight"): value.tolist() for name, value in tensors.items()}
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size, half = config["head_dim"], config["head_dim"] // 2

    def times(matrix, x):
        return [sum(w * v for w, v in zip(row, x, strict=True)) for row in matrix]

    def norm(x, gain):
        scale = sqrt(sum(v * v for v in x) / len(x) + config["rms_norm_eps"])
        return [v / scale * g for v, g in zip(x, gain, strict=True)]

    def rotated(x, position):
        result = list(x)
        for i in range(half):
            angle = position * config["rope_theta"] ** (-2 * i / size)
            a, b = x[i], x[i + half]
            result[i] = a * cos(angle) - b * sin(angle)
            result[i + half] = a * sin(angle) + b * cos(angle)
        return result

    keys, values, result = {}, {}, []
    for position, token in enumerate(tokens):
        x = weights["model.embed_tokens"][token]
        for index in range(config["num_hidden_layers"]):
            at = f"model.layers.{index}."
            h = norm(x, weights[at + "input_layernorm"])
            q, k, v = (times(weights[f"{at}self_attn.{name}_proj"], h) for name in "qkv")
            output = []
            for head in range(heads):
                j = head // (heads // kv_heads)
                part = slice(j * size, (j + 1) * size)
                if head % (heads // kv_heads) == 0:
                    keys.setdefault((index, j), []).append(rotated(k[part], position))
                    values.setdefault((index, j), []).append(v[part])
                query = rotated(q[head * size : (head + 1) * size], position)
                scores = times(keys[index, j], query)
                p = [exp(score / sqrt(size)) for score in scores]
                columns = zip(*values[index, j], strict=True)
                output += [y / sum(p) for y in times(columns, p)]
            y = times(weights[at + "self_attn.o_proj"], output)
            x = [a + b for a, b in zip(x, y, strict=True)]
            h = norm(x, weights[at + "post_attention_layernorm"])
            gate, up = (times(weights[f"{at}mlp.{name}_proj"], h) for name in ("gate", "up"))
            a = [g / (1 + exp(-g)) * u for g, u in zip(gate, up, strict=True)]
            y = times(weights[at + "mlp.down_proj"], a)
            x = [a + b for a, b in zip(x, y, strict=True)]
        head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
        result.append(times(weights[head], norm(x, weights["model.norm"])))
    return np.array(result)


@pytest.mark.parametrize("config", [SMALL, RAGGED], ids=["small", "ragged"])
def test_logits_are_those_of_the_definition(config):
    tensors = random_tensors(config, 1)
    tokens = [3, 1, 4, 1, 5]
    logits = FloatModel(config, tensors).forward(tokens)
    assert logits.dtype == np.float32
    slow = slow_logits(config, tensors, tokens)
    assert np.abs(logits - slow).max() < 1e-4 * np.abs(slow).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "model_type must be llama, not 'mamba'"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu', not 'gelu'"),
        ({"attention_bias": True}, "attention_bias must be False, not True"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_scaling must be of type default"),
        ({"num_key_value_heads": 3}, r"must divide num_attention_heads \(4\), not 3"),
        ({"head_dim": None, "num_attention_heads": 6}, r"divide hidden_size \(64\), not 6"),
        ({"head_dim": 31}, "head_dim must be even, not 31"),
        ({"vocab_size": 0}, "vocab_size must be a positive integer, not 0"),
        ({"hidden_size": "64"}, "hidden_size must be a positive integer, not '64'"),
        ({"intermediate_size": None}, "config.json must have intermediate_size"),
    ],
)
def test_configurations_of_other_models_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig.from_json(SMALL | change)


def test_tensors_that_do_not_fit_are_refused():
    tensors = random_tensors(SMALL, 1)
    name = "model.layers.1.mlp.up_proj.weight"
    with pytest.raises(ValueError, match=rf"{name} must have shape \(96, 64\), not \(64, 96\)"):
        FloatModel(SMALL, tensors | {name: tensors[name].T})
    del tensors[name]
    with pytest.raises(ValueError, match=f"tensor {name} is missing"):
        FloatModel(SMALL, tensors)
