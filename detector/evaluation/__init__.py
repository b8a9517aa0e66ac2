"""Evaluation: COCO mAP and what is built on it."""
