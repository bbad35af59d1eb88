from collections import Counter
from math import exp
from random import Random

import numpy as np
import pytest

from sim.golden.argmax import argmax
from sim.golden.sampler import (
    probabilities,
    random_number,
    sample,
    temperature_scale,
    top_candidates,
)
from tests.sim import slow_sampler as slow

LOW, HIGH = -(1 << 31), (1 << 31) - 1
WARM = {"multiplier": 47274, "shift": 23}  # temperature 1


def rows(rng):
    """Rows of every kind: wide, near each other, with ties, all alike, at the ends, short."""
    yield [rng.randrange(LOW, HIGH + 1) for _ in range(50)]
    yield [rng.randrange(-300000, 300000) for _ in range(200)]
    yield [rng.choice((-70000, -1, 0, 65536)) for _ in range(60)]
    yield [rng.choice((LOW, 0, HIGH))] * 40
    yield [rng.choice((LOW, -HIGH, HIGH)) for _ in range(40)]
    yield [-rng.randrange(1, 500000) for _ in range(5)]
    yield [rng.randrange(LOW, HIGH)]


def settings(rng):
    return {
        "top_k": rng.choice((1, 2, 7, 32)),
        "multiplier": rng.choice((0, 1, 65535, 47274, rng.randrange(1 << 16))),
        "shift": rng.choice((0, 31, 23, rng.randrange(16, 31))),
        "position": rng.choice((0, (1 << 32) - 1, rng.getrandbits(12))),
    }


@pytest.mark.parametrize("seed", range(30))
def test_sample_equals_slow_sample(seed):
    rng = Random(seed)
    for row in rows(rng):
        for _ in range(5):
            drawn = settings(rng)
            for number in (rng.getrandbits(32), slow.edge_seed(rng, row, **drawn)):
                token = slow.sample(row, seed=number, **drawn)
                assert sample(np.array(row), seed=number, **drawn) == token, (number, drawn)


def test_the_choice_changes_where_the_threshold_reaches_a_sum():
    row = np.array([5, 9, 9])
    for threshold, token in ((0, 1), (16382, 1), (16383, 2), (32765, 2)):
        number = slow.number_at(threshold, 2 * 16383)
        assert number * 2 * 16383 >> 32 == threshold
        seed = slow.seed_of(number, 7)
        assert sample(row, top_k=2, seed=seed, position=7, **WARM) == token


@pytest.mark.parametrize("seed", range(10))
def test_probabilities_equal_slow_probabilities(seed):
    rng = Random(seed)
    for row in rows(rng):
        values = sorted(row, reverse=True)
        scale = {name: settings(rng)[name] for name in ("multiplier", "shift")}
        probs = probabilities(np.array(values), **scale)
        assert probs.tolist() == slow.probabilities(values, **scale), scale


def test_random_number_is_the_published_mix_of_seed_and_position():
    # Of nothing, MurmurHash3 is the mix of its seed: three of its published test values.
    assert [slow.mix(x) for x in (0, 1, 0xFFFFFFFF)] == [0, 0x514E28B7, 0x81F16F39]
    rng = Random(1)
    for _ in range(200):
        seed, position = rng.getrandbits(32), rng.getrandbits(32)
        number = random_number(seed, position)
        assert number == slow.number_of(seed, position)
        assert slow.seed_of(number, position) == seed


@pytest.mark.parametrize("count", [1, 2, 16])
def test_top_candidates_are_sorted_and_ties_go_to_the_lowest_index(count):
    rng = Random(count)
    for row in rows(rng):
        order = slow.order_of(row, count)
        values, indices = top_candidates(np.array(row), count)
        assert indices.tolist() == order
        assert values.tolist() == [row[i] for i in order]


def test_one_candidate_is_the_greedy_choice():
    rng = Random(3)
    for row in map(np.array, rows(rng)):
        for position in range(20):
            assert sample(row, top_k=1, seed=9, position=position, **WARM) == argmax(row)


def chi_square(counts, probs):
    total, draws = sum(probs), sum(counts.values())
    expected = {i: draws * p / total for i, p in enumerate(probs)}
    return sum((counts[i] - e) ** 2 / e for i, e in expected.items() if e)


@pytest.mark.parametrize("along", ["positions", "seeds"])
@pytest.mark.parametrize("temperature", [0.5, 1, 2])
def test_frequencies_match_the_probabilities(along, temperature):
    rng = Random(5)
    row = np.array([rng.randrange(0, 3 << 16) for _ in range(30)])
    multiplier, shift = temperature_scale(temperature)
    values, indices = top_candidates(row, 16)
    rank = {int(index): i for i, index in enumerate(indices)}
    draws = 4000
    counts = Counter()
    for n in range(draws):
        seed, position = (1234, n) if along == "positions" else (n, 77)
        token = sample(
            row, top_k=16, multiplier=multiplier, shift=shift, seed=seed, position=position
        )
        counts[rank[token]] += 1
    # 15 degrees of freedom: more than 37.7 is one chance in a thousand.
    assert chi_square(counts, slow.probabilities(values.tolist(), multiplier, shift)) < 37.7
    exact = [exp((int(v) - int(values[0])) / 65536 / temperature) for v in values]
    assert chi_square(counts, exact) < 37.7


@pytest.mark.parametrize("temperature", [1 / 128, 0.1, 0.7, 1, 1.4427, 8, 128])
def test_probabilities_are_those_of_the_temperature(temperature):
    multiplier, shift = temperature_scale(temperature)
    assert 1 << 15 <= multiplier < 1 << 16
    assert 16 <= shift <= 30
    for nats in (0, 0.01, 0.5, 1, 3, 6):
        depth = round(nats * temperature * 65536)
        p = slow.probabilities([depth, 0], multiplier, shift)[1] / 16384
        assert abs(p - exp(-depth / 65536 / temperature)) < 0.0014 * exp(-nats) + 2**-14


def test_a_multiplier_that_rounds_past_16_bits_is_halved():
    temperature = 1.4426950408889634 * 2**-8 / (2**-8 - 2**-26)
    assert temperature_scale(temperature) == (1 << 15, 23)


@pytest.mark.parametrize("temperature", [0, -1, 0.0078, 128.5, float("nan")])
def test_temperature_must_be_in_range(temperature):
    with pytest.raises(ValueError, match=f"temperature must be 1/128 to 128, not {temperature}"):
        temperature_scale(temperature)
