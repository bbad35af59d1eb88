"""Measure what quantisation costs a model: perplexity of float32 and of the integer model.

Prints a table, and draws plots into build/eval/<model>/.
"""

import sys
from pathlib import Path

from scripts.command import BAD_INPUT, Parser
from scripts.eval_plot import save_plots
from sim.compiler.checkpoint import read_checkpoint
from sim.run.evaluation import evaluate, windows_of
from sim.run.model import MODELS, load_model, model_path

TEXT = MODELS / "texts" / "heldout.txt"
OUTPUT = Path(__file__).resolve().parents[1] / "build" / "eval"
WINDOW, TOKENS = 512, 2048


def _parser():
    parser = Parser(prog="eval", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="default", help="name, folder or GGUF file (default: default)"
    )
    parser.add_argument("--text", type=Path, default=TEXT, help="plain text (default: heldout.txt)")
    parser.add_argument(
        "--tokens", type=int, default=TOKENS,
        help=f"tokens to predict at most, 0 for all of the text (default: {TOKENS})",
    )  # fmt: skip
    parser.add_argument(
        "--window", type=int, default=WINDOW,
        help=f"tokens after which the context begins anew (default: {WINDOW})",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", type=Path, metavar="TEXT",
        help="text on which ranges are measured (default: the repository's)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER",
        help="where table and plots go (default: build/eval/<model>)",
    )  # fmt: skip
    return parser


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        result = _run(options)
        name = Path(options.model).stem if Path(options.model).exists() else options.model
        folder = options.output or OUTPUT / name
        plots = save_plots(result, name, folder)
        table = "\n".join(report(result))
        (folder / "table.txt").write_text(table + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"eval: {error}", file=sys.stderr)
        return BAD_INPUT
    print(table)
    print(f"\nplots               {', '.join(str(path) for path in plots)}")
    return 0


def _run(options):
    if options.tokens < 0 or options.tokens == 1:  # one difference has no standard error
        raise ValueError(f"--tokens must be 0 or at least 2, not {options.tokens}")
    model, tokenizer = load_model(options.model, options.calibration)
    if not 1 <= options.window <= model.shape.context:
        raise ValueError(f"--window must be 1 to {model.shape.context}, not {options.window}")
    tokens = tokenizer.encode(options.text.read_text(encoding="utf-8"))
    windows = windows_of(tokens, options.window, options.tokens or None)
    config, tensors, _ = read_checkpoint(model_path(options.model))

    def show(result):
        ratio, error = result.ratio
        done = f"{len(result.agrees)} of {len(windows)} windows, {result.tokens} tokens"
        print(f"{done}: ratio {ratio:.4f} ± {error:.4f}", file=sys.stderr, flush=True)

    return evaluate(config, tensors, model, windows, on_window=show)


def report(result):
    """Return the lines of the table."""
    ratio, error = result.ratio
    clipped = ", ".join(f"{name} {count}" for name, count in result.saturations.items())
    rows = [
        ("tokens", f"{result.tokens:,} in {len(result.agrees)} windows"),
        ("perplexity float32", f"{result.float_perplexity:.4f}"),
        ("perplexity integer", f"{result.golden_perplexity:.4f}"),
        ("ratio", f"{ratio:.4f} ± {error:.4f} (one standard error, paired)"),
        ("top-1 agreement", f"{result.agreement:.1%}"),
        ("clipped", clipped or "nothing"),
    ]
    lines = [f"{name:<20}{value}" for name, value in rows]
    lines += ["", f"{'residual after':<20}signal to noise"]
    for place, decibels in result.signal_to_noise.items():
        lines.append(f"{place:<20}{decibels:5.1f} dB  {'#' * max(0, round(decibels / 2))}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
