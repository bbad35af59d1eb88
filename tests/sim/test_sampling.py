import re

import numpy as np
import pytest

from sim.golden.argmax import argmax
from sim.golden.random_model import random_model, small_shape
from sim.golden.sampler import sample, temperature_scale
from sim.golden.sampling import GREEDY, Sampling, sampling_of
from sim.golden.transformer import Transformer

SEED = 3
PROMPT = (3, 14, 15, 9)


def test_draw_is_that_of_the_sampler():
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    sampling = sampling_of(temperature=0.8, top_k=5, seed=7, most=8)
    multiplier, shift = temperature_scale(0.8)
    assert sampling == Sampling(5, multiplier, shift, 7)
    drawn = set()
    for position in range(50):
        logits = rng.integers(0, 1 << 17, 40)
        token = sampling.draw(logits, position)
        scale = {"multiplier": multiplier, "shift": shift}
        assert token == sample(logits, top_k=5, seed=7, position=position, **scale)
        drawn.add(token == argmax(logits))
    assert drawn == {False, True}


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 8, "seed": 5}, {"temperature": 3.0, "top_k": 1, "seed": 5}]
)
def test_temperature_0_and_one_candidate_give_the_likeliest_token(options):
    sampling = sampling_of(**options, most=8)
    logits = np.array([1, 9, -4, 9])
    assert sampling.top_k == 1
    assert {sampling.draw(logits, position) for position in range(20)} == {1}


def test_top_k_is_all_that_the_chip_keeps_by_default():
    assert sampling_of(temperature=1.0, most=32).top_k == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k must be 1 to 8 (what the chip keeps), not 0"),
        ({"top_k": 9}, "top_k must be 1 to 8 (what the chip keeps), not 9"),
        ({"seed": -1}, "seed must be 0 to 4294967295, not -1"),
        ({"seed": 1 << 32}, "seed must be 0 to 4294967295, not 4294967296"),
        ({"temperature": -1.0}, "temperature must be 1/128 to 128, not -1.0"),
    ],
)
def test_numbers_that_are_not_allowed_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        sampling_of(**options, most=8)


def test_each_token_is_drawn_by_its_own_position():
    model = random_model(small_shape(), 2)
    sampling = sampling_of(temperature=8.0, seed=1, most=32)
    transformer = Transformer(model)
    cache = transformer.new_cache()
    expected, fed = [], PROMPT
    for count in range(12):
        logits = transformer.step(fed, cache)[0]
        expected.append(sampling.draw(logits, len(PROMPT) + count))
        fed = expected[-1:]
    for chunk in (1, 64):
        tokens = list(transformer.generate(PROMPT, 12, chunk=chunk, sampling=sampling))
        assert tokens == expected
    assert list(transformer.generate(PROMPT, 12)) != expected
    assert list(transformer.generate(PROMPT, 12, sampling=GREEDY)) == list(
        transformer.generate(PROMPT, 12)
    )
