"""Write text on the simulated chip, and compare every intermediate with the golden model."""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The golden model runs beside the simulator: one core is for that.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hw.spec.presets import preset
from scripts.command import BAD_INPUT, FAILED, Parser
from sim.compiler.compile import compile_model
from sim.device.request import check_request
from sim.run.check import check_run, write_waveform
from sim.run.chip import BUILD, build_chip
from sim.run.console import Console
from sim.run.golden_run import run_golden
from sim.run.model import load_model
from sim.run.session import MemoryTiming, Request, RunFailed, Session
from sim.verilate import BuildError

PROMPT, TOKENS = "She was", 64
TIMING = (
    "latency", "outstanding", "row_bytes", "banks", "row_miss_cycles", "turn_cycles",
    "refresh_interval", "refresh_cycles",
)  # fmt: skip


def _parser():
    parser = Parser(prog="sim", description=__doc__)
    parser.add_argument(
        "--model", default="default", help="name, folder or GGUF file (default: default)"
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="TEXT",
        help="text on which ranges are measured (default: the repository's)",
    )  # fmt: skip
    parser.add_argument(
        "--plain", action="store_true",
        help="go on with the prompt, also with a model that has a chat template",
    )  # fmt: skip
    parser.add_argument("--preset", default="small", help="configuration (default: small)")
    parser.add_argument("--prompt", default=PROMPT, help=f"default: {PROMPT!r}")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"default: {TOKENS}")
    parser.add_argument(
        "--check-tokens", type=int, default=os.environ.get("CHECK_TOKENS") or None, metavar="N",
        help="compare the operators of the passes up to token N only (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--max-prefill", type=int, default=0, metavar="ROWS",
        help="rows of a pass over the prompt at most (default: what the chip has)",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="of the choice of tokens (0: the likeliest)"
    )
    parser.add_argument(
        "--top-k", type=int, help="tokens to draw from (default: as many as the chip keeps)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    parser.add_argument("--ignore-eos", action="store_true", help="go on after the end of text")
    for name in TIMING:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="of the memory")
    parser.add_argument(
        "--flip", type=lambda text: int(text, 0), metavar="ADDR",
        help="invert this byte of the chip's image only, to see what a mismatch looks like",
    )  # fmt: skip
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep image and trace there")
    return parser


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        job = _Job(options)
    except (ValueError, OSError) as error:
        print(f"sim: {error}", file=sys.stderr)
        return BAD_INPUT
    folder = options.keep or Path(tempfile.mkdtemp(prefix="serrano-"))
    try:
        return job.run(console, folder)
    except (BuildError, RunFailed) as error:
        print(f"sim: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


class _Job:
    """Checked options: model, program and request."""

    def __init__(self, options):
        self.options = options
        self.config = preset(options.preset)
        if not 0 <= options.max_prefill <= self.config.max_rows:
            raise ValueError(
                f"--max-prefill must be 0 to {self.config.max_rows}, not {options.max_prefill}"
            )
        self.check_tokens = options.check_tokens
        self.timing = MemoryTiming({
            name: value for name in TIMING if (value := getattr(options, name)) is not None
        })
        for name, value in self.timing.options.items():
            if value < 0:
                raise ValueError(f"--{name.replace('_', '-')} must not be negative, not {value}")
        self.model, self.tokenizer = load_model(
            options.model, options.calibration, on_large=self._quantising
        )
        self.compiled = compile_model(self.model, self.config)
        memory_map = self.compiled.memory_map
        if options.flip is not None and not 0 <= options.flip < memory_map.image_bytes:
            raise ValueError(
                f"--flip must be 0 to {memory_map.image_bytes - 1:#x} (the image), "
                f"not {options.flip:#x}"
            )
        encode = self.tokenizer.encode if options.plain else self.tokenizer.encode_chat
        self.request = Request(
            prompt=tuple(encode(options.prompt)),
            max_tokens=options.tokens,
            eos_token=None if options.ignore_eos else self.model.eos_token,
            temperature=options.temperature,
            top_k=options.top_k,
            seed=options.seed,
        )
        check_request(
            self.request.prompt,
            self.request.max_tokens,
            vocab=self.compiled.shape.vocab,
            context=memory_map.context,
        )
        self.golden_options = self.request.golden_options(self.config)

    @staticmethod
    def _quantising(count):
        millions = count / 1e6
        print(
            f"Quantising {millions:.0f} M weights (a minute or two, and only once) ...", flush=True
        )

    def run(self, console, folder):
        """Build, run, compare, report; return the exit status."""
        with console.building() as on_step:
            chip = build_chip(self.config, on_step=on_step)
        session = Session(
            chip,
            self.compiled,
            self.request,
            folder,
            max_prefill=self.options.max_prefill,
            timing=self.timing,
            flip=[] if self.options.flip is None else [self.options.flip],
        )
        end, golden_tokens = None, []
        with ThreadPoolExecutor(1) as pool:
            golden = pool.submit(
                run_golden,
                self.model,
                self.request.prompt,
                self.request.max_tokens,
                **self.golden_options,
                check_tokens=self.check_tokens,
                on_token=golden_tokens.append,
            )
            text = self.tokenizer.stream()
            with console.running(self.options.prompt, self.request.max_tokens) as shown:
                for event in session.events():
                    if "token" in event:
                        shown.push(text.push(event["token"]))
                    elif event["kind"] == "over":
                        end = event
                    shown.cycle(event["cycle"], len(golden_tokens))
            checked = check_run(session, golden.result())
        result = session.results[0]
        self._summary(console, session, checked, result.cycles, end)
        error = end["error"]["text"] if end["error"] else result.text
        if error:
            console.line(f"error             {error}")
        if checked.total.mismatches:
            self._show_mismatch(console, session, checked.total)
        return FAILED if error or checked.total.mismatches else 0

    def _summary(self, console, session, checked, at, end):
        counters, config = end["counters"], self.config
        cycles = counters["cycles"]
        beats = counters["read_beats"] + counters["write_beats"]
        macs = counters["array_rows"] * config.rows * config.cols
        share = counters["array_rows"] / (config.tiles * cycles)
        arrays = f"{config.rows} x {config.cols}"
        if config.tiles > 1:
            arrays = f"{config.tiles} times {arrays}"
        prompt = len(self.request.prompt)
        per_token = f"prefill {at[0] / prompt:,.0f}" if at else "no token"
        if len(at) > 1:
            per_token += f", decode {(at[-1] - at[0]) / (len(at) - 1):,.0f}"
        total, operators = checked.total, checked.operators
        console.line()
        for name, value in (
            ("tokens", f"{len(at)} after a prompt of {prompt}"),
            ("cycles", f"{cycles:,}"),
            ("cycles per token", per_token),
            ("memory port", f"{beats / (config.tiles * cycles):.1%} of the cycles moved a beat"),
            ("MACs", f"{macs:,} on {arrays}, busy {share:.1%}"),
            ("simulation", f"{session.cycles_per_second:,.0f} cycles/s"),
            (
                "values compared",
                f"{total.values:,}: {operators.operators:,} operator outputs, KV cache, tokens",
            ),
            ("mismatches", f"{total.mismatches:,}"),
        ):
            console.line(f"{name:<18}{value}")

    def _show_mismatch(self, console, session, total):
        console.line(f"first mismatch    {total.first}")
        if total.first.cycle is None:
            console.line("no waveform: nothing was shown in the place where it belongs")
            return
        path = BUILD / "mismatch.vcd"
        with console.building() as on_step:
            write_waveform(session, total.first.cycle, path, on_step=on_step)
        console.line(f"waveform          {path}")


if __name__ == "__main__":
    sys.exit(main())
