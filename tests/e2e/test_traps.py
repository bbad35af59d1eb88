import ast
import json
import pickle
from pathlib import Path

import pytest

from sim import verilate
from sim.harness import harness
from sim.run.golden_run import run_golden
from sim.run.session import without_data
from tests.e2e.chips import chip, compiled, model, prompt_of

BENCH = Path(__file__).with_name("bench_traps.py")
PROMPT, COUNT, PAGES = prompt_of(9), 2, 4
WITH_PLUSARGS = {"axi_error": "layer 1 glu", "axi_write_error": None}
TESTS = [
    node.name
    for node in ast.parse(BENCH.read_text()).body
    if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list
]


def trap(test, folder):
    program = compiled("16x16", PAGES)
    image = folder / "image.bin"
    program.write_image(image)
    given = {
        "prompt": PROMPT,
        "tokens": run_golden(model(), PROMPT, COUNT).tokens,
        "image": str(image),
    }
    for name, other in (("compiled", program), ("other", compiled("4x4"))):
        given[name] = str(folder / name)
        Path(given[name]).write_bytes(pickle.dumps(without_data(other)))
    plusargs = harness.image_plusargs(image, program.memory_map)
    if test in WITH_PLUSARGS:
        operator = WITH_PLUSARGS[test]
        addr = program.memory_map.kv_base
        if operator:
            addr = program.addresses[program.op_id(operator)] + 3000
        given["slverr_addr"] = addr
        plusargs += [f"+slverr_addr={addr}", "+slverr_count=1"]
    result = verilate.run(
        chip("16x16").executable,
        "tests.e2e.bench_traps",
        top=harness.TOP,
        run_dir=folder,
        plusargs=plusargs,
        env={"SERRANO_PARAMS": json.dumps(given)},
        tests=rf"\.{test}($|/)",
        timeout=120,
    )
    assert result.ok, result.messages or result.log.read_text()[-2000:]


@pytest.mark.parametrize("test", TESTS)
def test_trap_is_reported_and_the_next_run_is_right(test, tmp_path):
    trap(test, tmp_path)
