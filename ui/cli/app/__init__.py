"""The command `quantscope app`."""
