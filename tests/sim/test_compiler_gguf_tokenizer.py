"""Tokenizers and chat templates out of GGUF metadata."""

import random
from pathlib import Path

import pytest

from sim.compiler.chat_template import ChatTemplate
from sim.compiler.error import CheckpointError
from sim.compiler.gguf_tokenizer import PRE_TOKENIZERS, gguf_tokenizer
from tests.sim.gguf_model import PIECES, TOKENS, byte_alphabet, metadata, pieces_metadata

PATH = Path("model.gguf")
SEED = 12
TEXTS = ["", "hello the", "  the  12 ", "naïve 日本語 😀\n\tx 2026", "don't\r\n", "\n\n\n", "▁"]


def tokenizer(**changes):
    return gguf_tokenizer(PATH, metadata(**changes))


def pieces(text, **changes):
    return [TOKENS[token] for token in tokenizer(**changes).encode(text)]


def scored(text, **changes):
    made = gguf_tokenizer(PATH, pieces_metadata(**changes))
    return [PIECES[token][0] for token in made.encode(text)]


def words(text, pre):
    """How a text is cut: in this vocabulary all of its parts are tokens, and so each word is."""
    letters = byte_alphabet()
    encoded = [letters[byte] for byte in text.encode()]
    tokens, merges = list(letters), []
    for begin in range(len(encoded)):
        for end in range(begin + 2, len(encoded) + 1):
            token = "".join(encoded[begin:end])
            if token not in tokens:
                tokens.append(token)
                merges.append(f"{token[:-1]} {token[-1]}")
    changes = {
        "tokenizer__ggml__pre": pre,
        "tokenizer__ggml__tokens": tokens,
        "tokenizer__ggml__merges": merges,
        "tokenizer__ggml__token_type": None,
        "tokenizer__ggml__add_bos_token": False,
    }
    made = tokenizer(**changes)
    return [made.decode([token]) for token in made.encode(text)]


def test_pairs_are_merged_in_order():
    assert pieces("hello the") == ["hell", "o", "Ġt", "he"]


def test_smollm_keeps_digits_apart():
    assert pieces("a12") == ["a", "1", "2"]
    assert pieces("a12", tokenizer__ggml__pre="gpt-2") == ["a", "12"]


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", "I|'ll| say| 12345|!?|\n|\n|DON|'|T| | x|.|\t|y"),
        ("smollm", "I|'ll| say| |1|2|3|4|5|!?|\n|\n|DON|'|T| | x|.|\t|y"),
        ("llama-bpe", "I|'ll| say| |123|45|!?\n\n|DON|'T| | x|.|\ty"),
        ("qwen2", "I|'ll| say| |1|2|3|4|5|!?\n\n|DON|'T| | x|.|\ty"),
        ("default", "I|'|ll| say| |123|45|!?|\n|\n|DON|'|T| | x|.|\t|y"),
    ],
)
def test_text_is_cut_as_the_file_says(pre, expected):
    expected = expected.split("|")
    assert words("".join(expected), pre) == expected


def test_names_of_one_way_to_cut_agree():
    text = "I'LL say 12345!?\n\nDON'T  x"
    for name, pre in (
        ("llama3", "llama-bpe"),
        ("llama-v3", "llama-bpe"),
        ("deepseek-r1-qwen", "qwen2"),
        (None, "default"),
    ):
        assert words(text, name) == words(text, pre)


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_survives(pre, text):
    made = tokenizer(tokenizer__ggml__pre=pre)
    assert made.decode(made.encode(text)) == text


def test_llama3_takes_words_that_no_merge_makes():
    changes = {"tokenizer__ggml__merges": ["h e", "l l"], "tokenizer__ggml__pre": "gpt-2"}
    assert pieces("hell", **changes) == ["he", "ll"]
    changes["tokenizer__ggml__pre"] = "llama-bpe"
    assert pieces("hell", **changes) == ["<|im_start|>", "hell"]


def test_qwen2_composes_accents():
    text = "e\N{COMBINING ACUTE ACCENT}"
    made = tokenizer(tokenizer__ggml__pre="qwen2")
    assert made.encode(text) == made.encode("é")
    other = tokenizer(tokenizer__ggml__pre="llama-bpe")
    assert other.decode(other.encode(text)) == text


def test_special_tokens_are_one_token_and_have_no_text():
    assert pieces("he<|im_end|>he") == ["he", "<|im_end|>", "he"]
    assert tokenizer().decode([4, 2, 4]) == tokenizer().decode([4, 4])


def test_words_of_the_user_are_shown():
    types = [3, 3, 4] + [1] * (len(TOKENS) - 3)
    made = tokenizer(tokenizer__ggml__token_type=types)
    assert made.encode("<|im_end|>") == [2]
    assert made.decode([2]) == "<|im_end|>"


def test_tokens_around_a_text_are_added_where_the_file_says_so():
    begin, end = {"tokenizer__ggml__add_bos_token": True}, {"tokenizer__ggml__add_eos_token": True}
    assert pieces("he") == ["he"]
    assert pieces("he", **begin) == ["<|im_start|>", "he"]
    assert pieces("he", **begin, **end) == ["<|im_start|>", "he", "<|im_end|>"]
    assert pieces("he", **end) == ["he", "<|im_end|>"]


def test_llama3_and_sentencepiece_begin_with_a_token_of_themselves():
    assert pieces("he", tokenizer__ggml__pre="llama-bpe") == ["<|im_start|>", "he"]
    assert scored("the") == ["<s>", "▁the"]
    off = {"tokenizer__ggml__add_bos_token": False}
    assert pieces("he", tokenizer__ggml__pre="llama-bpe", **off) == ["he"]
    assert scored("the", **off) == ["▁the"]


def test_sentencepiece_has_numbers_for_special_tokens():
    none = {f"tokenizer__ggml__{key}_token_id": None for key in ("bos", "eos", "unknown")}
    assert scored("the", tokenizer__ggml__add_eos_token=True, **none) == ["<s>", "▁the", "</s>"]


def test_chat_is_what_the_template_makes():
    made = tokenizer(tokenizer__ggml__add_bos_token=True)
    shown = "".join(TOKENS[token] for token in made.encode_chat("12 he"))
    assert shown == "<|im_start|>userĊ12Ġhe<|im_end|>Ċ<|im_start|>assistantĊ"


def test_chat_without_a_template_is_the_prompt():
    made = tokenizer(tokenizer__chat_template=None)
    assert made.encode_chat("hello") == made.encode("hello")


def slow_pieces(text, pieces=PIECES):
    """SentencePiece by its definition: of all pairs that make a piece, merge the best, first."""
    scores = {piece: score for piece, score, kind in pieces if kind in (1, 4)}
    symbols = list("▁" + text.replace(" ", "▁")) if text else []
    while True:
        pairs = [
            (-scores[left + right], at)
            for at, (left, right) in enumerate(zip(symbols, symbols[1:], strict=False))
            if left + right in scores
        ]
        if not pairs:
            break
        at = min(pairs)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    known = {piece for piece, _, _ in pieces}
    return [
        one
        for symbol in symbols
        for one in ([symbol] if symbol in known else [f"<0x{b:02X}>" for b in symbol.encode()])
    ]


def test_best_pairs_are_merged_first():
    assert scored("hello the") == ["<s>", "▁", "hell", "o", "▁the"]
    assert slow_pieces("hello the") == scored("hello the")[1:]


def test_random_texts_are_the_pieces_of_the_definition():
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    letters = "thelo12 x\né"
    for _ in range(300):
        text = "".join(rng.choice(letters) for _ in range(rng.randrange(30)))
        assert scored(text)[1:] == slow_pieces(text), text


def test_what_is_no_piece_is_bytes():
    assert scored("é\n")[1:] == ["▁", "<0xC3>", "<0xA9>", "<0x0A>"]


def test_only_ordinary_pieces_are_merged():
    changed = [*PIECES, ("xy", 5.0, 5), ("xz", 5.0, 3), ("x", -50.0, 1), ("y", -51.0, 1)]
    texts, scores, types = map(list, zip(*changed, strict=True))
    made = gguf_tokenizer(
        PATH,
        pieces_metadata(
            tokenizer__ggml__tokens=texts,
            tokenizer__ggml__scores=scores,
            tokenizer__ggml__token_type=types,
        ),
    )
    assert [texts[token] for token in made.encode("xyxz")[1:]] == ["▁", "x", "y", "xz"]


@pytest.mark.parametrize("text", TEXTS[:-1])
@pytest.mark.parametrize("prefix", [None, True, False])
def test_text_survives_sentencepiece(text, prefix):
    made = gguf_tokenizer(PATH, pieces_metadata(tokenizer__ggml__add_space_prefix=prefix))
    assert made.decode(made.encode(text)) == text


def test_space_is_put_in_front_unless_the_file_forbids_it():
    assert scored("the the")[1:] == ["▁the", "▁the"]
    assert scored("the the", tokenizer__ggml__add_space_prefix=False)[1:] == ["t", "he", "▁the"]


def test_text_behind_a_special_token_begins_anew():
    assert scored("the<|user|>the</s>the")[1:] == [
        "▁the",
        "<|user|>",
        "▁the",
        "</s>",
        "▁the",
    ]


def test_tokens_come_out_one_at_a_time_with_their_spaces():
    made = gguf_tokenizer(PATH, pieces_metadata())
    stream = made.stream()
    shown = [stream.push(token) for token in made.encode("the 日 the")[1:]]
    assert "".join(shown) + stream.finish() == "the 日 the"
    assert shown[-1] == " the"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "bert"}, "model must be 'gpt2' (byte-level pairs) or 'llama' (SentencePiece"),
        ({"model": None}, "pairs), not None"),
        ({"pre": "tekken"}, f"pre must be {', '.join(PRE_TOKENIZERS)}, not 'tekken'"),
        ({"tokens": None}, "tokens must be a list of strings"),
        ({"tokens": ["a", "a"], "token_type": None}, "tokens must be all different"),
        ({"merges": [1]}, "merges must be a list of strings"),
        ({"merges": ["h z"]}, "merges must be pairs of tokens that make a token, not 'h z'"),
        ({"token_type": [1]}, "token_type must be a list of 264 integers, one a token"),
        ({"bos_token_id": 264}, "bos_token_id must be 0 to 263, not 264"),
        ({"add_bos_token": 1}, "add_bos_token must be true or false, not 1"),
        (
            {"add_bos_token": True, "bos_token_id": None},
            "bos_token_id must be there, as add_bos_token is true",
        ),
    ],
)
def test_byte_level_metadata_must_fit(changes, message):
    refuses(
        metadata(**{f"tokenizer__ggml__{key}": value for key, value in changes.items()}), message
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": None}, "scores must be a list of 277 real numbers, one a token"),
        ({"scores": [1.0]}, "scores must be a list of 277 real numbers, one a token"),
        ({"scores": [float("nan")] * len(PIECES)}, "scores must be finite"),
        (
            {"scores": [-1000.0] * len(PIECES)},
            "scores must be the order of the merges, not all -1000.0",
        ),
        (
            {"tokens": [text.replace("<0x7F>", "x") for text, _, _ in PIECES]},
            "tokens must be a list with <0x00> to <0xFF>, not without <0x7F>",
        ),
        ({"add_space_prefix": 1}, "add_space_prefix must be true or false, not 1"),
        ({"bos_token_id": 277}, "bos_token_id must be 0 to 276, not 277"),
    ],
)
def test_sentencepiece_metadata_must_fit(changes, message):
    values = {f"tokenizer__ggml__{key}": value for key, value in changes.items()}
    refuses(pieces_metadata(**values), message)


def refuses(values, message):
    with pytest.raises(CheckpointError) as info:
        gguf_tokenizer(PATH, values)
    assert str(info.value).startswith(f"{PATH}: tokenizer.ggml.")
    assert message in str(info.value)


def test_template_sees_messages_and_special_tokens():
    template = ChatTemplate(
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}: {{ m.content | trim }}]{% endfor %}"
        "{{ '...' if add_generation_prompt }}",
        {"bos_token": "<s>"},
    )
    messages = [{"role": "user", "content": " hi "}]
    assert template.render(messages) == "<s>[user: hi]..."
    assert template.render(messages, answer=False) == "<s>[user: hi]"


def test_blocks_leave_no_lines_behind():
    template = ChatTemplate("{% if true %}\n  a\n  {% endif %}\nb")
    assert template.render([]) == "  a\nb"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('only users') }}", "does not work: only users"),
        ("{{ messages[0]['text'] + 1 }}", "does not work"),
        ("{{ 1 / 0 }}", "does not work"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "does not work"),
        ("{{ range(1000000000) | list }}", "does not work"),
    ],
)
def test_templates_that_fail_are_refused(source, message):
    template = ChatTemplate(source)
    with pytest.raises(ValueError, match=message):
        template.render([{"role": "user", "content": "hi"}])


@pytest.mark.parametrize("source", ["{% if", "{{ unclosed", "{% unheard %}"])
def test_text_must_be_a_template(source):
    with pytest.raises(ValueError, match="the chat template is not one"):
        ChatTemplate(source)
