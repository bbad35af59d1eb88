import json

import numpy as np
import pytest

from sim import verilate
from sim.harness import harness

BURSTS = 300
KIND, WIDTH = 5, 100
PROBES = [("beat", KIND, WIDTH)]


@pytest.fixture(scope="module")
def simulator():
    folder = "build/tests/harness"
    return verilate.build(
        [*harness.write(folder, tiles=1, data_bytes=16, probes=PROBES), "tests/sim/stub_chip.v"],
        harness.TOP,
        folder,
        fast=False,
        public=harness.PUBLIC,
        readable=harness.READABLE,
    )


def run(simulator, folder, *plusargs):
    return verilate.run(
        simulator,
        "tests.sim.bench_harness",
        top=harness.TOP,
        run_dir=folder,
        plusargs=plusargs,
        env={"SERRANO_PARAMS": json.dumps({"bursts": BURSTS})},
        timeout=100,
    )


def test_probes_trace_what_the_memory_sends(simulator, tmp_path):
    words = np.random.default_rng(1).integers(1 << 63, size=(1 << 12, 2)).astype("<u8")
    image, trace = tmp_path / "image", tmp_path / "trace"
    words.tofile(image)
    result = run(simulator, tmp_path, f"+image0={image}", f"+trace={trace}", "+refresh_interval=0")
    assert result.ok, result.messages or result.log.read_text()

    records = np.fromfile(trace, dtype="<u8").reshape(-1, 4)
    beats = 16 * BURSTS
    assert len(records) == beats
    # kind, op, row (here the read's id), index (here what is left), as stub_chip.v sets them
    headers = records[:, :1].copy().view("<u2")
    assert (headers[:, :3] == [KIND, 7, 3]).all()
    assert (headers[:, 3] == (beats - np.arange(beats)) % (1 << 16)).all()
    assert (np.diff(records[:, 1].astype(int)) == 1).all()
    sent = words[np.arange(beats) % len(words)]
    assert (records[:, 2] == sent[:, 0]).all()
    assert (records[:, 3] == sent[:, 1] % (1 << (WIDTH - 64))).all()


def test_image_must_be_given(simulator, tmp_path):
    result = run(simulator, tmp_path)
    assert not result.ok
    assert "+image0=<file> is missing" in result.log.read_text()
