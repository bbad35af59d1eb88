import re
import shutil
from pathlib import Path

import pytest

from scripts import sim, verilog
from sim.run.check import check_run, write_waveform
from sim.run.model import MODELS
from tests.e2e.chips import prompt_of, run


def call(capsys, *arguments):
    """Run the command; return (status, output, errors)."""
    try:
        status = sim.main(list(arguments))
    except SystemExit as left:
        status = left.code
    return status, *capsys.readouterr()


def test_default_model_writes_what_golden_says(capsys):
    status, output, errors = call(capsys, "--tokens", "5", "--prompt", "It was a truth")
    assert (status, errors) == (0, "")
    text = re.search(r"^It was a truth(.*)$", output, re.M)
    assert text
    assert text[1].strip()
    for line in (
        r"tokens +5 after a prompt of \d+",
        r"cycles per token +prefill [\d,]+, decode [\d,]+",
        r"memory port +\d\d\.\d% of the cycles moved a beat",
        r"MACs +[\d,]+ on 16 x 16",
        r"simulation +[\d,]+ cycles/s",
        r"values compared +[\d,]{6,}: \d{3,} operator outputs, KV cache, tokens",
        r"mismatches +0",
    ):
        assert re.search(f"^{line}", output, re.M), line


def test_only_the_first_tokens_operators_are_compared(capsys, monkeypatch):
    arguments = ("--tokens", "3", "--prompt", "She")
    counts = []
    for check in ("1", ""):
        monkeypatch.setenv("CHECK_TOKENS", check)
        status, output, _ = call(capsys, *arguments)
        assert status == 0
        counts.append(int(re.search(r": ([\d,]+) operator", output)[1].replace(",", "")))
    assert counts[0] * 3 == counts[1]


def test_waveform_shows_the_window_of_a_mismatch(tmp_path):
    session, golden, _ = run("4x4", tmp_path, prompt_of(2), 1)
    assert not check_run(session, golden).total.mismatches
    addr = session.compiled.addresses[session.compiled.op_id("layer 0 o")] + 100
    session, golden, _ = run("4x4", tmp_path, prompt_of(2), 1, flip=[addr])
    first = check_run(session, golden).total.first
    assert first.operator == "layer 0 o"
    path = write_waveform(session, first.cycle, tmp_path / "wave.vcd")
    times = [int(line[1:]) for line in path.read_text().splitlines() if line.startswith("#")]
    picoseconds = 10_000  # of a cycle
    assert times[0] <= (first.cycle - 290) * picoseconds
    assert (first.cycle + 40) * picoseconds <= times[-1] <= (first.cycle + 60) * picoseconds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "huge"), "sim: preset must be one of tiny, small"),
        (("--model", "nowhere"), "sim: model must be default"),
        (("--tokens", "0"), "sim: the number of tokens to write must be at least 1, not 0"),
        (("--tokens", "many"), "sim: argument --tokens: invalid int value: 'many'"),
        (("--tokens", "600"), "sim: the number of tokens to write must be at most"),
        (("--prompt", ""), "sim: the prompt must have at least one token"),
        (("--prompt", "word " * 600), "and the context has room for 512"),
        (("--max-prefill", "65"), "sim: --max-prefill must be 0 to 64, not 65"),
        (("--latency", "-1"), "sim: --latency must not be negative, not -1"),
        (("--flip", "0xfffffff"), "sim: --flip must be 0 to"),
        (("--check-tokens", "some"), "sim: argument --check-tokens: invalid int value"),
        (("--colour",), "sim: unrecognized arguments: --colour"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    status, output, errors = call(capsys, *arguments)
    assert (status, output) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_truncated_model_is_one_line(capsys, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "default", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    status, output, errors = call(capsys, "--model", str(folder))
    assert (status, output) == (2, "")
    assert "model.safetensors" in errors
    assert errors.count("\n") == 1


def test_model_of_another_architecture_is_one_line(capsys, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODELS / "default", folder)
    path = folder / "config.json"
    path.write_text(path.read_text().replace("LlamaForCausalLM", "MambaForCausalLM"))
    status, output, errors = call(capsys, "--model", str(folder))
    assert (status, output) == (2, "")
    assert "architecture must be LlamaForCausalLM" in errors
    assert errors.count("\n") == 1


def test_verilog_has_names_that_axi_tools_know(capsys, tmp_path):
    path = tmp_path / "serrano.v"
    assert verilog.main(["--preset", "tiny", "--out", str(path)]) == 0
    output, _ = capsys.readouterr()
    names = {name for _, _, name in verilog.ports(path.read_text())}
    address = {"addr", "len", "size", "burst", "valid", "ready"}
    expected = {f"m0_axi_{channel}{name}" for channel in ("aw", "ar") for name in address}
    expected |= {"clk", "rst", "irq", "s_axil_awaddr", "s_axil_rdata", "m0_axi_rdata"}
    assert expected <= names
    assert not any(name.startswith("trace_") for name in names)
    assert all(name in output for name in names)
    assert str(path) in output


def test_verilog_of_an_unknown_preset_is_one_line(capsys):
    assert verilog.main(["--preset", "huge"]) == 2
    _, errors = capsys.readouterr()
    assert errors.startswith("verilog: preset must be one of")
    assert errors.count("\n") == 1


def test_verilog_is_written_once(capsys, tmp_path):
    path = tmp_path / "serrano.v"
    verilog.main(["--preset", "tiny", "--out", str(path)])
    before = Path(path).stat().st_mtime_ns
    verilog.main(["--preset", "tiny", "--out", str(path)])
    assert Path(path).stat().st_mtime_ns == before
