"""What Hugging Face folders of each family say, as decoders; one small file a family."""
