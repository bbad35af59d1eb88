"""The soak: what it draws, that nothing is lost, and one real case.

Longer than 400 lines: its cases, its engine and its record are tested on the same few cases.
"""

import functools
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hw.spec.presets import preset
from scripts import soak
from scripts.verify.record import load
from scripts.verify.soak import run
from scripts.verify.soak.case import CASES, draw_case
from scripts.verify.soak.chip import MOST_ELEMENTS
from scripts.verify.soak.engine import CHIPS, case_seeds, run_alone
from scripts.verify.soak.engine import soak as run_all
from scripts.verify.soak.journal import Journal
from scripts.verify.soak.outcome import Outcome
from scripts.verify.soak.report import COLUMNS, MOST_ROWS, figures, soak_record
from scripts.verify.soak.run import run_case
from sim.compiler.integers import padded
from sim.compiler.program import allocate
from sim.device.request import check_request, sampling_fields
from sim.golden.model import ModelShape
from sim.verilate import BuildError
from tests.support.soak_cases import kills_its_worker

SEEDS = [chip * CASES + case for chip in range(200) for case in (0, 1)]
TINY = preset("tiny")
#: Of a case on the chip `TINY`: two requests, a reset and a stop before them.
REAL = 2269


def shape_of(decoder):
    return ModelShape(
        layers=decoder.layers,
        dim=padded(decoder.dim),
        heads=decoder.heads,
        kv_heads=decoder.kv_heads,
        head_dim=padded(decoder.head_dim),
        ffn=padded(decoder.ffn),
        vocab=decoder.vocab,
        context=decoder.context,
    )


def pages_needed(case):
    """Count pages as the host takes them: all requests at once, and the prefixes."""
    page_len = case.config.page_len
    begins = {r.prompt[: r.prefix // page_len * page_len] for r in case.requests} - {()}
    needed = sum(len(begin) // page_len for begin in begins)
    for request in case.requests:
        shared = min(request.prefix, len(request.prompt) - 1) // page_len
        needed += -(-(len(request.prompt) + request.max_tokens - 1) // page_len) - shared
    return needed


def test_only_what_a_chip_allows_is_drawn():
    for seed in SEEDS:
        case = draw_case(seed)  # an `ArchConfig` and a `DecoderConfig` check themselves
        config, decoder = case.config, case.decoder
        assert config.rows * config.cols * config.tiles <= MOST_ELEMENTS
        allocate(shape_of(decoder), config)
        assert padded(decoder.dim) <= config.max_dim, seed
        assert padded(decoder.head_dim) <= config.max_head_dim, seed
        assert 1 <= case.context <= min(decoder.context, config.max_context), seed
        assert pages_needed(case) <= case.page_count <= config.kv_pages, seed
        for request in case.requests:
            check_request(
                request.prompt, request.max_tokens, vocab=decoder.vocab, context=case.context
            )
            sampling_fields(config, **request.sampling())
            assert request.prefix <= len(request.prompt)
        assert 0 <= case.max_prefill <= config.max_rows


@pytest.mark.parametrize("seed", [0, 1001, 14002, 33003])
def test_what_is_drawn_can_be_compiled(seed):
    case = draw_case(seed)
    program = case.compiled(case.model())
    assert program.memory_map.page_count == case.page_count


def test_every_choice_is_met():
    seen = Counter()
    for seed in SEEDS:
        case = draw_case(seed)
        config, decoder = case.config, case.decoder
        seen.update(f"tiles {config.tiles}" for _ in "x")
        seen.update(f"{one.kind}" for one in case.interruptions)
        seen["pe_registers"] += config.pe_registers
        seen["parity"] += config.parity
        seen["wide port"] += config.port_bytes > config.cols
        seen["narrow lanes"] += config.lanes < min(config.cols, 16)
        seen["group"] += decoder.heads > decoder.kv_heads
        seen["one head"] += decoder.heads == 1
        seen["ragged"] += decoder.dim % 32 > 0 and decoder.head_dim % 32 > 0
        seen["bias"] += bool(decoder.biases)
        seen["layer norm"] += decoder.norm == "layer"
        seen["qk_norm"] += decoder.qk_norm
        seen["window"] += any(decoder.windows)
        seen["no rope"] += decoder.rope_frequencies is None
        seen["ungated"] += not decoder.gated
        seen[decoder.activation] += 1
        seen["batch"] += len(case.requests) > 1
        seen["late"] += any(r.arrives for r in case.requests)
        seen["prefix"] += any(r.prefix >= config.page_len for r in case.requests)
        seen["cancel"] += any(r.cancel_after is not None for r in case.requests)
        seen["eos"] += any(r.eos_token is not None for r in case.requests)
        seen["sampled"] += any(r.temperature for r in case.requests)
        seen["report"] += any(r.report for r in case.requests)
        seen["max_prefill"] += bool(case.max_prefill)
        seen["own timing"] += any(name.endswith("1") for name in case.timing)
        seen["slow"] += case.timing.get("outstanding") == 1
    wanted = {"tiles 1", "tiles 2", "tiles 4", "reset", "stop", "silu", "gelu", "gelu_tanh", "relu"}
    assert wanted <= set(seen)
    assert not [name for name, count in seen.items() if count < 5], seen


def test_case_follows_from_its_seed_in_any_process():
    code = (
        "from scripts.verify.soak.case import draw_case; print([draw_case(s) for s in (7, 5003)])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {str([draw_case(7), draw_case(5003)])}


@pytest.mark.parametrize("seed", [-1, 1.0, True, 1 << 63])
def test_seed_of_no_case_is_refused(seed):
    with pytest.raises(ValueError, match="the seed of a case must be 0 to 9223372036854775807"):
        draw_case(seed)


def test_cases_of_a_chip_have_one_configuration():
    assert draw_case(5 * CASES).config == draw_case(6 * CASES - 1).config
    assert draw_case(5 * CASES).requests != draw_case(5 * CASES + 1).requests


@pytest.mark.parametrize("width", [1, 2, 7])
def test_each_case_of_a_session_comes_once(width):
    seeds = list(case_seeds(3, width))
    assert len(set(seeds)) == len(seeds) == CHIPS * CASES
    assert {seed // CASES // CHIPS for seed in seeds} == {3}
    assert len({seed // CASES for seed in seeds[:10]}) == min(width, 10)


def outcome(seed, **fields):
    return Outcome(**{"seed": seed, "session": 4, "sources": "a", "ok": True} | fields)


def test_journal_goes_on_after_a_crash(tmp_path):
    journal = Journal(tmp_path / "x" / "finished.jsonl")
    assert journal.last_session() is None
    journal.add(outcome(1))
    journal.add(outcome(2, ok=False, message="x"))
    with journal.path.open("a") as file:
        file.write('{"seed": 3, "sess')
    journal.add(outcome(4, session=5))
    journal.add(outcome(5, sources="b"))
    assert sorted(journal.of_session(4, "a")) == [1, 2]
    assert journal.of_session(4, "a")[2].message == "x"
    assert sorted(journal.of_session(5, "a")) == [4]
    journal.forget(4)
    assert [one.seed for one in journal.outcomes()] == [4]


@pytest.mark.parametrize("error", ["killed", "cancelled", "lost"])
def test_no_case_is_lost_when_workers_die(error, monkeypatch):
    from distributed import KilledWorker

    raised = {
        "killed": KilledWorker("x", None, 0),
        "cancelled": CancelledError(),
        "lost": TimeoutError(),
    }[error]

    class Future:
        status = "error"

        def __init__(self, seed):
            self.seed = seed

        def result(self, timeout):
            if self.seed in (1, 3):
                raise raised
            return outcome(self.seed)

    client = SimpleNamespace(submit=lambda case, seed, pure: Future(seed))
    monkeypatch.setattr("distributed.wait", lambda futures, **options: None)
    found = []
    run_all(
        client, outcome, range(6), seconds=100, width=2, note=found.append,
        alone=lambda case, seed: replace(case(seed), tokens=9),
    )  # fmt: skip
    assert sorted(one.seed for one in found) == [*range(6)]
    assert [one.seed for one in found if one.tokens == 9] == [1, 3]


def test_case_that_ends_its_process_is_a_failure(tmp_path):
    case = functools.partial(kills_its_worker, folder=tmp_path, often={3: 1})
    found = run_alone(case, 3)
    assert not found.ok
    assert found.message.startswith("BrokenProcessPool: ")
    assert run_alone(case, 3).ok


class FakeClient:
    """Runs cases at once; the clock goes on by a second for each."""

    def __init__(self):
        self.seconds, self.run = 0, []

    def clock(self):
        return self.seconds


def test_no_case_begins_when_time_is_over(monkeypatch):
    fake = FakeClient()

    class Future:
        status = "finished"

        def __init__(self, value):
            self.value = value

        def result(self, timeout):
            return self.value

    def submit(case, seed, pure):
        fake.seconds += 1
        fake.run.append(seed)
        return Future(case(seed))

    def wait(futures, timeout, return_when):
        assert futures

    monkeypatch.setattr("distributed.wait", wait)
    fake.submit = submit
    found = []
    run_all(fake, outcome, range(100), seconds=5.5, width=2, note=found.append, clock=fake.clock)
    assert fake.run == [one.seed for one in found] == [0, 1, 2, 3, 4, 5]
    fake.run.clear()
    run_all(fake, outcome, range(100), seconds=0, width=3, note=found.append, clock=fake.clock)
    assert fake.run == [0, 1, 2]


def test_record_adds_sessions_up_and_replaces_one_that_went_on():
    one = figures(4, [outcome(1, tokens=3, values=2000, seconds=1800, chip="a")])
    record = soak_record(None, one)
    other = figures(5, [outcome(2, tokens=1, ok=False, chip="a"), outcome(3, chip="b")])
    record = soak_record(record, other)
    more = figures(4, [outcome(n, tokens=3, values=2000, seconds=1800, chip="a") for n in (1, 2)])
    record = soak_record(record, more)
    totals = dict(record.summary)
    assert totals["cases"] == "4"
    assert totals["tokens"] == "7"
    assert totals["values compared"] == "4,000"
    assert totals["simulator hours"] == "1.00"
    assert totals["failures"] == "1"
    assert [row[0] for row in record.rows] == ["5", "4"]


def test_old_sessions_share_a_row():
    record = None
    for session in range(MOST_ROWS + 3):
        record = soak_record(record, figures(session, [outcome(session, tokens=1)]))
    assert len(record.rows) == MOST_ROWS
    assert record.rows[0][0] == "earlier"
    assert dict(record.summary)["cases"] == str(MOST_ROWS + 3)
    assert record.columns == list(COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--minutes", "0"], "argument --minutes: must be a number from 0.01 to 525600, not '0'"),
        (["--minutes", "nan"], "argument --minutes: must be a number from 0.01"),
        (["--seed", "x"], "argument --seed: must be an integer from 0 to 92233720368546, not 'x'"),
        (["--workers", "0"], "argument --workers: must be an integer from 1 to 10000, not '0'"),
        (["--case", "-1"], "argument --case: must be an integer from 0 to 9223372036854775807"),
        (["--cluster", "pbs"], "argument --cluster: invalid choice: 'pbs'"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        soak.main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"soak: {line}")
    assert error.count("\n") == 1


def test_going_on_with_nothing_is_refused(tmp_path, capsys):
    assert soak.main(["--resume"], folder=tmp_path, records=tmp_path) == 2
    assert capsys.readouterr().err.startswith("soak: there is no session to go on with in ")


def test_cluster_without_its_package_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    assert soak.main(["--cluster", "slurm"], folder=tmp_path, records=tmp_path) == 2
    assert "soak: --cluster slurm must have dask-jobqueue" in capsys.readouterr().err


def test_session_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    begun = []

    class Nothing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

    def fake_soak(client, case, seeds, *, seconds, width, note):
        first = [seed for seed, _ in zip(seeds, range(3), strict=False)]
        begun.extend(first)
        for seed in first:
            note(outcome(seed, session=9, sources=sources, ok=seed % 2 == 0, message="differs"))

    sources = soak.tested_digest()
    monkeypatch.setattr(soak, "connect", lambda workers, cluster: Nothing())
    monkeypatch.setattr(soak, "soak", fake_soak)
    options = {"folder": tmp_path, "records": tmp_path}
    assert soak.main(["--seed", "9", "--workers", "1"], **options) == 1
    assert "soak: seed 900001: differs" in capsys.readouterr().err
    assert soak.main(["--resume", "--workers", "1"], **options) == 1
    assert begun == [900000, 900001, 900002, 900003, 900004, 900005]
    totals = dict(load("soak", tmp_path).summary)
    assert (totals["cases"], totals["failures"]) == ("6", "3")
    assert (
        "session seed 9, 2 minutes, 1 workers, 3 cases finished before" in capsys.readouterr().out
    )


def test_real_case_is_equal_after_a_reset_and_a_stop(tmp_path):
    case = draw_case(REAL, TINY)
    assert [one.kind for one in case.interruptions] == ["reset", "stop"]
    start = time.monotonic()
    found = run_case(REAL, folder=tmp_path, config=TINY)
    print(case.describe(), found, time.monotonic() - start)
    assert found.ok, found.message
    assert found.interruptions == 2
    assert found.values > 1000
    assert not [*(tmp_path / "runs").iterdir()]


def test_failure_is_kept_with_seed_and_waveform(tmp_path, monkeypatch):
    asked = []
    real = run.run_golden

    def wrong(*arguments, **options):
        golden = real(*arguments, **options)
        return replace(golden, tokens=[*golden.tokens[:-1], 1 - golden.tokens[-1]])

    def waveform(session, cycle, path):
        asked.append((cycle, path.name))

    monkeypatch.setattr(run, "run_golden", wrong)
    monkeypatch.setattr(run, "write_waveform", waveform)
    monkeypatch.setattr(
        run, "draw_case", lambda *given: replace(draw_case(*given), interruptions=())
    )
    found = run_case(REAL, folder=tmp_path, config=TINY)
    assert not found.ok
    assert "token" in found.message
    kept = tmp_path / "failures" / str(REAL)
    assert found.kept == str(kept)
    case = json.loads((kept / "case.json").read_text())
    assert case["seed"] == REAL
    assert case["again"].endswith(f"--case {REAL}")
    assert (kept / "run.log").exists()
    assert asked[0][1] == "waveform.vcd"
    assert asked[0][0] > 0


def test_chip_that_does_not_build_is_a_failure_with_its_seed(tmp_path, monkeypatch):
    def build(*_, **__):
        raise BuildError("verilator failed")

    monkeypatch.setattr(run, "build_chip", build)
    outcome = run_case(REAL, folder=tmp_path, config=TINY)
    assert not outcome.ok
    assert outcome.message == "BuildError: verilator failed"
    assert json.loads((Path(outcome.kept) / "case.json").read_text())["seed"] == REAL

    monkeypatch.setattr(run, "find_verilator", build)
    with pytest.raises(BuildError, match="verilator failed"):
        run_case(REAL, folder=tmp_path, config=TINY)


def test_run_that_hangs_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "write_waveform", lambda session, cycle, path: None)
    monkeypatch.setattr(
        run,
        "draw_case",
        lambda *given: replace(draw_case(*given), max_cycles=1, interruptions=()),
    )
    found = run_case(REAL, folder=tmp_path, config=TINY)
    assert "not finished after 20" in found.message
