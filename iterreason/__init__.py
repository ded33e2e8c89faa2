"""Iterative multi-round visual reasoning: an image, a question, and a loop that asks until it is sure."""
