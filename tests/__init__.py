"""Tests of QuantScope: one file a module, browser tests in `browser/`."""
