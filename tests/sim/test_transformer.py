from dataclasses import replace

import numpy as np
import pytest

from sim.golden.argmax import argmax
from sim.golden.record import Recorder
from sim.golden.transformer import Transformer
from tests.sim import slow_model
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

CACHE_PARTS = ("k", "k_exponents", "v", "v_exponents")
LLAMA, RAGGED, GPT2, QWEN3 = (FAMILIES[name] for name in ("llama", "ragged", "gpt2", "qwen3"))
CONFIGS = {
    **FAMILIES,
    "ragged, qk_norm": replace(
        RAGGED, qk_norm=True, biases=("q", "k"), activation="gelu", windows=(3, 0)
    ),
    "ungated relu": replace(LLAMA, gated=False, activation="relu", windows=(1, 5)),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_logits_equal_plain_python_integers(config, seed):
    # A window of 20 has to have an end within a few tokens.
    config = replace(config, windows=tuple(min(window, 6) for window in config.windows))
    model, _, tokens = quantised_decoder(config, seed, gain=1.5)
    logits = Transformer(model).step(tokens[:10], Transformer(model).new_cache(), emit="all")
    assert logits.tolist() == slow_model.logits_of(model, tokens[:10])


@pytest.mark.parametrize(
    ("name", "more"),
    [("llama", {"up", "glu", "rope"}), ("qwen3", {"up", "glu", "rope"}), ("gpt2", set())],
)
def test_logits_equal_plain_python_integers_where_everything_saturates(name, more):
    model, _, tokens = quantised_decoder(FAMILIES[name], 3)

    def louder(linear):
        if linear is None:
            return None
        bias = np.arange(len(linear.multiplier), dtype=np.int32) * 100
        return replace(linear, shift2=max(0, linear.shift2 - 6), bias=bias)

    def louder_norm(norm):
        return None if norm is None else replace(norm, shift=norm.shift - 3)

    layers = tuple(
        replace(
            layer,
            **{n: louder(getattr(layer, n)) for n in ("q", "k", "v", "gate", "up")},
            **{n: louder_norm(getattr(layer, n)) for n in ("q_norm", "k_norm")},
        )
        for layer in model.layers
    )
    model = replace(model, layers=layers)
    transformer = Transformer(model)
    logits = transformer.step(tokens[:8], transformer.new_cache(), emit="all")
    assert {"q", "k", "v", "gate"} | more <= set(transformer.saturations)
    assert logits.tolist() == slow_model.logits_of(model, tokens[:8])


@pytest.mark.parametrize("chunk", [1, 5, 47])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_chunks_of_a_prefill_change_no_bit(config, chunk):
    model, _, tokens = quantised_decoder(config, 4, gain=1.5)
    transformer = Transformer(model)
    whole, chunked = transformer.new_cache(), transformer.new_cache()
    expected = transformer.step(tokens, whole, emit="all")
    parts = [
        transformer.step(tokens[at : at + chunk], chunked, emit="all")
        for at in range(0, len(tokens), chunk)
    ]
    assert np.array_equal(np.concatenate(parts), expected)
    for part in CACHE_PARTS:
        assert np.array_equal(getattr(chunked, part), getattr(whole, part))
    assert np.array_equal(
        transformer.prefill(tokens, transformer.new_cache(), chunk=chunk), expected[-1:]
    )


def test_slow_weights_give_the_same_bits(monkeypatch):
    model, _, tokens = quantised_decoder(LLAMA, 5)
    fast = Transformer(model)
    monkeypatch.setattr("sim.golden.transformer.FAST_WEIGHTS", 0)
    slow = Transformer(model)
    assert np.array_equal(
        slow.step(tokens, slow.new_cache(), emit="all"),
        fast.step(tokens, fast.new_cache(), emit="all"),
    )


def test_generation_is_greedy_and_ends_with_the_end_token():
    model, _, tokens = quantised_decoder(LLAMA, 6)
    transformer = Transformer(model)
    written = list(transformer.generate(tokens[:5], 5, chunk=2))
    sequence = list(tokens[:5])
    for token in written:
        logits = slow_model.logits_of(model, sequence)[-1]
        assert token == logits.index(max(logits))
        sequence.append(token)
    assert len(written) == 5
    end = written[3]
    assert (
        list(transformer.generate(tokens[:5], 5, eos_token=end))
        == (written[: written.index(end) + 1])
    )


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_recorder_is_given_every_output_in_program_order(config):
    model, _, tokens = quantised_decoder(config, 7)
    transformer, recorder = Transformer(model), Recorder()
    transformer.prefill(tokens[:5], transformer.new_cache(), chunk=3, recorder=recorder)
    layer = ["attention norm", "qkv", "qkv", "qkv", "attention", "o", "ffn norm", "glu", "down"]
    first = ["embed"] if config is LLAMA else ["embed", "positions"]
    one_pass = [*first, *(f"layer {n} {name}" for n in range(2) for name in layer)]
    names = [output.name for output in recorder.outputs]
    assert names == [*one_pass, *one_pass, "final norm", "logits"]
    assert {output.start for output in recorder.outputs[: len(one_pass)]} == {0}
    assert {output.start for output in recorder.outputs[len(one_pass) :]} == {3}


def test_recorder_is_given_what_the_hardware_shows():
    model, _, tokens = quantised_decoder(LLAMA, 7)
    transformer, recorder = Transformer(model), Recorder()
    cache = transformer.new_cache()
    logits = transformer.prefill(tokens[:5], cache, chunk=3, recorder=recorder)
    names = [output.name for output in recorder.outputs]
    shapes = {
        (output.name.removeprefix("layer 0 "), output.kind): (
            output.values.shape,
            output.values.dtype,
            output.exponents is not None and output.exponents.shape,
        )
        for output in recorder.outputs
    }
    int8, int32 = np.dtype(np.int8), np.dtype(np.int32)
    assert shapes["embed", "residual"] == ((2, 64), int32, False)
    assert shapes["attention norm", "blocks"] == ((2, 64), int8, (2, 2))
    assert shapes["qkv", "q"] == ((2, 4, 32), int8, (2, 4, 1))
    assert shapes["qkv", "k"] == ((2, 2, 32), int8, (2, 2, 1))
    assert shapes["attention", "blocks"] == ((2, 128), int8, (2, 4))
    assert shapes["down", "residual"] == ((2, 64), int32, False)
    assert shapes["glu", "blocks"] == ((2, 96), int8, (2, 3))
    assert shapes["final norm", "blocks"] == ((1, 64), int8, (1, 2))
    assert shapes["logits", "logits"] == ((1, 96), int32, False)

    k = recorder.outputs[names.index("layer 1 qkv") + 1]
    assert (k.kind, k.start) == ("k", 0)
    assert np.array_equal(k.values, cache.k[1, :, :3].swapaxes(0, 1))
    assert np.array_equal(recorder.find("logits").values, logits)
    with pytest.raises(ValueError, match="name must be one of .*, not 'lost'"):
        recorder.find("lost")


def test_argmax_ties_go_to_the_lowest_id():
    assert argmax(np.array([[1, 7, 7], [-3, -3, -4]])).tolist() == [1, 0]


def test_unusable_tokens_are_refused():
    model, _, _ = quantised_decoder(LLAMA, 8)
    transformer = Transformer(model)
    with pytest.raises(ValueError, match="tokens must be 0 to 95, not \\[96\\]"):
        transformer.step([96], transformer.new_cache())
    with pytest.raises(ValueError, match="tokens must be 0 to 95, not \\[-1\\]"):
        transformer.step([-1], transformer.new_cache())
    with pytest.raises(ValueError, match="tokens must be one or more"):
        transformer.step([], transformer.new_cache())
    with pytest.raises(ValueError, match="within the context of 64 positions, not at 65"):
        transformer.step([0] * 65, transformer.new_cache())
    with pytest.raises(ValueError, match="emit must be last, all or none, not 'some'"):
        transformer.step([0], transformer.new_cache(), emit="some")
