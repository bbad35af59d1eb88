import pytest

from hw.spec.layout import HEADER_BYTES
from sim.run.check import check_run
from sim.run.golden_run import run_golden
from tests.e2e.chips import CONFIGS, compiled, model, prompt_of, run

#: Golden operations whose clipped results the counter of the requantiser does not see.
ELSEWHERE = ("rope", "residual", "glu")


def assert_equal(session, golden, end):
    assert end["error"] is None
    total = check_run(session, golden).total
    assert not total.mismatches, str(total.first)
    assert session.results[0].tokens == golden.tokens
    assert session.results[0].kind == "end"
    clipped = sum(n for name, n in golden.saturations.items() if name not in ELSEWHERE)
    assert end["counters"]["saturations"] == clipped
    assert total.values > 10_000


@pytest.mark.parametrize("name", CONFIGS)
def test_every_array_computes_what_golden_does(name, tmp_path):
    assert_equal(*run(name, tmp_path, prompt_of(11), 3))


@pytest.mark.parametrize("max_prefill", [1, 2, 5, 64])
def test_chunks_of_the_prompt_change_no_bit(max_prefill, tmp_path):
    assert_equal(*run("16x16", tmp_path, prompt_of(19), 3, max_prefill=max_prefill))


@pytest.mark.parametrize("latency", [1, 2, 17, 60, 200])
def test_memory_latency_changes_no_bit(latency, tmp_path):
    assert_equal(*run("16x16", tmp_path, prompt_of(9), 4, timing={"latency": latency}))


TIMINGS = {
    "one_outstanding": {"outstanding": 1},
    "refreshing": {"refresh_interval": 97, "refresh_cycles": 60},
    "small_rows": {"row_bytes": 64, "banks": 2, "row_miss_cycles": 40},
    "slow_turns": {"turn_cycles": 50, "write_wait": 4},
}


@pytest.mark.parametrize("timing", TIMINGS.values(), ids=TIMINGS)
def test_memory_timing_changes_no_bit(timing, tmp_path):
    assert_equal(*run("16x16", tmp_path, prompt_of(9), 3, timing=timing))


@pytest.mark.parametrize("name", ["8x8", "16x16", "4x16, 4 tiles"])
def test_sequence_crosses_pages(name, tmp_path):
    page_len = CONFIGS[name].page_len
    session, *rest = run(name, tmp_path, prompt_of(page_len - 2), 5)
    assert_equal(session, *rest)
    assert session.compiled.memory_map.page_count > 1


def test_sequence_fills_its_context(tmp_path):
    context = compiled("16x16").memory_map.context
    session, golden, end = run("16x16", tmp_path, prompt_of(context - 3), 4)
    assert_equal(session, golden, end)
    assert golden.length == context


def test_end_of_sequence_ends_the_run(tmp_path):
    prompt, limit, at = prompt_of(9), 9, 3
    eos = run_golden(model(), prompt, limit).tokens[at]
    session, golden, end = run("16x16", tmp_path, prompt, limit, eos_token=eos)
    assert_equal(session, golden, end)
    assert len(session.results[0].tokens) == at + 1


def test_changed_weight_is_found_where_it_is(tmp_path):
    name = "layer 1 o"
    program = compiled("16x16")
    addr = program.addresses[program.op_id(name)] + HEADER_BYTES + 3  # past the strip's scales
    session, golden, _ = run("16x16", tmp_path, prompt_of(5), 2, flip=[addr])
    first = check_run(session, golden).total.first
    assert first.operator == name
    assert first.row == 0
    assert first.cycle > 0
    assert first.expected != first.got


def test_vocabulary_ends_inside_a_strip():
    assert model().shape.vocab % 32
