"""Comparison of traces, caches and tokens with the golden model.

Longer than 400 lines: every test spoils the same run in its own way.
"""

import dataclasses

import numpy as np
import pytest

from hw.probe import PROBES
from hw.spec.presets import preset
from sim.compiler.compile import compile_model
from sim.compiler.host_image import HostImage
from sim.compiler.kv_page import HeadCache
from sim.golden.random_model import random_model, small_shape
from sim.run.compare import compare_cache, compare_candidates, compare_tokens, compare_trace
from sim.run.expectation import PassOutput, expected_records, payload_widths
from sim.run.golden_run import GoldenRun, run_golden
from sim.run.passes import split
from sim.run.trace import read_trace
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

PROMPT, COUNT, CHUNK = tuple(range(5, 16)), 3, 4
KV, BLOCK, RESIDUAL = PROBES["key_value"], PROBES["block"], PROBES["residual"]
PLACE, LOGITS = PROBES["place"], PROBES["logits"]
PASSES = -(-len(PROMPT) // CHUNK) + COUNT - 1


@pytest.fixture(scope="module", params=["tiny", "small"])
def run(request):
    """A compiled model, what golden says, and the records as `records_of` makes them."""
    return records_of(random_model(small_shape(vocab=90), 3), preset(request.param))


def records_of(model, config):
    """Compile and run; also return records as lists [kind, op, row, index, bytes]."""
    compiled = compile_model(model, config)
    golden = {0: run_golden(model, PROMPT, COUNT)}
    starts = [*range(0, len(PROMPT), CHUNK), *range(len(PROMPT), len(PROMPT) + COUNT)]
    passes = [
        [(0, position) for position in range(start, end)]
        for start, end in zip(starts, starts[1:], strict=False)
    ]
    return compiled, golden, shown(compiled, golden, passes)


def shown(compiled, golden, passes):
    """Return the records of passes, lists of (request, position) by row.

    They are in the order in which the chip could show them; cycles count from 1000.
    """
    records = []
    for places in passes:
        for row, (request, position) in enumerate(places):
            payload = np.array([position, request], dtype="<u4").tobytes()
            records.append([PLACE, len(compiled.names) - 1, row, 0, payload])
        emitting = [place for place in places if place[1] >= golden[place[0]].prompt_len - 1]
        outputs = []
        for name, kind in golden[places[0][0]].rows:
            rows = emitting if name in ("final norm", "logits") else places
            found = [golden[request].rows[name, kind] for request, _ in rows]
            at = [position - one.first for one, (_, position) in zip(found, rows, strict=True)]
            if rows:
                values, exponents = (
                    None
                    if getattr(found[0], part) is None
                    else np.stack([getattr(f, part)[n] for f, n in zip(found, at, strict=True)])
                    for part in ("values", "exponents")
                )
                outputs.append(PassOutput(name, kind, np.arange(len(rows)), values, exponents))
        for expected in expected_records(compiled, outputs):
            for row, index, values in zip(
                expected.row, expected.index, expected.values, strict=True
            ):
                blocks = expected.kind in (KV, BLOCK)
                payload = values.astype(np.int8 if blocks else "<i4").tobytes()
                records.append([expected.kind, expected.op, int(row), int(index), payload])
    return records


def write(path, records):
    out = bytearray()
    for cycle, (kind, op, row, index, payload) in enumerate(records, 1000):
        out += np.array([kind, op, row, index], dtype="<u2").tobytes()
        out += cycle.to_bytes(8, "little") + payload + bytes(-len(payload) % 8)
    path.write_bytes(bytes(out))
    return path


def changed(records, at, **fields):
    names = ("kind", "op", "row", "index", "payload")
    records = [list(record) for record in records]
    for name, value in fields.items():
        records[at][names.index(name)] = value
    return records


def find(compiled, records, operator, kind, row, after=0):
    op = compiled.op_id(operator)
    return next(
        at for at, record in enumerate(records) if at >= after and record[:3] == [kind, op, row]
    )


def test_equal_traces_have_no_mismatch(run, tmp_path):
    compiled, golden, records = run
    result = compare_trace(compiled, golden, write(tmp_path / "trace", records))
    assert (result.mismatches, result.first) == (0, None)
    width = {KV: 33, BLOCK: 33}
    lanes = compiled.config.lanes
    sizes = [width.get(record[0], lanes) for record in records if record[0] != PLACE]
    assert result.values == sum(sizes) + COUNT
    # Every operator but rope and end shows something in each pass; the last two only at its end.
    emitting, others = COUNT, PASSES - COUNT
    shown = len(compiled.names) - 2 + compiled.shape.layers  # qkv has two probes
    assert result.operators == emitting * shown + others * (shown - 2)


@pytest.mark.parametrize(
    ("name", "operator"), [("qwen3", "layer 1 qkv"), ("gpt2", "positions"), ("gpt2", "layer 0 glu")]
)
def test_operators_of_other_families_are_compared(name, operator, tmp_path):
    model = quantised_decoder(FAMILIES[name], 3)[0]
    compiled, golden, records = records_of(model, preset("tiny"))
    result = compare_trace(compiled, golden, write(tmp_path / "trace", records))
    assert (result.mismatches, result.first) == (0, None)
    silent = [one for one in compiled.names if one.endswith(("rope", "head norm", "end"))]
    shown = len(compiled.names) - len(silent) + compiled.shape.layers
    assert result.operators == PASSES * shown - 2 * (PASSES - COUNT)

    at = next(at for at, record in enumerate(records) if record[1] == compiled.op_id(operator))
    payload = bytes([records[at][4][0] ^ 1]) + records[at][4][1:]
    wrong = changed(records, at, payload=payload)
    result = compare_trace(compiled, golden, write(tmp_path / "trace", wrong))
    assert (result.mismatches, result.first.operator) == (1, operator)


def test_reader_returns_what_was_written(run, tmp_path):
    compiled, _, records = run
    widths = payload_widths(compiled.config)
    segments = read_trace(write(tmp_path / "trace", records), widths)
    got = [
        [segment.kind, segment.op, int(row), int(index), bytes(data[: len(record[4])])]
        for segment in segments
        for row, index, data, record in zip(
            segment.row, segment.index, segment.data, records[: len(segment.row)], strict=True
        )
    ]
    assert [g[:4] for g in got] == [record[:4] for record in records]
    assert sum(len(segment.row) for segment in segments) == len(records)
    cycles = np.concatenate([segment.cycle for segment in segments])
    assert (cycles == np.arange(1000, 1000 + len(records))).all()


def test_any_order_within_an_operator_is_right(run, tmp_path):
    compiled, golden, records = run
    rng = np.random.default_rng(1)
    mixed, group = [], []
    for record in [*records, [None, None]]:
        if group and record[:2] != group[0][:2]:
            mixed += [group[i] for i in rng.permutation(len(group))]
            group = []
        group.append(record)
    assert mixed != records
    assert not compare_trace(compiled, golden, write(tmp_path / "trace", mixed)).mismatches


def test_first_difference_is_named(run, tmp_path):
    compiled, golden, records = run
    at = find(compiled, records, "layer 1 glu", BLOCK, 2)
    payload = bytearray(records[at][4])
    payload[5] ^= 1
    payload[9] ^= 1
    wrong = changed(records, at, payload=bytes(payload))
    result = compare_trace(compiled, golden, write(tmp_path / "trace", wrong))
    first, want = result.first, int(np.int8(records[at][4][5] - 256 * (records[at][4][5] > 127)))
    assert result.mismatches == 2
    assert (first.operator, first.row, first.position) == ("layer 1 glu", 2, 2)
    assert (first.what, first.expected, first.cycle) == ("element 5", want, 1000 + at)
    assert first.got in (want + 1, want - 1)
    assert f"layer 1 glu, row 2 (request 0, position 2), element 5: expected {want}" in str(first)


@pytest.mark.parametrize(
    ("operator", "kind", "row", "byte", "what", "position"),
    [
        ("embed", RESIDUAL, 3, 4, "residual element 1", 3),
        ("layer 0 qkv", BLOCK, 1, 32, "q head 0 exponent of block 0", 1),
        ("layer 0 qkv", KV, 1, 31, "k head 0 element 31", 1),
        ("layer 0 down", RESIDUAL, 0, 0, "residual element 0", 0),
        # The pass that emits first has 3 rows, from position 8.
        ("final norm", BLOCK, 0, 7, "element 7", 10),
        ("logits", LOGITS, 0, 0, "logit 0", 10),
    ],
)
def test_place_is_named(run, tmp_path, operator, kind, row, byte, what, position):
    compiled, golden, records = run
    at = find(compiled, records, operator, kind, row)
    payload = bytearray(records[at][4])
    payload[byte] ^= 1
    wrong = changed(records, at, payload=bytes(payload))
    first = compare_trace(compiled, golden, write(tmp_path / "trace", wrong)).first
    assert (first.operator, first.what, first.position) == (operator, what, position)


def test_missing_record_is_found(run, tmp_path):
    compiled, golden, records = run
    at = find(compiled, records, "layer 0 o", RESIDUAL, 3)
    result = compare_trace(
        compiled, golden, write(tmp_path / "trace", records[:at] + records[at + 1 :])
    )
    assert (result.first.operator, result.first.row) == ("layer 0 o", 3)
    assert result.first.got is None
    assert "got nothing" in str(result.first)


def test_repeated_record_is_found(run, tmp_path):
    compiled, golden, records = run
    at = find(compiled, records, "layer 0 o", RESIDUAL, 3)
    twice = records[:at] + [records[at]] + records[at:]
    result = compare_trace(compiled, golden, write(tmp_path / "trace", twice))
    assert (result.mismatches, result.first.got) == (1, "2 records")
    assert result.first.cycle == 1000 + at + 1


@pytest.mark.parametrize("field", ["row", "index"])
def test_record_in_another_place_is_found(run, tmp_path, field):
    compiled, golden, records = run
    at = find(compiled, records, "layer 1 attention", BLOCK, 1)
    wrong = changed(records, at, **{field: 500})
    first = compare_trace(compiled, golden, write(tmp_path / "trace", wrong)).first
    assert (first.operator, first.expected) == ("layer 1 attention", "no such record")
    assert first.cycle == 1000 + at


def test_operator_that_showed_nothing_is_found(run, tmp_path):
    compiled, golden, records = run
    op = compiled.op_id("layer 1 attention norm")
    rest = [record for record in records if record[1] != op]
    first = compare_trace(compiled, golden, write(tmp_path / "trace", rest)).first
    assert (first.operator, first.row, first.got) == ("layer 1 attention norm", 0, None)


def test_record_of_an_operator_that_shows_nothing_is_found(run, tmp_path):
    compiled, golden, records = run
    at = find(compiled, records, "layer 0 attention norm", BLOCK, 0)
    extra = [BLOCK, compiled.op_id("rope"), 0, 0, records[at][4]]
    wrong = records[:at] + [extra] + records[at:]
    first = compare_trace(compiled, golden, write(tmp_path / "trace", wrong)).first
    assert (first.operator, first.expected) == ("rope", "none")


def test_pass_too_many_is_found(run, tmp_path):
    compiled, golden, records = run
    last = max(at for at, record in enumerate(records) if record[0] == PLACE)
    again = records + records[last:]
    result = compare_trace(compiled, golden, write(tmp_path / "trace", again))
    end = len(PROMPT) + COUNT - 1
    assert str(result.first).startswith(
        f"pass {PASSES}, row 0 (request 0, position {end - 1}), place of the row: "
        f"expected {end}, got {end - 1}, in cycle {1000 + len(records)}"
    )
    result = compare_trace(compiled, golden, write(tmp_path / "trace", [*again[:-1], records[1]]))
    assert result.mismatches > 1


def test_records_without_a_place_are_found(run, tmp_path):
    compiled, golden, records = run
    rest = [record for record in records if record[0] != PLACE]
    result = compare_trace(compiled, golden, write(tmp_path / "trace", rest))
    assert result.first.operator == "embed"
    assert (result.first.expected, result.first.position) == ("none", None)


def test_last_pass_missing_is_found(run, tmp_path):
    compiled, golden, records = run
    last = max(at for at, record in enumerate(records) if record[0] == PLACE)
    path = write(tmp_path / "trace", records[:last])
    result = compare_trace(compiled, golden, path)
    assert result.mismatches == 1
    end = len(PROMPT) + COUNT - 1
    assert (result.first.operator, result.first.expected, result.first.got) == (
        "passes", end, end - 1,
    )  # fmt: skip
    assert not compare_trace(compiled, golden, path, ended=[]).mismatches


def test_recorded_passes_only_are_compared(run, tmp_path):
    compiled, golden, records = run
    model = random_model(small_shape(vocab=90), 3)
    part = {0: run_golden(model, PROMPT, COUNT, check_tokens=1)}
    path = write(tmp_path / "trace", records)
    whole = compare_trace(compiled, golden, path)
    result = compare_trace(compiled, part, path)
    assert not result.mismatches
    assert 0 < result.operators < whole.operators
    assert part[0].tokens == golden[0].tokens


def test_choice_in_passes_that_are_not_recorded_is_compared(run, tmp_path):
    compiled, _, records = run
    model = random_model(small_shape(vocab=90), 3)
    part = run_golden(model, PROMPT, COUNT, check_tokens=1)
    lanes = compiled.config.lanes
    at = max(at for at, record in enumerate(records) if record[0] == LOGITS)
    while records[at][3] * lanes + 1 >= 90 or records[at][3] == part.tokens[-1] // lanes:
        at -= 1
    large = np.array([0, 1 << 30] + [0] * (lanes - 2), dtype="<i4").tobytes()
    wrong = changed(records, at, payload=large)
    result = compare_trace(compiled, {0: part}, write(tmp_path / "trace", wrong))
    assert result.mismatches == 1
    assert result.first.what == "token drawn from the logits"
    assert result.first.position == len(PROMPT) + COUNT - 2
    assert result.first.got == records[at][3] * lanes + 1


def test_file_that_is_no_trace_is_refused(run, tmp_path):
    compiled, _, records = run
    path = write(tmp_path / "trace", records[:5])
    widths = payload_widths(compiled.config)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="has no whole record at byte"):
        read_trace(path, widths)
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="has no whole record at byte 0"):
        read_trace(path, widths)


def test_tokens_are_compared():
    golden = run_golden(random_model(small_shape(), 3), PROMPT, COUNT)
    tokens = list(golden.tokens)
    assert not compare_tokens(golden, tokens).mismatches
    assert compare_tokens(golden, tokens[:-1]).first.what == f"token {COUNT - 1}"
    assert not compare_tokens(golden, tokens[:-1], ended=False).mismatches
    for ended in (False, True):
        first = compare_tokens(golden, [*tokens, 1], ended=ended).first
        assert first.expected == "no token"
    tokens[1] ^= 1
    assert compare_tokens(golden, tokens[:-1], ended=False).first.got == tokens[1]


def test_candidates_are_compared():
    golden = run_golden(random_model(small_shape(), 3), PROMPT, COUNT, report=4)
    assert [found[0][0] for found in golden.candidates] == golden.tokens
    found = golden.candidates[-1]
    same = compare_candidates(golden, found, count=COUNT)
    assert (same.mismatches, same.values) == (0, 4)
    assert compare_candidates(golden, found, count=COUNT - 1).mismatches
    token, logit = found[2]
    for wrong in ((token ^ 1, logit), (token, logit - 1)):
        first = compare_candidates(golden, [*found[:2], wrong, found[3]], count=COUNT).first
        assert (first.what, first.got) == (f"candidate 2 of token {COUNT - 1}", wrong)
    assert compare_candidates(golden, found[:3], count=COUNT).first.got is None
    more = compare_candidates(golden, [*found, (0, 0)], count=COUNT)
    assert more.first.expected == "no candidate"


def test_cache_is_compared(run):
    compiled, golden = run[0], run[1][0]
    memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
    host, pages = HostImage(compiled, memory), range(compiled.memory_map.page_count)
    page_len, shape = compiled.config.page_len, compiled.shape
    names = [field.name for field in dataclasses.fields(HeadCache)]
    for layer in range(shape.layers):
        for head in range(shape.kv_heads):
            parts = {name: getattr(golden.cache, name)[layer, head, :page_len] for name in names}
            host.write_head(0, layer, head, HeadCache(**parts))
    result = compare_cache(host, golden, pages)
    assert (result.mismatches, result.first) == (0, None)
    length = len(PROMPT) + COUNT - 1
    assert result.values == 2 * shape.layers * shape.kv_heads * length * (shape.head_dim + 1)

    cache = host.read_head(0, 1, 0)
    cache.v[4, 6] ^= 1
    host.write_head(0, 1, 0, cache)
    result = compare_cache(host, golden, pages)
    assert result.mismatches == 1
    assert result.first.operator == "KV cache, layer 1"
    assert result.first.what == "v head 0 element 6 of position 4"
    assert not compare_cache(host, golden, pages, length=4).mismatches
    assert not compare_cache(host, golden, pages, left_out=[0]).mismatches
    assert compare_cache(host, golden, pages, left_out=[0]).values == 0


# Passes of several requests: three prompts, of which one fails and one is withdrawn.
BATCH = {4: PROMPT, 9: (1, 2, 3), 7: (8, 8, 8, 8, 8)}
BATCH_PASSES = [
    [(4, 0), (4, 1), (4, 2), (9, 0)],
    [(9, 1), (9, 2), (4, 3), (4, 4), (7, 0), (7, 1)],
    [(9, 3), (4, 5), (4, 6), (7, 2)],
    [(9, 4), (4, 7), (4, 8), (4, 9), (4, 10), (7, 3), (7, 4)],
    [(4, 11), (7, 5)],
    [(4, 12), (7, 6)],
]


@pytest.fixture(scope="module")
def batch():
    model = random_model(small_shape(vocab=90), 3)
    compiled = compile_model(model, preset("tiny"))
    golden = {number: run_golden(model, prompt, COUNT) for number, prompt in BATCH.items()}
    return compiled, golden, shown(compiled, golden, BATCH_PASSES)


def test_rows_of_several_requests_are_compared(batch, tmp_path):
    compiled, golden, records = batch
    result = compare_trace(compiled, golden, write(tmp_path / "trace", records))
    assert (result.mismatches, result.first) == (0, None)
    assert result.values > sum(len(record[4]) // 4 for record in records)


def test_every_record_of_several_requests_counts(batch, tmp_path):
    compiled, golden, records = batch
    rng = np.random.default_rng(4)
    for at in rng.choice(len(records), 60):
        if records[at][0] == PLACE:
            continue
        payload = bytes([records[at][4][0] ^ 1]) + records[at][4][1:]
        wrong = changed(records, at, payload=payload)
        result = compare_trace(compiled, golden, write(tmp_path / "trace", wrong))
        assert result.first.operator == compiled.names[records[at][1]]
        assert result.first.cycle == 1000 + at


def test_request_of_a_row_is_named(batch, tmp_path):
    compiled, golden, records = batch
    names = {}
    for operator, kind, row in (("layer 0 o", RESIDUAL, 5), ("logits", LOGITS, 1)):
        at = find(compiled, records, operator, kind, row)
        payload = bytes([records[at][4][0] ^ 1]) + records[at][4][1:]
        wrong = changed(records, at, payload=payload)
        first = compare_trace(compiled, golden, write(tmp_path / "trace", wrong)).first
        names[operator] = (first.row, first.request, first.position)
    # Of the pass in which two rows first give a token, the second is the prompt's end of 4.
    assert names == {"layer 0 o": (5, 7, 1), "logits": (1, 4, 10)}


@pytest.mark.parametrize("place", [(4, 6), (9, 5), (5, 0)])
def test_row_in_another_place_is_found(batch, place, tmp_path):
    compiled, golden, records = batch
    at = [at for at, record in enumerate(records) if record[0] == PLACE][11]  # (4, 5)
    payload = np.array(place[::-1], dtype="<u4").tobytes()
    wrong = changed(records, at, payload=payload)
    first = compare_trace(compiled, golden, write(tmp_path / "trace", wrong)).first
    assert (first.operator, first.what) == ("pass 2", "place of the row")
    assert (first.request, first.got) == place
    assert first.cycle == 1000 + at


def test_request_of_which_nothing_is_known_is_left_out(batch, tmp_path):
    compiled, golden, records = batch
    blank = GoldenRun([], len(BATCH[9]), {}, None, {})
    records = [list(record) for record in records]
    path = tmp_path / "trace"
    whole = compare_trace(compiled, golden, write(path, records))
    places = [p.request for one in split(read_trace(path, payload_widths(compiled.config)))
              for p in one.places]  # fmt: skip
    assert set(places) == set(BATCH)
    # Row 1 of the second pass is 9's; its first token comes from row 0 of the rows that emit.
    for operator, kind, row in (("layer 0 o", RESIDUAL, 3), ("logits", LOGITS, 0)):
        records[find(compiled, records, operator, kind, row)][4] = bytes(16)
    assert compare_trace(compiled, golden, write(path, records)).mismatches
    result = compare_trace(compiled, golden | {9: blank}, path, ended=[4, 7])
    assert result.mismatches == 0, result.first
    assert 0 < result.values < whole.values


def test_rows_placed_for_a_request_that_then_fails_are_no_rows_of_the_pass(batch, tmp_path):
    compiled, golden, records = batch
    end = len(compiled.names) - 1
    starts = [
        at
        for at, record in enumerate(records)
        if record[0] != PLACE and records[at - 1][0] == PLACE
    ]
    at = starts[1]
    stale = [[PLACE, end, row, 0, bytes([3, 0, 0, 0, 99, 0, 0, 0])] for row in (6, 7)]
    more = records[:at] + stale + records[at:]
    assert not compare_trace(compiled, golden, write(tmp_path / "trace", more)).mismatches
    # And rows that are placed twice have the last place.
    more = records[: at - 6] + stale[:1] + [[*stale[0][:2], 0, 0, stale[0][4]]] + records[at - 6 :]
    assert not compare_trace(compiled, golden, write(tmp_path / "trace", more)).mismatches


def test_row_without_a_place_in_its_pass_is_found(batch, tmp_path):
    compiled, golden, records = batch
    places = [at for at, record in enumerate(records) if record[0] == PLACE]
    assert [tuple(np.frombuffer(records[at][4], "<u4")[::-1]) for at in places[10:14]] == (
        BATCH_PASSES[2]
    )
    # The last row of the third pass: its number had a place in the pass before.
    rest = records[: places[13]] + records[places[13] + 1 :]
    first = compare_trace(compiled, golden, write(tmp_path / "trace", rest)).first
    assert (first.operator, first.row, first.request) == ("embed", 3, None)
    assert first.expected == "no such record"
