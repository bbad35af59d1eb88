"""Generic blocks that know nothing of transformers."""
