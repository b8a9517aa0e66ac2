"""Data: one file a format. A data set yields canvases and `Target`s and keeps the ground truth in original pixels."""
