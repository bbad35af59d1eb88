"""Chips, models and requests that the tests of this folder share."""

from dataclasses import replace
from functools import cache

from hw.spec.config import ArchConfig
from hw.spec.presets import preset
from sim.compiler.compile import compile_model
from sim.golden.random_model import random_model, small_shape
from sim.run.chip import build_chip
from sim.run.golden_run import run_golden
from sim.run.session import MemoryTiming, Request, Session
from sim.verilate import BALANCED

SEED = 5
SIZES = {
    "max_rows": 8, "max_dim": 128, "act_blocks": 32, "max_context": 64, "page_len": 32,
    "max_head_dim": 64, "stream_depth": 64,
}  # fmt: skip
CONFIGS = {
    "4x4": preset("tiny"),
    "8x8": ArchConfig(rows=8, cols=8, lanes=2, port_bytes=8, pe_registers=True, **SIZES),
    "8x16": ArchConfig(rows=8, cols=16, lanes=8, port_bytes=16, **SIZES),
    "16x16": preset("small"),
    "4x4, parity": replace(preset("tiny"), parity=True),
    # Two tiles with half of each strip; two groups of two, with fewer KV heads than tiles.
    "4x4, 2 tiles": replace(preset("tiny"), tiles=2),
    "4x16, 4 tiles": ArchConfig(
        rows=4, cols=16, lanes=4, port_bytes=16, tiles=4, max_seqs=4, **SIZES
    ),
}

SPEED = {"4x4": BALANCED, "4x4, parity": BALANCED, "4x16, 4 tiles": BALANCED, "16x16": True}


@cache
def model():
    return random_model(small_shape(vocab=90, context=128), SEED)


@cache
def compiled(name, page_count=None):
    config = CONFIGS[name]
    context = min(128, config.max_context)
    return compile_model(model(), config, context=context, page_count=page_count)


@cache
def chip(name):
    """Build, once a machine: for speed what runs often or, as `make sim` does it, for long."""
    return build_chip(CONFIGS[name], fast=SPEED.get(name, False))


def prompt_of(length):
    return tuple((7 * i + 3) % 90 for i in range(length))


def run(name, folder, prompt, count, *, eos_token=None, **options):
    """Run a request; return (session, golden run, last event). Options as for `serve`."""
    request = Request(prompt=prompt, max_tokens=count, eos_token=eos_token)
    session, (golden,), end = serve(name, folder, [request], **options)
    return session, golden, end


def serve(name, folder, requests, *, timing=None, page_count=None, **options):
    """Run requests; return (session, golden runs, last event). Options as for `Session`."""
    session = Session(
        chip(name),
        compiled(name, page_count),
        requests,
        folder,
        timing=MemoryTiming(timing or {}),
        max_cycles=4_000_000,
        **options,
    )
    events = list(session.events())
    golden = [
        run_golden(model(), one.prompt, one.max_tokens, **one.golden_options(CONFIGS[name]))
        for one in requests
    ]
    return session, golden, events[-1]
