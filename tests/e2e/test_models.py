"""Models as people have them, through the chip."""

from sim.compiler.checkpoint import read_checkpoint
from sim.compiler.compile import compile_model
from sim.compiler.quantise import quantise
from sim.run.check import check_run
from sim.run.golden_run import run_golden
from sim.run.session import Request, Session
from tests.e2e.chips import CONFIGS, chip
from tests.sim.gguf_model import gguf_tensors, random_tensors, write_gguf

SEED, COUNT = 9, 3


def test_gguf_model_answers_a_chat_prompt_bit_for_bit(tmp_path):
    print(f"seed {SEED}")
    path = write_gguf(tmp_path / "model.gguf", gguf_tensors(random_tensors(SEED)))
    config, tensors, tokenizer = read_checkpoint(path)
    prompt = tuple(tokenizer.encode_chat("he"))
    assert len(prompt) < config.context - COUNT
    model = quantise(config, tensors, prompt)
    compiled = compile_model(model, CONFIGS["4x4"])
    session = Session(
        chip("4x4"),
        compiled,
        Request(prompt=prompt, max_tokens=COUNT),
        tmp_path / "run",
        max_cycles=2_000_000,
    )
    events = list(session.events())
    assert events[-1]["error"] is None
    checked = check_run(session, run_golden(model, prompt, COUNT)).total
    assert checked.mismatches == 0, checked.first
    assert len(session.results[0].tokens) == COUNT
