"""What a host writes into and reads from the chip's memory."""

import numpy as np
import pytest

from hw.spec import layout
from hw.spec.config import MAX_LIST_LEN, ArchConfig
from hw.spec.requests import CANDIDATE_BYTES, EVENT_BYTES, EVENT_KINDS, NO_CANDIDATE, Event
from sim.compiler.compile import compile_model
from sim.compiler.host_image import HostImage
from sim.compiler.kv_page import HeadCache, pack_head, unpack_head
from sim.compiler.memory_map import EVENTS, REQUESTS
from sim.golden.random_model import random_model, small_shape
from sim.golden.transformer import Transformer
from tests.sim.layout_reader import read_head

CONFIGS = {
    "cols 4": ArchConfig(cols=4, lanes=4, port_bytes=4, page_len=32),
    "cols 8": ArchConfig(cols=8, lanes=4, port_bytes=16, page_len=128),
    "cols 16": ArchConfig(cols=16, page_len=32),
    "cols 32": ArchConfig(cols=32, port_bytes=64, page_len=64),
}
BASE = 0x4000


@pytest.fixture
def host(tmp_path):
    model = random_model(small_shape(), 4)
    config = ArchConfig(page_len=32, cols=8, lanes=8)
    compiled = compile_model(model, config, image_base=BASE)
    return HostImage(compiled, compiled.write_image(tmp_path / "image"))


def random_cache(positions, dim, seed):
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    k, v = rng.integers(-127, 128, (2, positions, dim)).astype(np.int8)
    k[0, :2], v[-1, -2:] = (-127, 127), (127, -127)
    exponents = rng.integers(0, 32, (2, positions, dim // 32)).astype(np.uint8)
    return HeadCache(k, exponents[0], v, exponents[1])


def assert_same(cache, other):
    for name in ("k", "k_exponents", "v", "v_exponents"):
        here, there = getattr(cache, name), getattr(other, name)
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(here, there, err_msg=name)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_head_lies_as_the_layout_says(config, blocks):
    cache = random_cache(config.page_len, 32 * blocks, blocks)
    data = pack_head(config, cache)
    (k, k_exponents, v, v_exponents), end = read_head(data, 0, config, blocks)
    assert end == len(data) == layout.head_bytes(config, blocks)
    np.testing.assert_array_equal(k, cache.k)
    np.testing.assert_array_equal(k_exponents, cache.k_exponents)
    np.testing.assert_array_equal(v, cache.v)
    np.testing.assert_array_equal(v_exponents, cache.v_exponents)


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_head_survives_pack_and_unpack(config, blocks):
    cache = random_cache(config.page_len, 32 * blocks, blocks)
    assert_same(unpack_head(config, blocks, pack_head(config, cache)), cache)


def test_head_must_hold_a_page():
    with pytest.raises(ValueError, match=r"cache must hold page_len \(64\) positions, not 32"):
        pack_head(ArchConfig(), random_cache(32, 32, 1))


def test_every_head_of_every_page_has_its_own_place(host):
    caches = {
        (page, layer, head): random_cache(32, 32, 100 * page + 10 * layer + head)
        for page in range(2)
        for layer in range(2)
        for head in range(2)
    }
    for place, cache in caches.items():
        host.write_head(*place, cache)
    for place, cache in caches.items():
        assert_same(host.read_head(*place), cache)
    start = host.map.page_addr(1) - BASE + 3 * layout.head_bytes(host.compiled.config, 1)
    (k, *_), _ = read_head(host.memory, start, host.compiled.config, 1)
    np.testing.assert_array_equal(k, caches[1, 1, 1].k)
    assert not host.memory[host.map.host_base - BASE :].any()


@pytest.mark.parametrize(("tiles", "kv_heads"), [(2, 3), (4, 3), (4, 5)])
def test_heads_are_dealt_to_the_channels(tmp_path, tiles, kv_heads):
    model = random_model(small_shape(heads=kv_heads, kv_heads=kv_heads), 4)
    config = ArchConfig(page_len=32, tiles=tiles)
    compiled = compile_model(model, config, image_base=BASE)
    host = HostImage(compiled, compiled.write_image(tmp_path / "image"))
    channels = host.memory.reshape(tiles, -1)
    caches = {}
    for layer, head in np.ndindex(2, kv_heads):
        caches[layer, head] = random_cache(32, 32, 10 * layer + head)
        host.write_head(1, layer, head, caches[layer, head])
    stride, rounds = layout.head_bytes(config, 1), -(-kv_heads // tiles)
    for (layer, head), cache in caches.items():
        start = host.map.page_addr(1) - BASE + (layer * rounds + head // tiles) * stride
        (k, _, v, _), _ = read_head(channels[head % tiles], start, config, 1)
        np.testing.assert_array_equal(k, cache.k)
        np.testing.assert_array_equal(v, cache.v)
        assert_same(host.read_head(1, layer, head), cache)
    assert not channels[:, host.map.host_base - BASE :].any()


def test_cache_of_the_golden_model_survives_pages_in_any_order(host):
    model = random_model(small_shape(), 4)
    transformer = Transformer(model)
    golden = transformer.new_cache()
    transformer.step(list(range(40)), golden)
    names = ("k", "k_exponents", "v", "v_exponents")
    pages = [1, 0]
    for index, page in enumerate(pages):
        rows = slice(32 * index, 32 * index + 32)
        for layer in range(2):
            for head in range(2):
                parts = (getattr(golden, name)[layer, head, rows] for name in names)
                host.write_head(page, layer, head, HeadCache(*parts))
    seen = host.read_cache(pages, 40)
    for name in names:
        np.testing.assert_array_equal(getattr(seen, name), getattr(golden, name)[:, :, :40])


def test_cache_must_be_within_its_pages(host):
    with pytest.raises(ValueError, match="1 pages hold fewer than 33 positions"):
        host.read_cache([0], 33)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((2, 0, 0), "page must be 0 to 1, not 2"),
        ((0, 2, 0), "layer must be 0 to 1, not 2"),
        ((0, 0, -1), "head must be 0 to 1, not -1"),
    ],
)
def test_head_must_be_there(host, place, message):
    with pytest.raises(ValueError, match=message):
        host.read_head(*place)


def words(host, addr, count):
    start = addr - BASE
    return host.memory[start : start + 4 * count].view("<u4").tolist()


def test_prompt_is_one_word_a_token(host):
    addr = host.write_prompt(3, [1, 79, 0])
    assert addr == host.map.prompt_addr(3)
    start = addr - BASE
    raw = host.memory[start : start + 16].tobytes()
    assert raw == b"\1\0\0\0\x4f\0\0\0\0\0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "a prompt must have 1 to 64 tokens, not 0"),
        ([0] * 65, "a prompt must have 1 to 64 tokens, not 65"),
        ([0, 80], "a token must be 0 to 79, not 80"),
        ([-1], "a token must be 0 to 79, not -1"),
    ],
)
def test_prompt_must_fit(host, tokens, message):
    with pytest.raises(ValueError, match=message):
        host.write_prompt(0, tokens)


def test_every_place_has_its_own_prompt_and_page_table(host):
    for place in range(REQUESTS):
        host.write_prompt(place, [place + 1] * 64)
        host.write_page_table(place, [place % 2, 1 - place % 2])
    for place in range(REQUESTS):
        assert words(host, host.map.prompt_addr(place), 64) == [place + 1] * 64
        assert words(host, host.map.page_table_addr(place), 2) == [place % 2, 1 - place % 2]


def test_page_table_holds_numbers(host):
    addr = host.write_page_table(1, [1, 0])
    assert addr == host.map.page_table_addr(1)
    assert words(host, addr, 2) == [1, 0]


@pytest.mark.parametrize(
    ("pages", "message"),
    [
        ([0, 1, 0], "the page table has room for 2 pages, not 3"),
        ([2], "page must be 0 to 1, not 2"),
        ([-1], "page must be 0 to 1, not -1"),
    ],
)
def test_page_table_must_fit(host, pages, message):
    with pytest.raises(ValueError, match=message):
        host.write_page_table(0, pages)


def test_requests_lie_in_their_ring_round_its_end(host):
    fields = {
        "prompt_addr": 0x11, "prompt_len": 2, "max_tokens": 3, "eos_token": 0xFFFFFFFF,
        "start_pos": 5, "page_table_addr": 0x22, "page_count": 7, "shared_pages": 8,
        "top_k": 9, "report_count": 10, "multiplier": 11, "shift": 12, "seed": 13,
        "candidates_addr": 14,
    }  # fmt: skip
    for number in range(REQUESTS + 2):
        addr = host.write_request(number, request_id=100 + number, **fields)
        assert addr == host.map.request_ring_addr + number % REQUESTS * 64
        expected = [100 + number, 0x11, 2, 3, 0xFFFFFFFF, 5, 0x22, 8 << 16 | 7]
        expected += [11 << 16 | 10 << 8 | 9, 12, 13, 14]
        assert words(host, addr, 16) == expected + [0] * 4
    assert words(host, host.map.request_ring_addr, 1) == [100 + REQUESTS]


def test_candidates_are_read_from_their_place(host):
    listed = [(7, 1 << 30), (0, -(1 << 31)), (0xFFFFFFFE, -1), (NO_CANDIDATE, 0)]
    for place in (0, REQUESTS - 1):
        start = host.map.candidates_addr(place) - BASE
        rows = np.array(listed, "<i8") + (place, 0)
        rows[3] = listed[3]
        host.memory[start : start + 32] = rows.astype("<u4").view(np.uint8).ravel()
    assert host.read_candidates(0, 4) == listed[:3]
    assert host.read_candidates(0, 2) == listed[:2]
    assert host.read_candidates(REQUESTS - 1, 1) == [(7 + REQUESTS - 1, 1 << 30)]


def test_pieces_of_places_do_not_overlap(host):
    pieces = [(host.map.event_ring_addr, EVENTS * EVENT_BYTES)]
    for place in range(REQUESTS):
        pieces += [
            (host.map.prompt_addr(place), 4 * host.map.context),
            (host.map.page_table_addr(place), 4 * host.map.sequence_pages),
            (host.map.candidates_addr(place), MAX_LIST_LEN * CANDIDATE_BYTES),
        ]
    ends = [addr + size for addr, size in pieces]
    assert all(end <= addr for end, (addr, _) in zip(ends, pieces[1:], strict=False))
    assert ends[-1] <= host.map.host_limit
    assert not any(addr % CANDIDATE_BYTES for addr, _ in pieces)


def test_events_are_read_round_the_end_of_their_ring(host):
    numbers = range(EVENTS - 1, EVENTS + 2)
    for number in numbers:
        at = host.map.event_ring_addr - BASE + number % EVENTS * EVENT_BYTES
        words = [number, 7, 9, EVENT_KINDS["failed"] | 11 << 8, number, 1, 77, 0]
        host.memory[at : at + EVENT_BYTES] = np.array(words, "<u4").view(np.uint8)
    assert host.read_events(numbers[0], numbers[-1] + 1) == [
        Event(number, 7, 9, "failed", 11, (1 << 32) + number, 77) for number in numbers
    ]


def test_ring_must_still_hold_the_events(host):
    with pytest.raises(ValueError, match=f"the ring holds {EVENTS} events, not {EVENTS + 1}"):
        host.read_events(0, EVENTS + 1)


def test_memory_must_be_the_compiled_models(host):
    with pytest.raises(ValueError, match="memory must be uint8 of shape"):
        HostImage(host.compiled, host.memory[1:])
