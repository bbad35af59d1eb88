"""Random models are worth testing with."""

import numpy as np
import pytest

from sim.golden.random_model import random_model, small_shape
from sim.golden.record import Recorder
from sim.golden.transformer import Transformer

SHAPES = {
    "small": {},
    "two blocks a head": {"head_dim": 64, "dim": 128},
    "default model": {"layers": 5, "dim": 128, "ffn": 352, "vocab": 1024, "context": 128},
}


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES)
def test_numbers_of_every_operator_are_of_useful_size(sizes, bias):
    model = random_model(small_shape(**sizes), 3, bias=bias)
    transformer, recorder = Transformer(model), Recorder()
    tokens = np.random.default_rng(3).integers(0, model.shape.vocab, 40)
    logits = transformer.step(tokens, transformer.new_cache(), recorder=recorder, emit="all")
    results = 0
    for output in recorder.outputs:
        values = output.values.astype(np.float64)
        results += values.size
        assert np.mean(values == 0) < 0.2, output.name
        assert np.mean(np.abs(values) == np.abs(values).max()) < 0.02, output.name
        if output.exponents is not None:
            assert output.exponents.min() > 0, output.name
            assert output.exponents.min() < output.exponents.max(), output.name
    assert 0 < sum(transformer.saturations.values()) < results / 500
    assert len(set(logits.argmax(axis=1))) > 5


def test_same_seed_same_model():
    first, again = (random_model(small_shape(), 7, bias=True) for _ in range(2))
    other = random_model(small_shape(), 8, bias=True)
    np.testing.assert_array_equal(first.layers[1].q.bias, again.layers[1].q.bias)
    np.testing.assert_array_equal(first.head.weight, again.head.weight)
    assert np.any(first.head.weight != other.head.weight)
