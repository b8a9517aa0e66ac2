"""What is drawn of the classification task."""
