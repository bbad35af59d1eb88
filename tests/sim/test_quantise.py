from dataclasses import replace
from math import ceil, log2

import numpy as np
import pytest

from hw.spec.formats import GAIN_WIDTH
from sim.compiler.checkpoint import read_checkpoint
from sim.compiler.float_model import FloatModel
from sim.compiler.quantise import quantise
from sim.compiler.statistics import Statistics
from sim.golden.embedding import embed
from sim.golden.transformer import Transformer
from sim.run.model import CALIBRATION, MODELS
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES, random_tensors, random_tokens

LLAMA, RAGGED, GPT2, QWEN3 = (FAMILIES[name] for name in ("llama", "ragged", "gpt2", "qwen3"))
#: QK-norm where heads are padded.
RAGGED_QK_NORM = replace(RAGGED, qk_norm=True)
LOGIT = 1 << 16
IN_WIDTH = {"q": 20, "k": 20, "v": 20, "gate": 20, "up": 20, "o": 18, "down": 24, "head": 20}
CONFIGS = {
    **FAMILIES,
    "ragged, qk_norm": RAGGED_QK_NORM,
    "ragged, layer norm": replace(
        RAGGED, norm="layer", biases=("v", "up"), activation="gelu", windows=(7, 0)
    ),
    "ungated relu": replace(LLAMA, gated=False, activation="relu", biases=("down", "head")),
    "score scale": replace(LLAMA, score_scale=0.05),
    "score scale, qk_norm": replace(QWEN3, score_scale=0.4, heads=8, kv_heads=1),
    "256 wide heads": replace(
        LLAMA,
        head_dim=256,
        heads=2,
        score_scale=1 / 16,
        rope_frequencies=tuple(1 / (1 + np.arange(128))),
    ),
}


def linears_of(model):
    for layer in model.layers:
        for name in ("q", "k", "v", "o", "gate", "up", "down"):
            if getattr(layer, name) is not None:
                yield name, getattr(layer, name)
    yield "head", model.head


def logits_of(model, tokens):
    transformer = Transformer(model)
    logits = transformer.step(tokens, transformer.new_cache(), emit="all") / LOGIT
    assert not transformer.saturations
    return logits


@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "plain"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_integer_logits_follow_the_float_model(config, smooth):
    model, tensors, tokens = quantised_decoder(config, 1, smooth=smooth)
    expected = FloatModel(config, tensors).forward(tokens)
    logits = logits_of(model, tokens)
    # Random matrices amplify rounding; what matters is that nothing but noise is left.
    assert np.sqrt(((logits - expected) ** 2).mean()) < 0.1 * expected.std()
    assert abs((logits * expected).sum() / (expected**2).sum() - 1) < 0.015
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.85


def test_default_model_loses_little():
    config, tensors, tokenizer = read_checkpoint(MODELS / "default")
    calibration = tokenizer.encode(CALIBRATION.read_text())
    model = quantise(config, tensors, [calibration[:512], calibration[512:1024]])
    text = tokenizer.encode((MODELS / "texts/heldout.txt").read_text())[:512]
    logits, expected = logits_of(model, text), FloatModel(config, tensors).forward(text)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95
    assert abs(cross_entropy(logits, text) - cross_entropy(expected, text)) < 0.01


def cross_entropy(logits, tokens):
    logits = np.asarray(logits[:-1], dtype=np.float64)
    total = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1))
    chosen = logits[np.arange(len(logits)), tokens[1:]] - logits.max(axis=1)
    return (total - chosen).mean()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("gain", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_number_fits_its_format(config, gain, seed):
    model, _, _ = quantised_decoder(config, seed, gain=gain)
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
        if linear.bias is not None:
            assert (linear.bias.dtype, linear.bias.shape) == (np.int32, rows.shape)
    norms = [n for layer in model.layers for n in (layer.attention_norm, layer.ffn_norm)]
    heads = [n for layer in model.layers for n in (layer.q_norm, layer.k_norm) if n is not None]
    assert len(heads) == (4 if config.qk_norm else 0)
    for norm in (*norms, *heads, model.final_norm):
        assert 1 << (GAIN_WIDTH - 2) <= np.abs(norm.gain.astype(int)).max() < 1 << (GAIN_WIDTH - 1)
        assert norm.shift in ((14, 15) if any(norm is head for head in heads) else (12, 13))
        assert 0 <= norm.epsilon < 1 << 48
    for layer in model.layers:
        assert 0 <= layer.score_shift < 64
        assert 0 <= layer.table_shift < 18
        assert 0 <= layer.glu_shift < 64
    assert model.embedding_multiplier.max() >= 1 << 15
    if model.positions is not None:
        assert model.positions_multiplier.max() >= 1 << 15


def test_lengths_are_padded_with_zeros():
    biases = ("q", "k", "v", "o", "gate", "up", "down", "head")
    model, _, _ = quantised_decoder(replace(RAGGED_QK_NORM, biases=biases), 1)
    shape = model.shape
    assert (shape.dim, shape.head_dim, shape.ffn, shape.vocab) == (64, 64, 64, 101)
    layer = model.layers[0]
    assert model.embedding.shape == (101, 64)
    assert not model.embedding[:, 40:].any()
    assert not layer.attention_norm.gain[40:].any()
    for norm in (layer.q_norm, layer.k_norm):
        assert norm.gain.shape == (64,)
        assert norm.gain[:36].all()
        assert not norm.gain[36:].any()
    assert layer.q.weight.shape == (3 * 64, 64)
    heads = layer.q.weight.reshape(3, 64, 64)
    assert heads[:, :36, :40].any()
    assert not heads[:, 36:].any()
    assert not heads[:, :, 40:].any()
    for values in (layer.q.multiplier, layer.q.bias):
        assert values.reshape(3, 64)[:, :36].all()
        assert not values.reshape(3, 64)[:, 36:].any()
    assert not layer.v.bias[36:].any()
    assert layer.o.weight.shape == (64, 3 * 64)
    assert not layer.o.weight.reshape(64, 3, 64)[:, :, 36:].any()
    assert layer.gate.weight.shape == layer.up.weight.shape == layer.down.weight.T.shape == (64, 64)
    assert not layer.down.weight[40:].any()
    assert not layer.down.weight[:, 50:].any()
    for bias, length in ((layer.o, 40), (layer.down, 40), (layer.gate, 50), (layer.up, 50)):
        assert bias.bias[:length].all()
        assert not bias.bias[length:].any()
    assert model.head.bias.shape == (101,)
    assert model.rope.shape == (64, 32, 2)
    assert (model.rope[:, 18:] == (1 << 14, 0)).all()


def test_rows_of_q_and_k_become_rope_pairs():
    config = replace(QWEN3, biases=("q", "k"))
    model, tensors, _ = quantised_decoder(config, 1, smooth=False, feedback=False)
    for name in ("q", "k"):
        weight = tensors[f"0.{name}.weight"].reshape(-1, 32, 64)
        bias = tensors[f"0.{name}.bias"].reshape(-1, 32)
        gain = tensors[f"0.{name}_norm.gain"]
        linear, norm = getattr(model.layers[0], name), getattr(model.layers[0], f"{name}_norm")
        rows, biases = linear.weight.reshape(-1, 32, 64), linear.bias.reshape(-1, 32)
        for new, old in ((0, 0), (1, 16), (2, 1), (31, 31), (30, 15)):
            scale = np.abs(weight[1, old]).max() / 127
            assert np.array_equal(rows[1, new], np.rint(weight[1, old] / scale))
            ratio = biases[1, new] / biases[1, 0]
            assert ratio == pytest.approx(bias[1, old] / bias[1, 0], rel=1e-2)
            ratio = norm.gain[new] / norm.gain[0]
            assert ratio == pytest.approx(gain[old] / gain[0], rel=1e-3)


def test_norm_of_a_head_has_the_head_s_own_length():
    config = replace(RAGGED_QK_NORM, score_scale=0.3)
    tensors, tokens = random_tensors(config, 1), random_tokens(config, 2)
    statistics = Statistics()
    FloatModel(config, tensors).hidden(tokens, statistics)
    layer = quantise(config, tensors, tokens, smooth=False).layers[1]
    for name, scale in (("q", 0.3 * log2(np.e)), ("k", 1.0)):
        norm, gain = getattr(layer, f"{name}_norm"), tensors[f"1.{name}_norm.gain"] * scale
        # What enters has 18 bits, one of them headroom; what leaves is below its hard bound.
        fraction = min(20, 16 - ceil(log2(statistics[f"1.{name}_raw"])))
        assert norm.epsilon == round(config.epsilon * 36 * 4**fraction)
        bound = np.abs(gain).max() * 6
        out_fraction = 17 - ceil(log2(bound))
        gain_fraction = norm.shift + out_fraction - 17
        assert norm.gain[0] == pytest.approx(gain[0] * 6 * 2**gain_fraction, abs=0.51)
        assert norm.gain[1] == pytest.approx(gain[18] * 6 * 2**gain_fraction, abs=0.51)


def test_biases_are_in_the_unit_of_the_output():
    model, tensors, _ = quantised_decoder(GPT2, 1, smooth=False)
    for name in ("o", "down"):
        bias = tensors[f"0.{name}.bias"]
        expected = np.rint((bias - bias.mean()) * 2.0**model.residual_fraction)
        assert np.array_equal(getattr(model.layers[0], name).bias, expected)
    expected = tensors["embedding"] @ tensors["final_norm.bias"] * LOGIT
    assert np.array_equal(model.head.bias, np.rint(expected))


def test_learned_positions_are_rows_of_their_own():
    model, tensors, _ = quantised_decoder(GPT2, 1)
    table = tensors["positions"] - tensors["positions"].mean(axis=1, keepdims=True)
    scale = model.positions_multiplier / 2.0 ** (model.positions_shift + model.residual_fraction)
    assert np.abs(model.positions * scale[:, None] - table).max() < 0.51 * scale.max()
    assert model.positions.shape == (64, 64)
    # No table rotates: both are what the position is told by.
    assert (model.rope == (1 << 14, 0)).all()
    assert quantised_decoder(LLAMA, 1)[0].positions is None


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_any_token_at_any_position_leaves_the_headroom(size):
    tensors, tokens = random_tensors(GPT2, 1), random_tokens(GPT2, 2)
    tensors["embedding"][95] = np.tile([1, -1], 32) * size  # which no calibration sees
    tensors["positions"][63] = np.tile([1, -1], 32) * size
    model = quantise(GPT2, tensors, tokens[tokens != 95])
    rows = [
        embed(elements, multiplier, shift)
        for elements, multiplier, shift in (
            (model.embedding, model.embedding_multiplier, model.embedding_shift),
            (model.positions, model.positions_multiplier, model.positions_shift),
        )
    ]
    assert sum(np.abs(table).max() for table in rows) < 1 << 27
    total = (rows[0][95] + rows[1][63]) / 2.0**model.residual_fraction
    assert total == pytest.approx(np.tile([2, -2], 32) * size, rel=1e-4)


def test_embedding_scale_is_not_the_head_s():
    config = replace(LLAMA, embedding_scale=11.5)
    model, tensors, _ = quantised_decoder(config, 1)
    scale = model.embedding_multiplier / 2.0 ** (model.embedding_shift + model.residual_fraction)
    wanted = np.abs(tensors["embedding"]).max(axis=1) / 127 * 11.5
    assert scale == pytest.approx(wanted, rel=1e-4)
    one, other = (
        quantise(replace(config, embedding_scale=scale), tensors, [1, 2], smooth=False).head
        for scale in (11.5, 1.0)
    )
    assert np.array_equal(one.multiplier, other.multiplier)
    assert (one.shift1, one.shift2) == (other.shift1, other.shift2)


def test_windows_are_those_of_the_layers():
    model, _, _ = quantised_decoder(replace(LLAMA, windows=(0, 9)), 1)
    assert [layer.window for layer in model.layers] == [0, 9]


@pytest.mark.parametrize(
    ("activation", "bits"), [("silu", 4), ("gelu", 5), ("gelu_tanh", 5), ("relu", 5)]
)
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "ungated"])
def test_table_shift_leaves_the_steps_of_the_table(activation, bits, gated):
    config = replace(LLAMA, activation=activation, gated=gated)
    tensors, tokens = random_tensors(config, 1), random_tokens(config, 2)
    statistics = Statistics()
    FloatModel(config, tensors).hidden(tokens, statistics)
    model = quantise(config, tensors, tokens, smooth=False)
    for index, layer in enumerate(model.layers):
        fraction = {
            name: min(20, 16 - ceil(log2(statistics[f"{index}.{name}"])))
            for name in (("gate", "up") if gated else ("gate",))
        }
        assert layer.activation == activation
        assert layer.table_shift == fraction["gate"] - bits
        product = min(20, 22 - ceil(log2(statistics[f"{index}.glu"])), sum(fraction.values()))
        assert layer.glu_shift == sum(fraction.values()) - product


def test_head_has_the_embedding_s_weights_only_where_they_are_tied():
    for config, tied in ((LLAMA, True), (replace(LLAMA, tied=False), False)):
        model, _, _ = quantised_decoder(config, 1, smooth=False, feedback=False)
        assert np.array_equal(model.head.weight, model.embedding) == tied
    model, _, _ = quantised_decoder(LLAMA, 1)
    assert not np.array_equal(model.head.weight, model.embedding)


def test_residual_keeps_four_bits_over_the_largest():
    fractions = {}
    for scale in (1, 1 << 10, 1 << 13):
        tensors = random_tensors(LLAMA, 1)
        for layer in range(2):  # a large residual that is not in the embedding
            tensors[f"{layer}.down.weight"] *= scale
        statistics, tokens = Statistics(), np.arange(30)
        FloatModel(LLAMA, tensors).forward(tokens, statistics)
        fractions[scale] = quantise(LLAMA, tensors, tokens).residual_fraction
        assert fractions[scale] == 16 or 26 < log2(statistics["residual"]) + fractions[scale] <= 27
    assert fractions[1] == 16 > fractions[1 << 10] > fractions[1 << 13]


@pytest.mark.parametrize("where", ["embedding", "scale", "positions"])
def test_residual_of_large_tables_keeps_their_multipliers_in_range(where):
    config = replace(LLAMA, embedding_scale=8192.0) if where == "scale" else LLAMA
    config = GPT2 if where == "positions" else config
    tensors = random_tensors(config, 1)
    if where == "scale":
        tensors["embedding"] *= 8192  # which the scale's own tensors leave out
    else:
        tensors[where] *= 1 << 14
    model = quantise(config, tensors, np.arange(30))
    name = "positions" if where == "positions" else "embedding"
    assert 0 <= getattr(model, f"{name}_shift") <= 2
    assert getattr(model, f"{name}_multiplier").max() >= 1 << 14


def test_dead_channels_and_zero_matrices_are_no_trouble():
    config = replace(LLAMA, biases=("up",))
    tensors = random_tensors(config, 1)
    tensors["0.up.weight"][5] = 0
    tensors["0.down.weight"][:, 7] = 0
    tensors["0.attention_norm.gain"][3] = 0
    tensors["1.v.weight"][:] = 0
    tokens = np.arange(30)
    expected = FloatModel(config, tensors).forward(tokens)
    logits = logits_of(quantise(config, tensors, tokens), tokens)
    assert np.sqrt(((logits - expected) ** 2).mean()) < 0.1 * expected.std()


def test_context_limits_the_tables():
    model, _, _ = quantised_decoder(GPT2, 1, context=20)
    whole, _, _ = quantised_decoder(GPT2, 1)
    assert model.shape == replace(whole.shape, context=20)
    assert np.array_equal(model.rope, whole.rope[:20])
    assert np.array_equal(model.positions, whole.positions[:20])
    assert len(model.positions_multiplier) == 20


def test_unusable_input_is_refused():
    tensors = random_tensors(LLAMA, 1)
    with pytest.raises(ValueError, match="context must be 1 to 64, not 65"):
        quantise(LLAMA, tensors, [1], context=65)
    with pytest.raises(ValueError, match="calibration_tokens must be below 96, not 96"):
        quantise(LLAMA, tensors, [1, 96])
    with pytest.raises(ValueError, match="calibration_tokens must hold one token at least"):
        quantise(LLAMA, tensors, [])
    with pytest.raises(ValueError, match=r"tensor final_norm.gain must have shape \(64,\)"):
        quantise(LLAMA, tensors | {"final_norm.gain": np.ones(63)}, [1])
    for name in ("score_scale", "embedding_scale"):
        with pytest.raises(ValueError, match=f"{name} must be positive, not 0"):
            quantise(replace(LLAMA, **{name: 0}), tensors, [1])


@pytest.mark.parametrize(
    ("config", "name", "factor", "message"),
    [
        (LLAMA, "1.gate.weight", 1e5, r"1.gate must stay below 2\*\*12, not reach"),
        (FAMILIES["gemma"], "1.gate.weight", 1e5, r"1.gate must stay below 2\*\*11, not reach"),
        (LLAMA, "0.k.weight", 1e9, "0.q and k are too large"),
        (LLAMA, "1.down.weight", 1e9, r"residual must stay below 2\*\*27, not reach"),
        (GPT2, "final_norm.bias", 1e6, r"head: the bias must stay below 2\*\*31 units"),
        (QWEN3, "0.q_norm.gain", 1e7, "0.q and k are too large"),
    ],
)
def test_values_that_no_format_holds_are_refused(config, name, factor, message):
    tensors = random_tensors(config, 1)
    tensors[name] = tensors[name] * factor
    with pytest.raises(ValueError, match=message):
        quantise(config, tensors, np.arange(30), smooth=False)


def test_epsilon_must_fit_its_field():
    config = replace(LLAMA, epsilon=1e5)
    with pytest.raises(ValueError, match=r"final_norm: epsilon must stay below 2\*\*48 squares"):
        quantise(config, random_tensors(config, 1), np.arange(30))
