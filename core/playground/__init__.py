"""Lessons about quantizers, on distributions whose every property is known."""
