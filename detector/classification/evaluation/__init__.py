"""How well images were named."""
