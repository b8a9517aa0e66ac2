"""What a step reads of an image."""
