"""Calibration and evaluation samples, from whatever holds them."""
