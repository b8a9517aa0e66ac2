"""Losses.

`SetLoss` compares a decoder's stages with the objects one-to-one, `DenseLoss` the dense head one-to-many. Both take a
class loss: a callable `(logits, quality, positive)` of equal shapes [..., C] that returns the sum over all elements,
where `positive` marks the class a place answers for and `quality` is how good its box is there (0 … 1), 0 elsewhere.
`FCOSLoss` is that of torchvision's FCOS in the place of the dense head.
"""
