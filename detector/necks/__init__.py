"""Necks: from the backbone's maps to a pyramid of equal width.

A neck is built with `channels` (of the maps it gets), declares `width` (channels of the maps it returns) and maps a
list of feature maps to a list of as many maps of the same sizes.
"""
