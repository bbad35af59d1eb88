"""The contract that hardware, golden model, compiler, driver and docs all read."""
