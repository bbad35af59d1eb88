"""A small model of every family through one chip, bit for bit."""

from dataclasses import replace

import pytest

from sim.compiler.compile import compile_model
from sim.run.check import check_run
from sim.run.golden_run import run_golden
from sim.run.session import Request, Session
from tests.e2e.chips import CONFIGS, chip
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

SEED, COUNT = 11, 3
#: More than one chunk of the chip's rows, and more than the window of mistral.
PROMPT_LEN = 22
#: What no family has: heads padded behind a norm, the other activations, a window of one position.
MORE = {
    "ragged, qk_norm": replace(
        FAMILIES["ragged"], qk_norm=True, activation="gelu", windows=(5, 1), biases=("k", "head")
    ),
    "ungated relu": replace(FAMILIES["mistral"], activation="relu", gated=False),
}


def assert_equal(config, name, folder, prompt_len=PROMPT_LEN):
    """Check that the chip called ``name`` computes what the golden model does."""
    print(f"seed {SEED}")
    model, _, tokens = quantised_decoder(config, SEED)
    prompt = tuple(tokens[:prompt_len].tolist())
    session = Session(
        chip(name),
        compile_model(model, CONFIGS[name]),
        Request(prompt=prompt, max_tokens=COUNT),
        folder,
        max_cycles=2_000_000,
    )
    events = list(session.events())
    assert events[-1]["error"] is None
    golden = run_golden(model, prompt, COUNT)
    checked = check_run(session, golden).total
    assert checked.mismatches == 0, str(checked.first)
    assert session.results[0].tokens == golden.tokens
    assert len(golden.tokens) == COUNT


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_computed_bit_for_bit(name, tmp_path):
    assert_equal(FAMILIES[name], "4x4", tmp_path)


@pytest.mark.parametrize("name", ["mistral", "qwen3", "gemma", "gpt2", "ragged"])
def test_several_tiles_compute_what_one_does(name, tmp_path):
    assert_equal(FAMILIES[name], "4x16, 4 tiles", tmp_path)


@pytest.mark.parametrize("name", MORE)
def test_other_combinations_are_computed_bit_for_bit(name, tmp_path):
    assert_equal(MORE[name], "4x4", tmp_path)


@pytest.mark.parametrize("qk_norm", [False, True], ids=["plain", "qk_norm"])
def test_heads_may_be_256_wide(qk_norm, tmp_path):
    frequencies = tuple(10000.0 ** (-n / 128) for n in range(128))
    config = replace(
        FAMILIES["gemma"],
        head_dim=256,
        score_scale=1 / 16,
        rope_frequencies=frequencies,
        qk_norm=qk_norm,
    )
    assert_equal(config, "16x16", tmp_path)
