"""Finished runs: their records, what they cost, and tables and plots that compare them."""
