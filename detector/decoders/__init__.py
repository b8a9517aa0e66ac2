"""Decoders: from what the dense head saw to the sequence of boxes.

A decoder is built with `width` and `strides` (of the pyramid) and `num_classes`, declares `proposals` (how many it
wants) and `slots` (the most boxes it predicts for an image; None where that depends on its size) and maps a `Scene`,
and in training the targets, to a list of `StagePredictions`. Each of them is matched with the objects for itself and
has its own loss; the last one is the result, each slot a step of the sequence. No decoder but `dense` applies
non-maximum suppression; of proposals, one at a high IoU has left out those that are all but equal.
"""
