"""Second opinions: recordings, and their replay on other simulators, on a small design."""

import os
import random

import pytest
from amaranth.back import verilog
from amaranth.sim import Simulator

from hw.lib.queue import Queue
from scripts import second
from scripts.synth.random_state import without_initial_values
from scripts.synth.yosys import ToolError
from scripts.verify.record import load
from scripts.verify.second import replay
from scripts.verify.second.ports import Port, Ports, player, ports_of, recorder
from scripts.verify.second.recording import Recording

os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")

SEED, CYCLES, RESET_CYCLES, WIDTH, DEPTH = 3, 400, 3, 9, 5
TOP = "dut"


def design():
    return Queue(WIDTH, DEPTH)


@pytest.fixture(scope="module")
def source():
    return verilog.convert(design(), name=TOP, strip_internal_attrs=True)


@pytest.fixture(scope="module")
def ports(source):
    return ports_of(source, TOP)


@pytest.fixture(scope="module")
def recording(ports, tmp_path_factory):
    """Drive the design with random inputs in Amaranth's own simulator, and record its ports."""
    print(f"seed {SEED}")
    rng, dut, lines = random.Random(SEED), design(), []
    signals = {
        "i__payload": dut.i.payload, "i__valid": dut.i.valid, "i__ready": dut.i.ready,
        "o__payload": dut.o.payload, "o__valid": dut.o.valid, "o__ready": dut.o.ready,
        "level": dut.level, "flush": dut.flush,
    }  # fmt: skip

    def text(group, values):
        bits = sum(values[port.name] << port.offset for port in group)
        width = sum(port.width for port in group)
        return f"{bits:0{-(-width // 4)}x}"

    async def drive(context):
        for cycle in range(CYCLES):
            reset = cycle < RESET_CYCLES
            # A clock of its own resets this simulator; its first cycles are not compared.
            given = {
                "rst": int(reset),
                "i__payload": rng.randrange(1 << WIDTH),
                "i__valid": 0 if reset else rng.randrange(2),
                "o__ready": 0 if reset else rng.randrange(2),
                "flush": 0 if reset else int(rng.random() < 0.02),
            }
            for name in set(given) - {"rst"}:
                context.set(signals[name], given[name])
            seen = {name: int(context.get(signal)) for name, signal in signals.items()}
            if cycle == 0:
                seen["level"] = 7  # what nobody may compare
            lines.append(f"{text(ports.inputs, given)} {text(ports.outputs, seen)}\n")
            await context.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    path = tmp_path_factory.mktemp("recording") / "queue.ports"
    path.write_text("".join(lines))
    return path


def changed(recording, path, ports, name, cycle):
    """Write a recording in which the lowest bit of an output is another in one cycle."""
    lines = recording.read_text().splitlines()
    port = next(port for port in ports.outputs if port.name == name)
    given, seen = lines[cycle].split()
    lines[cycle] = f"{given} {int(seen, 16) ^ 1 << port.offset:0{len(seen)}x}"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_ports_are_those_of_the_module(ports):
    assert {(port.name, port.width) for port in ports.inputs} == {
        ("i__payload", WIDTH), ("i__valid", 1), ("o__ready", 1), ("flush", 1), ("rst", 1),
    }  # fmt: skip
    assert {(port.name, port.width) for port in ports.outputs} == {
        ("i__ready", 1), ("o__payload", WIDTH), ("o__valid", 1), ("level", 3),
    }  # fmt: skip


def test_ports_may_be_left_out(source):
    left = ports_of(source, TOP, leave_out=("o__", "level"))
    assert [port.name for port in left.outputs] == ["i__ready"]
    assert left.outputs[0].offset == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("module other(clk);\n  input clk;\nendmodule\n", "there is no module dut"),
        ("module dut(clk);\n  input clk;\nendmodule\n", "module dut must have a port rst"),
    ],
)
def test_module_without_what_is_needed_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ports_of(text, TOP)


def test_first_difference_is_that_of_the_first_port():
    ports = Ports((), (Port("a", 4, 0), Port("b", 8, 4), Port("c", 1, 12)))
    assert ports.first_difference(0x1FF5, 0x1FF5) is None
    assert ports.first_difference(0x1FF5, 0x0AF5) == ("b", 0xFF, 0xAF)


@pytest.fixture(scope="module")
def cxxrtl(source, ports, tmp_path_factory):
    return replay.cxxrtl(source, ports, TOP, tmp_path_factory.mktemp("cxxrtl"))


def test_cxxrtl_model_does_what_was_recorded(cxxrtl, recording, ports):
    assert replay.replay(cxxrtl, recording, ports) == replay.Replayed(CYCLES)


@pytest.mark.parametrize(("name", "cycle"), [("level", 1), ("i__ready", 200), ("o__valid", 399)])
def test_first_difference_is_named(name, cycle, cxxrtl, recording, ports, tmp_path):
    path = changed(recording, tmp_path / "changed.ports", ports, name, cycle)
    found = replay.replay(cxxrtl, path, ports)
    assert found.cycles == cycle
    assert found.difference.cycle == cycle
    assert found.difference.port == name
    assert found.difference.expected ^ found.difference.got == 1
    assert str(found.difference).startswith(f"cycle {cycle}, port {name}: expected 0x")


def test_unknown_digits_are_never_those_expected():
    assert replay._number("1xZ", 0x1F0) == 0x10F
    assert replay._number("f", 0xF) == 0xF


def test_recording_of_other_ports_is_refused(cxxrtl, ports, tmp_path):
    path = tmp_path / "other.ports"
    path.write_text("123456 1\n")
    with pytest.raises(ToolError, match="cycle 0 of the recording has other ports"):
        replay.replay(cxxrtl, path, ports)


def test_empty_recording_gives_no_result(cxxrtl, ports, tmp_path):
    path = tmp_path / "empty.ports"
    path.write_text("")
    with pytest.raises(ToolError, match="the replay ended without a result: equal 0"):
        replay.replay(cxxrtl, path, ports)


@pytest.fixture(scope="module")
def gates(source, ports, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gates")
    netlist = replay.netlist(without_initial_values(source), TOP, folder / "netlist")
    assert " + " not in netlist
    return replay.verilator(netlist, ports, TOP, folder)


def test_netlist_does_what_was_recorded_from_any_state(gates, recording, ports):
    assert replay.replay(gates, recording, ports).difference is None
    for seed in (1, 2):
        start = ["+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
        found = replay.replay(gates, recording, ports, options=["+qualified", *start])
        assert found == replay.Replayed(CYCLES)
        # The payload on offer before the first is what the memory happened to hold.
        found = replay.replay(gates, recording, ports, options=start)
        assert found.difference.port == "o__payload"


def test_payload_that_is_valid_counts(gates, recording, ports, tmp_path):
    valid = next(port.offset for port in ports.outputs if port.name == "o__valid")
    cycles = [
        cycle
        for cycle, line in enumerate(recording.read_text().splitlines())
        if int(line.split()[1], 16) >> valid & 1 and cycle > 100
    ]
    path = changed(recording, tmp_path / "changed.ports", ports, "o__payload", cycles[0])
    found = replay.replay(gates, path, ports, options=["+qualified"])
    assert (found.difference.cycle, found.difference.port) == (cycles[0], "o__payload")


def test_bytes_count_with_their_strobe():
    ports = Ports(
        (Port("rst", 1, 0),),
        (Port("m_wdata", 16, 0), Port("m_wstrb", 2, 16), Port("m_wvalid", 1, 18)),
    )
    text = player(ports, TOP)
    assert "counts[15:8] = {8{expected[18] & expected[17]}};" in text
    assert "counts[17:16] = {2{expected[18]}};" in text
    assert "counts[18:18]" not in text


def test_recorder_has_the_ports_of_what_it_records(source, ports):
    text = recorder(ports, ports, TOP, "inner")
    assert "output [8:0] o__payload" in text
    assert ".level(level)" in text


class FakeRecorder:
    source = "module serrano();\nendmodule\n"
    ports = Ports((), (Port("irq", 1, 0),))

    def __init__(self, config, folder):
        self.folder = folder

    def record(self, prompt_len, count):
        return Recording(self.folder / "x", [7] * count)


@pytest.fixture
def faked(monkeypatch):
    """Everything but the command itself; return what a replay finds."""
    found = {"difference": None}
    monkeypatch.setattr(second, "Recorder", FakeRecorder)
    monkeypatch.setattr(second, "check_reset", list)
    for name in ("cxxrtl", "netlist", "verilator"):
        monkeypatch.setattr(replay, name, lambda *_: "")
    monkeypatch.setattr(replay, "icarus", lambda *_: None)
    monkeypatch.setattr(
        replay, "replay", lambda *_, **options: replay.Replayed(1000, found["difference"])
    )
    return found


def test_all_parts_are_recorded(faked, tmp_path, capsys):
    assert second.main([], folder=tmp_path, records=tmp_path) == 0
    record = load("second", tmp_path)
    assert dict(record.summary)["differences"] == "0"
    assert len(record.rows) == 6
    assert "all equal, tokens 7, 7, 7" in capsys.readouterr().out


def test_one_part_is_not_recorded(faked, tmp_path):
    assert second.main(["--part", "gates"], folder=tmp_path, records=tmp_path) == 0
    assert load("second", tmp_path) is None


def test_difference_is_a_line_and_a_status(faked, tmp_path, capsys):
    faked["difference"] = replay.Difference(12, "irq", 0, 1)
    assert second.main(["--part", "simulator"], folder=tmp_path, records=tmp_path) == 1
    assert capsys.readouterr().err == (
        "second: second simulator: cycle 12, port irq: expected 0x0, got 0x1\n"
    )


def test_unknown_part_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        second.main(["--part", "fpga"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("second: argument --part: invalid choice: 'fpga'")
    assert error.count("\n") == 1
