"""Tokenizers and chat templates out of GGUF metadata."""

from pathlib import Path

import pytest

from sim.compiler.chat_template import ChatTemplate
from sim.compiler.gguf_tokenizer import gguf_tokenizer
from tests.sim.gguf_model import TOKENS, metadata

PATH = Path("model.gguf")


def tokenizer(**changes):
    return gguf_tokenizer(PATH, metadata(**changes))


def pieces(text, **changes):
    return [TOKENS[token] for token in tokenizer(**changes).encode(text)]


def test_pairs_are_merged_in_order():
    assert pieces("hello the") == ["hell", "o", "Ġt", "he"]


def test_smollm_keeps_digits_apart():
    assert pieces("a12") == ["a", "1", "2"]
    assert pieces("a12", tokenizer__ggml__pre="gpt-2") == ["a", "12"]


@pytest.mark.parametrize("text", ["", "hello the", "naïve 日本語 😀\n\tx 2026", "don't\r\n"])
def test_text_survives(text):
    made = tokenizer()
    assert made.decode(made.encode(text)) == text


def test_special_tokens_are_one_token_and_have_no_text():
    assert pieces("he<|im_end|>he") == ["he", "<|im_end|>", "he"]
    assert tokenizer().decode([4, 2, 4]) == tokenizer().decode([4, 4])


def test_words_of_the_user_are_shown():
    types = [3, 3, 4] + [1] * (len(TOKENS) - 3)
    made = tokenizer(tokenizer__ggml__token_type=types)
    assert made.encode("<|im_end|>") == [2]
    assert made.decode([2]) == "<|im_end|>"


def test_begin_token_is_added_where_the_file_says_so():
    assert pieces("he", tokenizer__ggml__add_bos_token=True) == ["<|im_start|>", "he"]


def test_chat_is_what_the_template_makes():
    made = tokenizer(tokenizer__ggml__add_bos_token=True)
    shown = "".join(TOKENS[token] for token in made.encode_chat("12 he"))
    assert shown == "<|im_start|>userĊ12Ġhe<|im_end|>Ċ<|im_start|>assistantĊ"


def test_chat_without_a_template_is_the_prompt():
    made = tokenizer(tokenizer__chat_template=None)
    assert made.encode_chat("hello") == made.encode("hello")


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
