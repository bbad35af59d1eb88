"""Print the program of a memory image, or of a model compiled for a preset."""

import sys
from pathlib import Path

import numpy as np

from hw.spec.presets import PRESETS, preset
from scripts.command import Parser
from sim.compiler.checkpoint import read_checkpoint
from sim.compiler.compile import compile_model
from sim.compiler.disassemble import disassemble
from sim.compiler.quantise import quantise

MODELS = Path(__file__).resolve().parent.parent / "sim" / "models"
CALIBRATION_TOKENS = 64  # only the shifts depend on them


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="disassemble", description=__doc__)
    parser.add_argument(
        "source", nargs="?", type=Path, default=MODELS / "default",
        help="an image file, or a model's folder or .gguf (default: the default model)",
    )  # fmt: skip
    parser.add_argument("--preset", choices=PRESETS, default="small", help="for a model")
    parser.add_argument(
        "--addr", type=lambda text: int(text, 0), default=0,
        help="for an image: where in the file the program starts (default: 0)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        lines = _lines(options)
    except (ValueError, OSError) as error:
        print(f"disassemble: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _lines(options):
    if not options.source.is_dir() and options.source.suffix != ".gguf":
        memory = np.memmap(options.source, dtype=np.uint8, mode="r")
        return disassemble(memory, start=options.addr)
    config, tensors, tokenizer = read_checkpoint(options.source)
    text = (MODELS / "texts" / "calibration.txt").read_text()[:10_000]
    model = quantise(config, tensors, tokenizer.encode(text)[:CALIBRATION_TOKENS])
    compiled = compile_model(model, preset(options.preset))
    return disassemble(b"".join(compiled.program), names=compiled.names)


if __name__ == "__main__":
    sys.exit(main())
