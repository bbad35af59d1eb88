"""The text of programs."""

import re
import subprocess
import sys

import pytest

from hw.spec import isa
from hw.spec.config import ArchConfig
from hw.spec.isa import encode
from sim.compiler.compile import compile_model
from sim.compiler.disassemble import disassemble
from sim.golden.random_model import random_model, small_shape

EXPECTED = """\
00001000     0  embed      addr=0x14c0 words=6 shift=8 blocks=2 valid=80 ; embed
00001040     1  rope       addr=0x32c0 words=4 blocks=1 ; rope
00001080     2  norm       addr=0x42c0 words=8 blocks=2 shift=13 epsilon=10737 \
; layer 0 attention norm
000010c0     3  linear     addr=0x4340 words=1056 dest=qkv blocks=2 dst=4 head_blocks=1 \
strips0=4 shift2_0=24 strips1=2 shift2_1=24 strips2=2 shift2_2=24 head_stride=4224 \
strip_words=132 ; layer 0 qkv
00001100     4  attention  q_src=4 head_blocks=1 kv_heads=2 group=2 shift=22 head_stride=4224 \
; layer 0 attention
00001140     5  linear     addr=0x8540 words=520 dest=residual blocks=4 strips0=2 shift2_0=26 \
strip_words=260 ; layer 0 o
"""
LAST = """\
00001440    17  linear     addr=0x19e40 words=396 dest=logits blocks=2 emit_rows=1 strips0=3 \
shift2_0=21 valid=80 strip_words=132 emit_only ; logits
00001480    18  end        ; end
"""


@pytest.fixture(scope="module")
def compiled():
    return compile_model(random_model(small_shape(), 1), ArchConfig(), image_base=0x1000)


def run(*arguments, cwd):
    command = [sys.executable, "-m", "scripts.disassemble", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_small_program_reads_as_expected(compiled):
    program = b"".join(compiled.program)
    lines = disassemble(program, start=0x1000, base=0x1000, names=compiled.names)
    assert lines[:6] == EXPECTED.splitlines()
    assert lines[-2:] == LAST.splitlines()
    assert len(lines) == 19


def test_lines_hold_every_field_that_is_not_zero(compiled):
    lines = disassemble(b"".join(compiled.program))
    for word, line in zip(compiled.program, lines, strict=True):
        _, fields = isa.decode(word)
        for name, value in fields.items():
            if value and name not in ("opcode", "op_id", "addr", "emit_only", "dest", "activation"):
                assert f"{name}={value}" in line.split()


def test_values_with_names_are_shown_by_them():
    words = [
        encode("linear", dest=2, activation=2, strips0=3, table_shift=9),
        encode("linear", dest=9, activation=0),
        encode("head_norm", words=4, addr=0x80, head_blocks=1, shift_q=14, epsilon_k=7),
        encode("embed", words=6, positions=1),
        encode("attention", window=20),
        encode("end"),
    ]
    assert [line[10:] for line in disassemble(b"".join(words))] == [
        "   0  linear     dest=glu activation=gelu_tanh table_shift=9 strips0=3",
        "   0  linear     dest=9",
        "   0  head_norm  addr=0x80 words=4 head_blocks=1 shift_q=14 epsilon_k=7",
        "   0  embed      addr=0x0 words=6 positions=1",
        "   0  attention  window=20",
        "   0  end",
    ]


def test_program_may_start_anywhere():
    memory = bytes(100) + encode("end", op_id=9)
    assert disassemble(memory, start=100) == ["00000064     9  end"]


@pytest.mark.parametrize("opcode", [0, 8, 255])
def test_bad_opcode_is_named_with_its_address(opcode):
    memory = encode("rope") + bytes([opcode]) + bytes(63) + encode("end")
    message = rf"address 0x00002040: opcode must be one of \[1, 2, .*, 7\], not {opcode}"
    with pytest.raises(ValueError, match=message):
        disassemble(memory, start=0x2000, base=0x2000)


@pytest.mark.parametrize("size", [64, 64 + 63])
def test_program_must_have_an_end(size):
    memory = (encode("rope") + encode("end"))[:size]
    with pytest.raises(ValueError, match="address 0x00000040: the program must finish with end"):
        disassemble(memory)


def test_program_must_start_within_the_memory():
    with pytest.raises(ValueError, match="address 0x00000000: the program must finish with end"):
        disassemble(encode("end"), start=0, base=64)


def test_script_prints_the_program_of_an_image(tmp_path, pytestconfig):
    compiled = compile_model(random_model(small_shape(), 1), ArchConfig())
    compiled.write_image(tmp_path / "image")
    result = run(tmp_path / "image", cwd=pytestconfig.rootpath)
    assert result.returncode == 0
    assert result.stdout.splitlines() == disassemble(b"".join(compiled.program))


def test_script_prints_the_program_of_a_model(pytestconfig):
    result = run("sim/models/default", "--preset", "tiny", cwd=pytestconfig.rootpath)
    assert result.stderr == ""
    assert re.search(r"linear .* dest=glu .* ; layer 4 glu$", result.stdout, re.M)


def test_script_tells_what_is_wrong(tmp_path, pytestconfig):
    (tmp_path / "image").write_bytes(b"\xff" + bytes(63))
    result = run(tmp_path / "image", cwd=pytestconfig.rootpath)
    assert result.returncode == 1
    assert "address 0x00000000: opcode must be one of" in result.stderr
    result = run(tmp_path / "nothing", cwd=pytestconfig.rootpath)
    assert result.returncode == 1
    assert "nothing" in result.stderr
    assert "Traceback" not in result.stderr
