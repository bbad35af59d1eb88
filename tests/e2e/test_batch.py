"""Several requests at once: each has the bits that it has alone."""

import json
import pickle
import random
from pathlib import Path

import pytest

from sim import verilate
from sim.harness import harness
from sim.run.check import check_run
from sim.run.compare import compare_tokens, compare_trace
from sim.run.expectation import payload_widths
from sim.run.golden_run import GoldenRun, run_golden
from sim.run.passes import split
from sim.run.session import Request, without_data
from sim.run.trace import read_trace
from tests.e2e.chips import CONFIGS, chip, compiled, model, prompt_of, serve

CHIP, PAGES = "4x4", 16
PAGE_LEN = CONFIGS[CHIP].page_len
SEED = 7


def prompts(seed, lengths):
    print(f"seed {seed}")
    rng = random.Random(seed)
    return [tuple(rng.randrange(90) for _ in range(length)) for length in lengths]


def passes(session):
    """Return the places of each pass: lists of (request, position) by row."""
    segments = read_trace(session.trace_path, payload_widths(session.compiled.config))
    return [[(p.request, p.position) for p in one.places] for one in split(segments)]


def assert_equal(session, golden, end, kept=()):
    assert end["error"] is None
    total = check_run(session, golden, kept).total
    assert not total.mismatches, str(total.first)
    assert total.values > 10_000


def kinds(session):
    return [result.kind for result in session.results]


@pytest.mark.parametrize("name", [CHIP, "4x16, 4 tiles"])
def test_requests_of_a_batch_have_the_bits_they_have_alone(name, tmp_path):
    requests = [
        Request(prompt=prompt, max_tokens=count)
        for prompt, count in zip(prompts(SEED, (11, 1, 30, 5)), (9, 12, 5, 3), strict=True)
    ]
    session, golden, end = serve(name, tmp_path / "batch", requests, page_count=PAGES)
    assert_equal(session, golden, end)
    assert kinds(session) == ["end"] * 4
    shared = [rows for rows in passes(session) if len({request for request, _ in rows}) > 1]
    assert len(shared) > 4
    assert max(len({request for request, _ in rows}) for rows in shared) == 4
    assert end["counters"]["passes"] == len(passes(session))
    assert end["counters"]["tokens"] == sum(request.max_tokens for request in requests)

    alone, _, _ = serve(name, tmp_path / "alone", requests[2:3], page_count=PAGES)
    assert alone.results[0].tokens == session.results[2].tokens


@pytest.mark.parametrize("max_prefill", [1, 3])
def test_rows_of_prompts_may_be_few(max_prefill, tmp_path):
    requests = [
        Request(prompt=prompt, max_tokens=4) for prompt in prompts(SEED + max_prefill, (9, 2, 6))
    ]
    options = {"page_count": PAGES, "max_prefill": max_prefill}
    session, golden, end = serve(CHIP, tmp_path, requests, **options)
    assert_equal(session, golden, end)
    ends = {n: len(request.prompt) for n, request in enumerate(requests)}
    for rows in passes(session):
        assert sum(position < ends[request] for request, position in rows) <= max_prefill


def test_requests_join_and_leave_while_others_run(tmp_path):
    lengths, counts = (20, 3, 7, 1, 12, 4, 33, 2), (3, 12, 6, 2, 9, 1, 4, 5)
    arrives = (0, 0, 0, 0, 0, 3, 6, 1000)
    requests = [
        Request(prompt=prompt, max_tokens=count, arrives=event)
        for prompt, count, event in zip(prompts(SEED, lengths), counts, arrives, strict=True)
    ]
    session, golden, end = serve(CHIP, tmp_path, requests, page_count=PAGES)
    assert_equal(session, golden, end)
    assert kinds(session) == ["end"] * 8
    at_once = max(len({request for request, _ in rows}) for rows in passes(session))
    assert at_once == CONFIGS[CHIP].max_seqs


def test_request_that_is_withdrawn_leaves_others_alone(tmp_path):
    requests = [
        Request(prompt=prompt, max_tokens=12, cancel_after=cancel)
        for prompt, cancel in zip(
            prompts(SEED, (5, 9, 2, 14, 3, 6)), (None, 3, None, 0, 1, None), strict=True
        )
    ]
    session, golden, end = serve(CHIP, tmp_path, requests, page_count=PAGES)
    assert_equal(session, golden, end)
    assert kinds(session) == ["end", "cancelled", "end", "cancelled", "cancelled", "end"]
    assert 3 <= len(session.results[1].tokens) < 12
    assert 1 <= len(session.results[4].tokens) < 12
    assert not session.results[3].tokens


def test_prefix_is_shared_by_several_requests(tmp_path):
    start = prompt_of(2 * PAGE_LEN + 3)
    requests = [
        Request(prompt=start, max_tokens=3, prefix=len(start)),
        Request(prompt=(*start, 5, 6, 7), max_tokens=4, prefix=len(start)),
        Request(prompt=(*start[:PAGE_LEN], 1, 2), max_tokens=3, prefix=PAGE_LEN),
        Request(prompt=(*start, 8), max_tokens=3, prefix=2 * PAGE_LEN, arrives=4),
        Request(prompt=(9, 8, 7), max_tokens=5),
    ]
    session, golden, end = serve(CHIP, tmp_path, requests, page_count=PAGES)
    assert [len(tokens) for tokens in session.prefixes] == [2 * PAGE_LEN, PAGE_LEN]
    kept = [run_golden(model(), tokens, 1) for tokens in session.prefixes]
    assert_equal(session, golden, end, kept)
    assert kinds(session) == ["end"] * 5
    first, second = (result.pages for result in session.kept)
    tables = [result.pages for result in session.results]
    assert tables[0][:2] == tables[1][:2] == tables[3][:2] == first
    assert tables[2][:1] == second
    fed = {place for rows in passes(session) for place in rows}
    numbers = [result.number for result in session.results]
    assert min(position for request, position in fed if request == numbers[1]) == 2 * PAGE_LEN
    assert min(position for request, position in fed if request == numbers[4]) == 0


def bench(test, folder, **given):
    """Run a test of `bench_batch` with its memory in ``folder``; return what it wrote down."""
    program = compiled(CHIP, PAGES)
    (folder / "compiled").write_bytes(pickle.dumps(without_data(program)))
    program.write_image(folder / "image.bin")
    given |= {name: str(folder / name) for name in ("compiled", "image.bin", "found")}
    result = verilate.run(
        chip(CHIP).executable,
        "tests.e2e.bench_batch",
        top=harness.TOP,
        run_dir=folder,
        plusargs=[
            *harness.image_plusargs(folder / "image.bin", program.memory_map),
            f"+trace={folder / 'trace.bin'}",
        ],
        env={"SERRANO_PARAMS": json.dumps(given)},
        tests=rf"\.{test}($|/)",
        timeout=400,
    )
    assert result.ok, result.messages or result.log.read_text()[-2000:]
    return json.loads(Path(given["found"]).read_text())


def test_page_missed_in_the_middle_of_a_request_is_its_own_error(tmp_path):
    first, lost, last = prompts(SEED, (6, PAGE_LEN - 2, 9))
    found = bench("page_miss", tmp_path, prompts=[first, lost, last], max_tokens=9)
    golden = {n: run_golden(model(), p, 9) for n, p in enumerate((first, lost, last))}
    assert [found[str(n)]["kind"] for n in golden] == ["end", "failed", "end"]
    # Tokens of the positions before: of the last two of the prompt's page, and the one behind.
    assert (found["1"]["cause"], found["1"]["detail"]) == ("page_miss", PAGE_LEN)
    assert len(found["1"]["tokens"]) == 3
    for number, run in golden.items():
        tokens = found[str(number)]["tokens"]
        assert not compare_tokens(run, tokens, ended=number != 1).mismatches
    total = compare_trace(compiled(CHIP, PAGES), golden, tmp_path / "trace.bin", ended=[0, 2])
    assert not total.mismatches, str(total.first)


@pytest.mark.parametrize("seed", [1, 2])
def test_good_requests_survive_an_attack(seed, tmp_path):
    good = prompts(seed, (7, 40, 3, 12, 5, 9))
    counts = [18, 12, 6, 3, 5, 2]
    found = bench("attack", tmp_path, prompts=good, counts=counts, seed=seed)
    golden = {}
    for number, one in found.items():
        if one["good"] is None:
            golden[int(number)] = GoldenRun([], one["end"], {}, None, {}, one["start_pos"])
        else:
            run = run_golden(model(), good[one["good"]], counts[one["good"]])
            golden[int(number)] = run
            assert one["kind"] == "end"
            assert one["tokens"] == run.tokens
    ended = [int(number) for number, one in found.items() if one["good"] is not None]
    assert len(ended) == len(good)
    total = compare_trace(compiled(CHIP, PAGES), golden, tmp_path / "trace.bin", ended=ended)
    assert not total.mismatches, str(total.first)
    assert total.values > 10_000
    bad = [one for one in found.values() if one["good"] is None]
    assert {"bad_request", "bad_page", "too_long", "page_miss"} <= {one["cause"] for one in bad}
    assert any(one["kind"] != "failed" for one in bad)  # some are as good as any
    victims = {*found["0"]["pages"], *found["1"]["pages"]}
    assert sum(one["cause"] == "bad_page" and one["detail"] in victims for one in bad) > 1
