"""Commands that say how far the RTL can be trusted, and how good our tests are."""
