"""Figures as vectors: marks, looks, and the panels that are laid out of them."""
