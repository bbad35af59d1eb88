"""`make eval`: its table, its plots, and what it says of bad input."""

from xml.etree import ElementTree

import numpy as np
import pytest

from scripts import eval as command
from scripts.eval_plot import save_plots
from sim.run.evaluation import Evaluation

TOKENS = 512
SEED = 5


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The default model's folder of results."""
    folder = tmp_path_factory.mktemp("eval") / "default"
    options = ["--tokens", str(TOKENS), "--window", str(TOKENS // 2), "--output", str(folder)]
    assert command.main(options) == 0
    return folder


def rows_of(folder):
    lines = (folder / "table.txt").read_text(encoding="utf-8").splitlines()
    return {line[:20].strip(): line[20:] for line in lines if line}


def text_of(path):
    return " ".join(ElementTree.parse(path).getroot().itertext())


def test_default_model_is_as_good_in_integers(measured):
    rows = rows_of(measured)
    assert rows["tokens"] == "512 in 2 windows"
    ratio, error = (float(word) for word in rows["ratio"].split()[:3:2])
    assert 0 < error < 0.006
    assert abs(ratio - 1) < 0.005 + 2 * error
    assert float(rows["top-1 agreement"].rstrip("%")) > 94
    assert rows["clipped"] == "nothing"
    noise = [
        float(rows[place].split()[0]) for place in ("embed", *(f"layer {n}" for n in range(5)))
    ]
    assert noise[0] > noise[-1] > 25


def test_plots_show_what_the_table_says(measured):
    assert (measured / "eval.png").read_bytes().startswith(b"\x89PNG\r\n")
    rows, drawn = rows_of(measured), text_of(measured / "eval.svg")
    for words in (rows["ratio"].partition(" (")[0], rows["top-1 agreement"], "512 tokens"):
        assert words in drawn
    assert "layer 4" in drawn


def test_everything_is_printed(tmp_path, capsys):
    assert command.main(["--tokens", "64", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith((tmp_path / "table.txt").read_text(encoding="utf-8"))
    assert str(tmp_path / "eval.png") in printed
    assert str(tmp_path / "eval.svg") in printed


def random_result(scale):
    print(f"seed {SEED}")
    real = np.random.default_rng(SEED).random(40)
    golden = real + scale * np.random.default_rng(SEED + 1).standard_normal(40)
    noise = {"embed": 1e-4 * scale, "layer 0": 1e-3 * scale}
    return Evaluation([real], [golden], [np.ones(40, dtype=bool)], noise)


@pytest.mark.parametrize("scale", [1.0, 0.0], ids=["noise", "no noise"])
def test_same_measurement_gives_same_files(tmp_path, scale):
    first = save_plots(random_result(scale), "m", tmp_path / "one")
    second = save_plots(random_result(scale), "m", tmp_path / "two")
    assert [path.name for path in first] == ["eval.png", "eval.svg"]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "model must be default"),
        (["--text", "nothing.txt"], "nothing.txt"),
        (["--window", "0"], "--window must be 1 to"),
        (["--tokens", "-1"], "--tokens must be 0 or at least 2, not -1"),
        (["--tokens", "1"], "--tokens must be 0 or at least 2, not 1"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    assert command.main([*arguments, "--output", str(tmp_path / "none")]) == command.BAD_INPUT
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("eval: ")
    assert message in output.err
    assert output.err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "eval"
    assert command.main(["--tokens", "8", "--output", str(folder)]) == command.BAD_INPUT
    assert str(folder) in capsys.readouterr().err.splitlines()[-1]
