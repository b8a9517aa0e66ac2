"""Losses that PyTorch lacks."""
