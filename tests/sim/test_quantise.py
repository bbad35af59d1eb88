import json
from dataclasses import replace
from math import log2
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from hw.spec.formats import GAIN_WIDTH
from sim.compiler.float_model import FloatModel, LlamaConfig, Statistics
from sim.compiler.quantise import quantise
from sim.compiler.smooth import smooth_tensors
from sim.golden.transformer import Transformer
from tests.sim.random_llama import RAGGED, SMALL, random_model, random_tensors

MODELS = Path(__file__).resolve().parents[2] / "sim/models"
LOGIT = 1 << 16
IN_WIDTH = {"q": 20, "k": 20, "v": 20, "gate": 20, "up": 20, "o": 18, "down": 24, "head": 20}


def linears_of(model):
    for layer in model.layers:
        for name in ("q", "k", "v", "o", "gate", "up", "down"):
            yield name, getattr(layer, name)
    yield "head", model.head


@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "plain"])
@pytest.mark.parametrize("config", [SMALL, RAGGED], ids=["small", "ragged"])
def test_integer_logits_follow_the_float_model(config, smooth):
    model, tensors, tokens = random_model(config, 1, smooth=smooth)
    expected = FloatModel(config, tensors).forward(tokens)
    transformer = Transformer(model)
    logits = transformer.step(tokens, transformer.new_cache(), emit="all") / LOGIT
    # Random matrices amplify rounding; what matters is that nothing but noise is left.
    assert np.sqrt(((logits - expected) ** 2).mean()) < 0.1 * expected.std()
    assert abs((logits * expected).sum() / (expected**2).sum() - 1) < 0.01
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.85
    assert not transformer.saturations


def test_default_model_loses_little():
    config = json.loads((MODELS / "default/config.json").read_text())
    tensors = load_file(MODELS / "default/model.safetensors")
    tokenizer = Tokenizer.from_file(str(MODELS / "default/tokenizer.json"))
    calibration = tokenizer.encode((MODELS / "texts/calibration.txt").read_text()).ids
    model = quantise(config, tensors, [calibration[:512], calibration[512:1024]])
    text = tokenizer.encode((MODELS / "texts/heldout.txt").read_text()).ids[:512]
    transformer = Transformer(model)
    logits = transformer.step(text, transformer.new_cache(), emit="all") / LOGIT
    expected = FloatModel(config, tensors).forward(text)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95
    assert abs(cross_entropy(logits, text) - cross_entropy(expected, text)) < 0.01
    assert not transformer.saturations


def cross_entropy(logits, tokens):
    logits = np.asarray(logits[:-1], dtype=np.float64)
    total = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1))
    chosen = logits[np.arange(len(logits)), tokens[1:]] - logits.max(axis=1)
    return (total - chosen).mean()


@pytest.mark.parametrize("config", [SMALL, RAGGED], ids=["small", "ragged"])
def test_smoothing_changes_the_balance_and_not_the_function(config):
    tensors, tokens = random_tensors(config, 2), np.arange(40)
    before, after = Statistics(), Statistics()
    expected = FloatModel(config, tensors).forward(tokens, before)
    smooth = smooth_tensors(LlamaConfig.from_json(config), tensors, before)
    logits = FloatModel(config, smooth).forward(tokens, after)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()
    # With alpha 0.5, activations and weights of a channel end up equally large.
    for index in range(2):
        layer = f"model.layers.{index}."

        def columns(tensors, *names, layer=layer):
            return np.max(
                [np.abs(tensors[f"{layer}{n}.weight"]).max(axis=0) for n in names], axis=0
            )

        ratio = after[f"{index}.down_input"] / columns(smooth, "mlp.down_proj")
        assert ratio == pytest.approx(ratio[0], rel=1e-4)

        group = (config["num_key_value_heads"], -1, config["head_dim"])
        x, w = after[f"{index}.o_input"], columns(smooth, "self_attn.o_proj")
        ratio = x.reshape(group).max(axis=1) / w.reshape(group).max(axis=1)
        assert ratio.ravel() == pytest.approx(ratio[0, 0], rel=1e-4)

        for norm, kind, names in (
            ("input_layernorm", "attention_input", [f"self_attn.{n}_proj" for n in "qkv"]),
            ("post_attention_layernorm", "ffn_input", ["mlp.gate_proj", "mlp.up_proj"]),
        ):
            t = tensors[f"{layer}{norm}.weight"] / smooth[f"{layer}{norm}.weight"]
            ratio = t**2 * columns(tensors, *names) / before[f"{index}.{kind}"]
            assert ratio == pytest.approx(ratio[0], rel=1e-4)
            assert np.log(t).mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("gain", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("config", [SMALL, RAGGED], ids=["small", "ragged"])
def test_every_number_fits_its_format(config, gain, seed):
    model, _, _ = random_model(config, seed, gain=gain)
    for name, linear in linears_of(model):
        assert linear.weight.dtype == np.int8
        assert linear.weight.min() >= -127
        assert linear.multiplier.dtype == np.uint16
        assert linear.multiplier.max() >= 1 << 15
        assert 0 <= linear.shift2 <= 47
        # The accumulator's first shift fits 32 bits, and drops no bit more than that needs.
        rows = np.abs(linear.weight.astype(np.int64)).sum(axis=1)
        largest = int(rows.max()) << (IN_WIDTH[name] - 1)
        assert largest >> linear.shift1 <= 1 << 31
        assert linear.shift1 == 0 or largest >> (linear.shift1 - 1) > 1 << 31
    norms = [n for layer in model.layers for n in (layer.attention_norm, layer.ffn_norm)]
    for norm in (*norms, model.final_norm):
        assert 1 << (GAIN_WIDTH - 2) <= np.abs(norm.gain.astype(int)).max() < 1 << (GAIN_WIDTH - 1)
        assert norm.shift in (12, 13)
        assert 0 <= norm.epsilon < 1 << 48
    for layer in model.layers:
        assert 0 <= layer.score_shift < 64
        assert 4 <= layer.gate_fraction < 64
        assert 0 <= layer.glu_shift < 64
    assert model.embedding_multiplier.max() >= 1 << 15


def test_lengths_are_padded_with_zeros():
    model, _, _ = random_model(RAGGED, 1)
    shape = model.shape
    assert (shape.dim, shape.head_dim, shape.ffn, shape.vocab) == (64, 64, 64, 96)
    layer = model.layers[0]
    assert model.embedding.shape == (96, 64)
    assert not model.embedding[:, 40:].any()
    assert not layer.attention_norm.gain[40:].any()
    assert layer.q.weight.shape == (3 * 64, 64)
    heads = layer.q.weight.reshape(3, 64, 64)
    assert heads[:, :36, :40].any()
    assert not heads[:, 36:].any()
    assert not heads[:, :, 40:].any()
    assert not layer.q.multiplier.reshape(3, 64)[:, 36:].any()
    assert layer.o.weight.shape == (64, 3 * 64)
    assert not layer.o.weight.reshape(64, 3, 64)[:, :, 36:].any()
    assert layer.gate.weight.shape == layer.up.weight.shape == layer.down.weight.T.shape == (64, 64)
    assert not layer.down.weight[40:].any()
    assert not layer.down.weight[:, 50:].any()
    assert model.rope.shape == (64, 32, 2)
    assert (model.rope[:, 18:] == (1 << 14, 0)).all()


def test_rows_of_q_and_k_become_rope_pairs():
    model, tensors, _ = random_model(SMALL, 1, smooth=False)
    for name in ("q", "k"):
        weight = tensors[f"model.layers.0.self_attn.{name}_proj.weight"].reshape(-1, 32, 64)
        rows = getattr(model.layers[0], name).weight.reshape(-1, 32, 64)
        for new, old in ((0, 0), (1, 16), (2, 1), (31, 31), (30, 15)):
            scale = np.abs(weight[1, old]).max() / 127
            assert np.array_equal(rows[1, new], np.rint(weight[1, old] / scale))


def test_head_reads_the_embedding_only_where_they_are_tied():
    tied, untied = random_model(SMALL, 1)[0], random_model(RAGGED, 1)[0]
    assert tied.head.weight is tied.embedding
    assert not np.array_equal(untied.head.weight, untied.embedding)


def test_residual_keeps_four_bits_over_the_largest():
    fractions = {}
    for scale in (1, 1 << 10, 1 << 13):
        tensors = random_tensors(SMALL, 1)
        for layer in range(2):  # a large residual that is not in the embedding
            tensors[f"model.layers.{layer}.mlp.down_proj.weight"] *= scale
        statistics, tokens = Statistics(), np.arange(30)
        FloatModel(SMALL, tensors).forward(tokens, statistics)
        fractions[scale] = quantise(SMALL, tensors, tokens).residual_fraction
        assert fractions[scale] == 16 or 26 < log2(statistics["residual"]) + fractions[scale] <= 27
    assert fractions[1] == 16 > fractions[1 << 10] > fractions[1 << 13]


def test_residual_of_large_embeddings_keeps_their_multipliers_in_range():
    tensors = random_tensors(SMALL, 1)
    tensors["model.embed_tokens.weight"] *= 1 << 13
    model = quantise(SMALL, tensors, np.arange(30))
    assert 0 <= model.embedding_shift <= 1
    assert model.embedding_multiplier.max() >= 1 << 14


def test_dead_channels_and_zero_matrices_are_no_trouble():
    tensors = random_tensors(SMALL, 1)
    tensors["model.layers.0.mlp.up_proj.weight"][5] = 0
    tensors["model.layers.0.mlp.down_proj.weight"][:, 7] = 0
    tensors["model.layers.0.input_layernorm.weight"][3] = 0
    tensors["model.layers.1.self_attn.v_proj.weight"][:] = 0
    model = quantise(SMALL, tensors, np.arange(30))
    expected = FloatModel(SMALL, tensors).forward(np.arange(30))
    transformer = Transformer(model)
    logits = transformer.step(np.arange(30), transformer.new_cache(), emit="all") / LOGIT
    assert np.abs(logits - expected).max() < 0.2 * expected.std()


def test_context_limits_the_rope_table():
    model, _, tokens = random_model(SMALL, 1, context=20)
    whole, _, _ = random_model(SMALL, 1)
    assert model.shape == replace(whole.shape, context=20)
    assert np.array_equal(model.rope, whole.rope[:20])


def test_unusable_input_is_refused():
    tensors = random_tensors(SMALL, 1)
    with pytest.raises(ValueError, match="context must be 1 to 64, not 65"):
        quantise(SMALL, tensors, [1], context=65)
    with pytest.raises(ValueError, match="calibration_tokens must be below 96, not 96"):
        quantise(SMALL, tensors, [1, 96])
    with pytest.raises(ValueError, match="calibration_tokens must hold one token at least"):
        quantise(SMALL, tensors, [])
    with pytest.raises(ValueError, match=r"tensor model.norm.weight must have shape \(64,\)"):
        quantise(SMALL, tensors | {"model.norm.weight": np.ones(63)}, [1])
