"""Proposals: where the decoder should look.

A proposal head is built with `width`, `strides` and `num_classes`. `forward(pyramid, canvas)` returns the dense
`Predictions` of every location and the `Locations` themselves; `select(dense, locations, slots)` the proposals by
descending score.
"""
