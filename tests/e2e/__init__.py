"""The whole chip against the golden model."""
