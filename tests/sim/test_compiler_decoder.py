from dataclasses import replace

import numpy as np
import pytest

from tests.sim.random_decoder import FAMILIES, random_tensors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab": 0}, "vocab must be a positive integer, not 0"),
        ({"dim": 64.0}, "dim must be a positive integer, not 64.0"),
        ({"layers": True}, "layers must be a positive integer, not True"),
        ({"kv_heads": 3}, r"kv_heads must divide heads \(4\), not 3"),
        ({"head_dim": 31}, "head_dim must be even, not 31"),
        ({"norm": "batch"}, "norm must be rms or layer, not 'batch'"),
        ({"activation": "tanh"}, "activation must be silu or gelu or gelu_tanh or relu, not 'tanh"),
        ({"windows": (0,)}, "windows must be 2, not 1"),
        ({"windows": (0, -1)}, "a window must be an integer from 0 on, not -1"),
        ({"windows": (None, 0)}, "a window must be an integer from 0 on, not None"),
        (
            {"biases": ("q", "qkv")},
            "a bias must be of q, k, v, o, gate, up, down or head, not 'qkv",
        ),
        ({"rope_frequencies": (1.0,)}, "rope_frequencies must be 16, not 1"),
    ],
)
def test_what_no_decoder_is_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(FAMILIES["llama"], **changes)


def test_tensors_are_those_of_the_options():
    def names(family, **changes):
        return set(replace(FAMILIES[family], **changes).tensor_shapes())

    llama = names("llama")
    assert names("llama", tied=False) - llama == {"head.weight"}
    assert names("llama", biases=("o", "head")) - llama == {"0.o.bias", "1.o.bias", "head.bias"}
    assert names("llama", rope_frequencies=None) - llama == {"positions"}
    assert llama - names("llama", gated=False) == {"0.up.weight", "1.up.weight"}
    norms = {f"{n}.{kind}_norm" for n in range(2) for kind in ("attention", "ffn")} | {"final_norm"}
    assert names("llama", norm="layer") - llama == {f"{norm}.bias" for norm in norms}
    heads = {f"{n}.{kind}_norm.gain" for n in range(2) for kind in "qk"}
    assert names("llama", qk_norm=True) - llama == heads


def test_shapes_of_tensors():
    shapes = FAMILIES["ragged"].tensor_shapes()
    assert shapes["1.q.weight"] == (108, 40)
    assert shapes["1.k.weight"] == shapes["1.v.weight"] == (36, 40)
    assert shapes["1.o.weight"] == (40, 108)
    assert shapes["0.gate.weight"] == shapes["0.up.weight"] == (50, 40)
    assert shapes["0.down.weight"] == (40, 50)
    assert shapes["embedding"] == shapes["head.weight"] == (101, 40)
    gpt2 = FAMILIES["gpt2"].tensor_shapes()
    assert gpt2["positions"] == (64, 64)
    assert (gpt2["0.q.bias"], gpt2["0.gate.bias"], gpt2["0.down.bias"]) == ((64,), (128,), (64,))
    assert FAMILIES["qwen3"].tensor_shapes()["0.q_norm.gain"] == (32,)


def test_tensors_that_do_not_fit_are_refused():
    config = FAMILIES["gpt2"]
    tensors = random_tensors(config, 1)
    config.check(tensors | {"unknown": np.zeros(3)})
    with pytest.raises(ValueError, match=r"1.o.bias must have shape \(64,\), not \(63,\)"):
        config.check(tensors | {"1.o.bias": np.zeros(63)})
    del tensors["positions"]
    with pytest.raises(ValueError, match="tensor positions is missing"):
        config.check(tensors)
