"""Text to tokens and back."""

import random

import pytest

from sim.compiler.tokenizer import Tokenizer

DEFAULT = "sim/models/default/tokenizer.json"
TEXTS = [
    "She was",
    "",
    " ",
    "naïve café",
    "日本語と😀👩‍👩‍👧",
    "a\n\nb\tc",
    "e\u0301 \u00a0x",
    "0123 don't",
]


@pytest.fixture(scope="module")
def tokenizer(request):
    return Tokenizer(request.config.rootpath / DEFAULT)


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.vocab_size for token in tokens)
    assert tokenizer.decode(tokens) == text


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_add_up_to_the_text(tokenizer, text):
    stream = tokenizer.stream()
    pieces = [stream.push(token) for token in tokenizer.encode(text)]
    assert stream.finish() == ""
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_characters_wait_until_they_are_whole(tokenizer):
    tokens = tokenizer.encode("😀")
    assert len(tokens) > 1
    stream = tokenizer.stream()
    assert [stream.push(token) for token in tokens] == [""] * (len(tokens) - 1) + ["😀"]


def test_half_a_character_is_marked_at_the_end(tokenizer):
    stream = tokenizer.stream()
    assert stream.push(tokenizer.encode("😀")[0]) == ""
    assert stream.finish() == "\N{REPLACEMENT CHARACTER}"
    assert stream.finish() == ""


def test_random_tokens_give_the_text_of_all(tokenizer):
    seed = 6
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(50):
        tokens = [rng.randrange(tokenizer.vocab_size) for _ in range(30)]
        stream = tokenizer.stream()
        text = "".join([stream.push(token) for token in tokens]) + stream.finish()
        assert text == tokenizer.decode(tokens)


def test_special_tokens_have_no_text(tokenizer):
    end = tokenizer.token("<|endoftext|>")
    assert end is not None
    stream = tokenizer.stream()
    tokens = [*tokenizer.encode("one"), end, *tokenizer.encode(" two")]
    assert "".join(stream.push(token) for token in tokens) == "one two"


def test_unknown_text_is_no_token(tokenizer):
    assert tokenizer.token("no such token") is None


@pytest.mark.parametrize("content", ["", "{}", "[1", '{"model": {"type": "Unheard"}}'])
def test_file_must_be_a_tokenizer(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path} is not a tokenizer: "):
        Tokenizer(path)
