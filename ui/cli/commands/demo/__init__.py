"""The command `quantscope demo`."""
