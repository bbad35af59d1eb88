"""Runs models on the simulated chip, and compares everything with the golden model."""
