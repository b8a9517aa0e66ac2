"""Proposals: where the decoder should look.

A proposal head is built with `width`, `strides` and `num_classes`. `forward(pyramid, canvas)` returns the dense
`Predictions` of every location and the `Locations` themselves; `select(dense, slots)` as many `StagePredictions`, cut
from the graph: the proposals by descending score, and after them slots that are not `valid` (`ProposalHead` has it).
"""
