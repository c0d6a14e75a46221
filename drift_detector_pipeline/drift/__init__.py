"""Drift: whether a window of images still looks like the training world, and how accurate the model is on it."""
