"""Rounding with error feedback, against the optimum it stands for, worked out anew at each step."""

from dataclasses import replace

import numpy as np
import pytest

from sim.compiler import error_feedback
from sim.compiler.error_feedback import DAMPING, STEP, ErrorFeedback
from sim.compiler.float_model import FloatModel
from sim.compiler.quantise import quantise
from sim.compiler.statistics import Statistics
from tests.sim.random_decoder import FAMILIES, random_tensors, random_tokens

SEED = 3
LENGTH = STEP + 21
RAGGED = FAMILIES["ragged"]
INPUTS = {
    "q": "attention_input", "k": "attention_input", "v": "attention_input", "o": "o_input",
    "gate": "ffn_input", "up": "ffn_input", "down": "down_input",
}  # fmt: skip


def random_case(length=LENGTH, rows=5):
    """Mean products of inputs that have much in common, and weights in units of their scale."""
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    inputs = rng.standard_normal((4 * length, length)) @ rng.standard_normal((length, length))
    inputs *= np.exp(rng.standard_normal(length))
    weights = rng.standard_normal((rows, length))
    weights *= 127 / np.abs(weights).max(axis=1, keepdims=True)
    return inputs.T @ inputs / len(inputs), weights


def cost(change, products):
    """Mean square of what a change of the weights changes in the outputs."""
    return ((change @ products) * change).sum()


def slow_round(weights, products):
    """After each weight, find those left that make good best all errors so far."""
    products = products + DAMPING * products.diagonal().mean() * np.eye(len(products))
    order = sorted(range(len(products)), key=lambda k: -products[k, k])
    rounded = np.zeros(weights.shape)
    for row, exact in enumerate(weights):
        error = np.zeros(len(exact))
        for at, k in enumerate(order):
            done, left = order[:at], order[at:]
            best = exact[left].copy()
            if done:
                pull = products[np.ix_(left, done)] @ error[done]
                best -= np.linalg.solve(products[np.ix_(left, left)], pull)
            rounded[row, k] = min(127, max(-127, round(best[0])))
            error[k] = rounded[row, k] - exact[k]
    return rounded


def test_each_weight_is_the_best_given_those_before_it():
    products, weights = random_case()
    rounded = ErrorFeedback(products).round(weights)
    assert rounded.dtype == np.int8
    assert np.array_equal(rounded, slow_round(weights, products))
    assert np.abs(rounded).max() == 127


def test_outputs_change_less_than_with_plain_rounding():
    products, weights = random_case(rows=40)
    rounded = ErrorFeedback(products).round(weights)
    assert cost(rounded - weights, products) < 0.5 * cost(np.rint(weights) - weights, products)


def test_inputs_with_nothing_in_common_get_plain_rounding():
    _, weights = random_case()
    products = np.diag(np.arange(LENGTH, dtype=np.float64))  # the first one is silent
    assert np.array_equal(ErrorFeedback(products).round(weights), np.rint(weights))
    assert np.array_equal(ErrorFeedback(0 * products).round(weights), np.rint(weights))


def test_rows_are_rounded_by_themselves(monkeypatch):
    products, weights = random_case(rows=7)
    together = ErrorFeedback(products).round(weights)
    monkeypatch.setattr(error_feedback, "ROWS", 3)
    assert np.array_equal(ErrorFeedback(products).round(weights), together)
    assert np.array_equal(ErrorFeedback(products).round(weights[4:5]), together[4:5])


def dequantised(linear, weight, name):
    """Return weights as the integers stand for them, without padding, in the order of ``weight``.

    Only for ragged: 40 elements of the residual, 50 of the network, heads of 36.
    """
    rows = linear.weight.astype(np.float64)
    if name in "qkv":
        rows = rows.reshape(-1, 64, 64)[:, :36, :40]
        if name != "v":
            rows = rows.reshape(len(rows), 18, 2, 40).swapaxes(1, 2)
        rows = rows.reshape(-1, 40)
    elif name == "o":
        rows = rows.reshape(64, 3, 64)[:40, :, :36].reshape(40, -1)
    else:
        rows = rows[: weight.shape[0], : weight.shape[1]]
    return rows * np.abs(weight).max(axis=1, keepdims=True) / 127


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_every_matrix_is_rounded_for_its_own_input(tied):
    config = replace(RAGGED, tied=tied)
    tensors, tokens = random_tensors(config, SEED), random_tokens(config, SEED)
    statistics = Statistics(products=True)
    FloatModel(config, tensors).hidden(tokens, statistics)
    plain, fed = (
        quantise(config, tensors, tokens, smooth=False, feedback=feedback)
        for feedback in (False, True)
    )
    for index in range(config.layers):
        for name, kind in INPUTS.items():
            weight = tensors[f"{index}.{name}.weight"]
            products = statistics.mean_products(f"{index}.{kind}")
            costs = [
                cost(
                    dequantised(getattr(model.layers[index], name), weight, name) - weight, products
                )
                for model in (plain, fed)
            ]
            assert costs[1] < 0.7 * costs[0], name
    weight = tensors["embedding" if tied else "head.weight"]
    products = statistics.mean_products("head_input")
    costs = [
        cost(dequantised(model.head, weight, "head") - weight, products) for model in (plain, fed)
    ]
    assert costs[1] < 0.7 * costs[0]
    assert np.array_equal(fed.embedding, plain.embedding)
