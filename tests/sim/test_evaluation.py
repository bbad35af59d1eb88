"""What `make eval` measures."""

import math

import numpy as np
import pytest

from sim.compiler.float_model import FloatModel
from sim.golden.transformer import Transformer
from sim.run.evaluation import Evaluation, evaluate, windows_of
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

SEED = 12


@pytest.fixture(scope="module", params=["llama", "ragged", "gpt2", "gemma"])
def case(request):
    print(f"seed {SEED}")
    config = FAMILIES[request.param]
    model, tensors, tokens = quantised_decoder(config, SEED)
    windows = [tokens[:41].tolist(), tokens[40:48].tolist()]
    return config, tensors, model, windows


def slow_loss(logits, target):
    return -math.log(math.exp(logits[target]) / sum(math.exp(logit) for logit in logits))


def test_losses_are_those_of_both_models(case):
    config, tensors, model, windows = case
    result = evaluate(config, tensors, model, windows)
    assert result.tokens == 40 + 7
    for window, real, golden, agrees in zip(
        windows, result.float_losses, result.golden_losses, result.agrees, strict=True
    ):
        transformer = Transformer(model)
        integers = transformer.step(window[:-1], transformer.new_cache(), emit="all") / 65536
        floats = FloatModel(config, tensors).forward(window[:-1])
        for at, target in enumerate(window[1:]):
            assert real[at] == pytest.approx(slow_loss(floats[at].tolist(), target), rel=1e-4)
            assert golden[at] == pytest.approx(slow_loss(integers[at].tolist(), target))
            assert agrees[at] == (floats[at].argmax() == integers[at].argmax())


def test_noise_is_that_of_the_residual(case):
    config, tensors, model, windows = case
    result = evaluate(config, tensors, model, windows)
    learned = ["positions"] if "positions" in tensors else []
    assert list(result.noise) == ["embed", *learned, "layer 0", "layer 1"]
    ratios = []
    for window in windows:
        rows = np.asarray(tensors["embedding"])[window[:-1]] * config.embedding_scale
        if config.norm == "layer":
            rows = rows - rows.mean(axis=1, keepdims=True)
        largest = np.abs(rows).max(axis=1, keepdims=True)
        assert largest.all()
        golden = []
        transformer = Transformer(model)
        transformer.step(
            window[:-1],
            transformer.new_cache(),
            emit="none",
            recorder=lambda name, kind, start, values, *rest, seen=golden: (
                seen.append(values) if name == "embed" else None
            ),
        )
        difference = golden[0][:, : rows.shape[1]] / 2**model.residual_fraction - rows
        ratios += list((difference**2).sum(axis=1) / (rows**2).sum(axis=1))
    assert result.noise["embed"] == pytest.approx(np.mean(ratios), rel=1e-4)
    assert result.signal_to_noise["embed"] == pytest.approx(-10 * math.log10(np.mean(ratios)), 1e-4)
    assert 20 < result.signal_to_noise["layer 1"] < result.signal_to_noise["embed"]


def test_ratio_and_error_are_of_pairs():
    real = [np.array([1.0, 3.0]), np.array([2.0])]
    golden = [np.array([1.1, 3.0]), np.array([2.3])]
    result = Evaluation(real, golden, [np.array([True, False]), np.array([True])])
    ratio, error = result.ratio
    assert result.float_perplexity == pytest.approx(math.exp(2))
    assert ratio == pytest.approx(result.golden_perplexity / result.float_perplexity)
    deviation = math.sqrt(((0.1 - 0.4 / 3) ** 2 + (0.4 / 3) ** 2 + (0.3 - 0.4 / 3) ** 2) / 2)
    assert error == pytest.approx(ratio * deviation / math.sqrt(3))
    assert result.agreement == pytest.approx(2 / 3)


def test_one_token_has_no_error():
    result = Evaluation([np.array([1.0])], [np.array([1.0])], [np.array([True])])
    assert result.ratio[0] == 1
    assert math.isnan(result.ratio[1])


def test_windows_predict_every_token_once():
    assert windows_of(range(8), 3) == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7]]
    assert windows_of(range(8), 3, limit=4) == [[0, 1, 2, 3], [3, 4]]
    assert windows_of(range(4), 3) == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match="the text must have two tokens at least, not 1"):
        windows_of([5], 3)
