import ast
import json
import pickle
from pathlib import Path

import pytest

from sim import verilate
from sim.coverage import collect
from sim.harness import harness
from sim.run.golden_run import run_golden
from sim.run.session import without_data
from tests.e2e.chips import chip, compiled, model, prompt_of

BENCH = Path(__file__).with_name("bench_traps.py")
PROMPT, COUNT, PAGES = prompt_of(9), 2, 4
WITH_PLUSARGS = {"axi_error": "layer 1 glu", "axi_write_error": None}
ONE_MEMORY = "one_memory_behind_all_channels"
TESTS = [
    node.name
    for node in ast.parse(BENCH.read_text()).body
    if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list
]
# Coverage makes simulators slow: there a chip that is smaller.
CHIP = "16x16" if collect.folder() is None else "8x8"
TILES, LAST_CHANNEL = "4x16, 4 tiles", 3


def trap(test, folder, name=CHIP, channel=0):
    program = compiled(name, PAGES)
    image = folder / "image.bin"
    program.write_image(image)
    given = {
        "prompt": PROMPT,
        "tokens": run_golden(model(), PROMPT, COUNT).tokens,
        "image": str(image),
    }
    for kind, other in (("compiled", program), ("other", compiled("4x4"))):
        given[kind] = str(folder / kind)
        Path(given[kind]).write_bytes(pickle.dumps(without_data(other)))
    plusargs = harness.image_plusargs(image, program.memory_map)
    if test == ONE_MEMORY:
        plusargs = [arg for arg in plusargs if not arg.startswith("+channel_bytes")]
    if test in WITH_PLUSARGS:
        operator = WITH_PLUSARGS[test]
        addr = program.memory_map.kv_base
        if operator:
            addr = program.addresses[program.op_id(operator)] + 1000
        given["slverr_addr"] = addr
        plusargs += [f"+slverr_addr{channel}={addr}", "+slverr_count=1"]
    result = verilate.run(
        chip(name).executable,
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


@pytest.mark.parametrize("channel", [1, LAST_CHANNEL])
def test_error_of_a_read_on_any_channel_is_reported(channel, tmp_path):
    trap("axi_error", tmp_path, TILES, channel)


@pytest.mark.parametrize(
    "test", ["axi_write_error", "address_outside_its_region", "stop", "watchdog", ONE_MEMORY]
)
def test_trap_of_several_tiles_is_reported(test, tmp_path):
    trap(test, tmp_path, TILES, channel=1)
