"""Decoders: from proposals to the sequence of boxes.

A decoder is built with `width` and `strides` (of the pyramid) and `num_classes`, declares `slots` (how many proposals
it wants) and maps `(pyramid, proposals, canvas)` to a list of `Predictions`, one a refinement pass, each with one box
and class a slot. The last pass is the result; no decoder applies non-maximum suppression.
"""
