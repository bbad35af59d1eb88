"""The scenarios of single units: a line each.

One test of the unit's own bench runs, on what the unit's own test builds; compared are all ports,
from the end of the reset. Where payloads belong to valid bits that are no stream, the line says so.
"""

from scripts.waves.scenario import Scenario, Unit
from scripts.waves.trace import Channel, Window
from scripts.waves.unit_run import CLOCK, RESET
from tests.support.bench import STALLS

__all__ = ["UNITS"]

#: Stalls at random, and one in four: cocotb names them by their places in `STALLS`.
RANDOM, REGULAR = list(STALLS).index("at_random"), list(STALLS).index("one_in_four")
#: One stream stalls at random, the other regularly: valid waits for ready, and the reverse.
BOTH = f"/i_stall={RANDOM}/o_stall={REGULAR}"
STALL = f"/stall={RANDOM}"


def _beat(name, valid, *fields):
    """Return the channel of signals that mean something while a valid bit is set."""
    return Channel(name, tuple((one, f"dut.{one}") for one in fields), f"dut.{valid}")


_ARRAY = (
    _beat("weight", "weight_valid", "weight_row", "weight"),
    _beat("act", "act_valid", "act_swap", "act"),
    _beat("psum", "psum_valid", "psum"),
)

# Module, cocotb test, which parameters of the pytest function, cycles at most, channels.
_TABLE = [
    ("activation", f"output_equals_golden{BOTH}", 0, 60),
    ("attention", f"order_equals_nested_loops{STALL}/longest=1", 0, 80),
    ("block_quantiser", f"output_equals_golden{BOTH}", 0, 80),
    ("drain", f"results_equal_golden{BOTH}", 0, 80),
    ("embedding", f"output_equals_golden{BOTH}", 0, 60),
    ("event_writer", "timing_is_as_documented", 0, 80),
    ("fetcher", f"each_client_gets_its_words{BOTH}", 0, 100),
    ("fork", f"every_stream_gets_all_payloads_in_order{BOTH}", 1, 60),
    ("gearbox", f"bytes_come_out_in_order{BOTH}", 0, 60),
    ("glu", f"products_equal_golden{BOTH}/rows=1", 0, 80),
    ("inverse_root", "latency_and_throughput_are_as_documented", 0, 90),
    ("kv_writer", "timing_is_as_documented/is_value=False", 0, 100),
    ("matmul", f"results_equal_golden{STALL}/bias=False", 0, 120),
    ("memory_controller", f"all_clients_get_and_write_what_they_ask_for{STALL}/latency=1", 0, 120),
    ("norm_operator", f"rows_equal_golden{BOTH}", 0, 100),
    ("program_fetch", "timing_is_as_documented", 0, 80),
    ("qkv_projection", f"queries_and_keys_are_rotated_as_golden_does{BOTH}", 0, 80),
    ("queue", f"order_is_kept{BOTH}", 1, 60),
    ("random_threshold", "a_threshold_takes_as_long_as_documented", 0, 100),
    ("reciprocal", "latency_and_throughput_are_as_documented", 0, 80),
    ("record_writer", "timing_is_as_documented", 0, 60),
    ("requantiser", f"output_equals_golden{BOTH}", 0, 240),
    ("residual", f"memory_and_orm_equal_golden{STALL}/reading=False", 0, 80),
    ("result_merge", f"linear_results_come_strip_by_strip_row_by_row{BOTH}", 2, 80),
    ("rmsnorm", f"output_equals_golden{BOTH}", 0, 100),
    ("rope", f"output_equals_golden{BOTH}", 0, 60),
    ("scores", f"probabilities_and_scales_equal_golden{STALL}", 0, 300),
    ("slice", f"order_is_kept{BOTH}", 0, 60),
    ("softmax", f"output_equals_golden{BOTH}", 0, 120),
    ("systolic_array", "sums_equal_golden/words=at_random/acts=at_random", 0, 80, _ARRAY),
    ("table_reader", f"entries_are_the_words_that_were_asked_for{BOTH}", 0, 80),
    ("token_choice", f"passes_equal_golden{BOTH}/valid=some", 0, 120),
    ("value_exponents", f"exponents_and_maxima_equal_slow_code{STALL}", 0, 100),
    ("weight_streamer", f"words_are_those_that_descriptors_name{BOTH}/latency=0", 0, 100),
]

#: Those that the tests run: small to build, and the joints that everything else is made of.
FAST = ("queue", "requantiser", "slice", "systolic_array", "weight_streamer")


def _scenario(module, test, case, cycles, channels=None):
    window = Window((RESET, 0, 1), cycles=cycles)
    return Scenario(module, Unit(module, test, case), channels, window, CLOCK, fast=module in FAST)


UNITS = tuple(_scenario(*row) for row in _TABLE)
