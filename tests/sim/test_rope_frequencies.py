from math import pi

import numpy as np
import pytest

from sim.compiler.rope_frequencies import (
    linear_frequencies,
    llama3_frequencies,
    plain_frequencies,
    rope_angles,
)

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "context": 8192}


def test_frequencies_fall_from_one_towards_one_over_theta():
    assert plain_frequencies(8, 10000) == pytest.approx((1.0, 0.1, 0.01, 0.001), rel=1e-15)


def test_linear_scaling_stretches_all_positions():
    angles = rope_angles(linear_frequencies(plain_frequencies(16, 1e4), 4), [0, 4, 40])
    np.testing.assert_array_equal(angles, rope_angles(plain_frequencies(16, 1e4), [0, 1, 10]))


def test_llama3_scaling_depends_on_the_length_of_the_wave():
    plain = plain_frequencies(64, 5e5)
    kinds = set()
    for old, new in zip(plain, llama3_frequencies(plain, **LLAMA3), strict=True):
        wave = 2 * pi / old
        if wave <= 8192 / 4:
            kinds.add("kept")
            assert new == old
        elif wave >= 8192 / 1:
            kinds.add("stretched")
            assert new == old / 8
        else:
            kinds.add("between")
            smooth = (8192 / wave - 1) / (4 - 1)
            assert new == pytest.approx((1 - smooth) * old / 8 + smooth * old, rel=1e-14)
            assert old / 8 < new < old
    assert kinds == {"kept", "stretched", "between"}


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan"), "2", None, True])
def test_parameters_must_be_positive_finite_numbers(value):
    plain = plain_frequencies(8, 1e4)
    with pytest.raises(ValueError, match="rope_theta must be a positive finite number, not"):
        plain_frequencies(8, value)
    with pytest.raises(ValueError, match="factor must be a positive finite number, not"):
        linear_frequencies(plain, value)
    for name in LLAMA3:
        shown = "original_max_position_embeddings" if name == "context" else name
        with pytest.raises(ValueError, match=f"^{shown} must be a positive finite number, not"):
            llama3_frequencies(plain, **(LLAMA3 | {name: value}))


def test_low_factor_must_be_below_the_high_one():
    with pytest.raises(ValueError, match=r"low_freq_factor must be below high_freq_factor \(4.0\)"):
        llama3_frequencies(plain_frequencies(8, 1e4), **(LLAMA3 | {"low_freq_factor": 4.0}))
