"""Necks: from the backbone's maps to a pyramid of equal width.

A neck is built with `channels` and `strides` (of the maps it gets), declares `width` (channels of the maps it returns)
and `strides` (of those), and maps a list of feature maps, fine to coarse, to the pyramid.
"""
