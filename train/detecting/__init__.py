"""Comparisons of ways to train a detector."""
