"""Settings for every test."""

import os
from pathlib import Path

from tests.support import coverage

# It notes what chips run, where that is asked for.
assert coverage

# Benches and simulators are named relative to the repository.
os.chdir(Path(__file__).resolve().parents[1])
