"""What makes class logits of a sequence."""
