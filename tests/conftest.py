"""Settings for every test."""

import os
from pathlib import Path

# Benches and simulators are named relative to the repository.
os.chdir(Path(__file__).resolve().parents[1])
