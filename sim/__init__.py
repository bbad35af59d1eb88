"""Everything that is not gates."""
