import re

import pytest

from sim.device.request import check_request


@pytest.mark.parametrize(
    ("prompt", "count", "message"),
    [
        ([], 1, "the prompt must have at least one token"),
        ([1, 96], 1, "token 1 of the prompt must be 0 to 95 (the vocabulary), not 96"),
        ([-1], 1, "token 0 of the prompt must be 0 to 95 (the vocabulary), not -1"),
        ([1], 0, "the number of tokens to write must be at least 1, not 0"),
        ([1] * 65, 1, "the prompt has 65 tokens, and the context has room for 64"),
        ([1] * 60, 6, "must be at most 5 after a prompt of 60 tokens (the context has 64"),
    ],
)
def test_request_is_refused(prompt, count, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_request(prompt, count, vocab=96, context=64)


def test_longest_request_is_allowed():
    check_request([1] * 60, 5, vocab=96, context=64)
    check_request([95] * 64, 1, vocab=96, context=64)


def test_positions_before_a_request_count():
    check_request([1] * 20, 5, vocab=96, context=64, start_pos=40)
    with pytest.raises(ValueError, match="at most 5 after a prompt of 20 tokens"):
        check_request([1] * 20, 6, vocab=96, context=64, start_pos=40)
    with pytest.raises(ValueError, match="has 20 tokens, and the context has room for 19"):
        check_request([1] * 20, 1, vocab=96, context=64, start_pos=45)
