"""Backbones: a CNN that turns an image into feature maps. The contract is `Backbone`."""
