"""The chip with parity: the same bits in the same cycles, and what flipped bits become."""

import dataclasses
import json
import pickle
from functools import cache

import pytest

from sim import verilate
from sim.compiler.compile import compile_model
from sim.faults import campaign
from sim.faults.campaign import CONFIG, COUNT, PROMPT, build_faulty, judge, run_cases
from sim.harness import harness
from sim.run.chip import Chip
from sim.run.golden_run import run_golden
from sim.run.session import MemoryTiming, Request, Session, without_data
from tests.e2e import chips

#: Memory, row and cycle: the run reads the bit after that.
FLIPS = (
    ("core.activations.words", 0, 3000),
    ("core.residual.words", 40, 7500),
    ("core.tile.exponents.words", 0, 4000),
    ("core.scheduler.runs", 0, 5000),
    ("core.choice.choices", 1, 9600),
)
SEED, CASES = 1, 20


@cache
def faulty():
    return build_faulty(fast=False)


def compiled(config):
    return compile_model(campaign.model(), config, page_count=1)


def session_of(chip, config, folder):
    request = Request(prompt=PROMPT, max_tokens=COUNT)
    timing = MemoryTiming({"refresh_interval": 0})
    session = Session(chip, compiled(config), request, folder, timing=timing, trace=False,
                      max_cycles=100_000)  # fmt: skip
    *_, last = session.events()
    assert last["error"] is None
    cycles = session.results[0].cycles
    return session.results[0].tokens, [at - cycles[0] for at in cycles], last["counters"]


def test_bits_and_cycles_are_those_of_the_chip_without_parity(tmp_path):
    with_parity = Chip(CONFIG, faulty().folder, faulty().executable)
    tokens, cycles, counters = session_of(with_parity, CONFIG, tmp_path / "with")
    plain = dataclasses.replace(CONFIG, parity=False)
    assert (tokens, cycles) == session_of(chips.chip("4x4"), plain, tmp_path / "without")[:2]
    assert tokens == run_golden(campaign.model(), PROMPT, COUNT).tokens
    assert counters["tokens"] == COUNT


@pytest.mark.parametrize(
    "test",
    ["flipped_bit_stops_the_run_and_the_next_is_right", "flipped_bit_at_rest_is_swept_away"],
)
def test_trap_of_parity(test, tmp_path):
    program = compiled(CONFIG)
    image, pickled = tmp_path / "image.bin", tmp_path / "compiled.pkl"
    program.write_image(image)
    pickled.write_bytes(pickle.dumps(without_data(program)))
    targets = faulty().targets
    given = {
        "prompt": PROMPT,
        "tokens": run_golden(campaign.model(), PROMPT, COUNT).tokens,
        "image": str(image),
        "compiled": str(pickled),
        "targets": {t.path.replace("_0.", "."): n for n, t in enumerate(targets)},
        "flips": FLIPS,
    }
    result = verilate.run(
        faulty().executable,
        "tests.e2e.bench_parity",
        top=harness.TOP,
        run_dir=tmp_path,
        plusargs=harness.image_plusargs(image, program.memory_map),
        env={"SERRANO_PARAMS": json.dumps(given)},
        tests=rf"\.{test}($|/)",
        timeout=300,
    )
    assert result.ok, result.messages or result.log.read_text()[-2000:]


def test_no_fault_of_a_small_campaign_is_silent_or_hangs(tmp_path):
    clean, results = run_cases(faulty(), range(CASES), seed=SEED, folder=tmp_path)
    outcomes = {case.number: judge(case, seen, clean) for case, seen in results}
    protected = [case.number for case, _ in results if case.kind not in ("stream", "dram")]
    assert "hang" not in outcomes.values()
    assert "silent" not in [outcomes[number] for number in protected], outcomes
    assert "detected" in outcomes.values()
    assert len(outcomes) == CASES


def test_a_case_is_the_same_by_itself(tmp_path):
    number = CASES - 8
    _, alone = run_cases(faulty(), [number], seed=SEED, folder=tmp_path / "alone")
    _, after = run_cases(faulty(), [3, 5, number], seed=SEED, folder=tmp_path / "after")
    assert alone[0] == after[-1]
