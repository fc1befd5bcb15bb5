"""Fixes for models that lose accuracy: what each does, and whether it changes the float model."""
