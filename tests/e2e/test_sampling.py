"""Tokens that the chip draws are those that golden draws for each request alone."""

import random

import pytest

from sim.run.check import check_run
from sim.run.session import Request
from tests.e2e.chips import CONFIGS, serve

SEED = 11
#: Chip to the pages of its KV region.
CHIPS = {"4x4": 16, "16x16": 8, "4x4, 2 tiles": 16}


def requests_of(name, count):
    """Return greedy and sampling requests in turn, of any length; all report."""
    print(f"seed {SEED}")
    rng, most = random.Random(SEED), CONFIGS[name].list_len
    requests = []
    for number in range(count):
        prompt = tuple(rng.randrange(90) for _ in range(rng.randrange(1, 12)))
        drawn = {"temperature": rng.choice((0.7, 4.0, 128.0)), "seed": rng.getrandbits(32)}
        if rng.random() < 0.5:
            drawn["top_k"] = rng.randrange(2, most + 1)
        requests.append(
            Request(
                prompt=prompt,
                max_tokens=rng.randrange(2, 9),
                report=(most, 1, rng.randrange(1, most))[number % 3],
                **(drawn if number % 2 else {}),
            )
        )
    return requests


@pytest.mark.parametrize("name", CHIPS)
def test_sampling_and_greedy_requests_share_a_batch(name, tmp_path):
    requests = requests_of(name, 6)
    session, golden, end = serve(name, tmp_path / "batch", requests, page_count=CHIPS[name])
    assert end["error"] is None
    total = check_run(session, golden).total
    assert not total.mismatches, str(total.first)
    for request, result, run in zip(requests, session.results, golden, strict=True):
        assert result.tokens == run.tokens
        assert result.candidates == run.candidates[-1]
        assert len(result.candidates) == request.report
        likeliest = [found[0][0] for found in run.candidates]
        assert (run.tokens == likeliest) == (request.temperature == 0)

    # The same, in another order and in twos.
    order = [3, 0, 5, 1, 4, 2]
    for number, (one, other) in enumerate(zip(order[::2], order[1::2], strict=True)):
        pair = [requests[one], requests[other]]
        again, _, _ = serve(name, tmp_path / str(number), pair, page_count=CHIPS[name])
        assert again.results[0].tokens == session.results[one].tokens
        assert again.results[1].tokens == session.results[other].tokens
