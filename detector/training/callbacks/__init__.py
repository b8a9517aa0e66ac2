"""Callbacks of the training loop beyond Lightning's own."""
