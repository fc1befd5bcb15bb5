"""The pages, one a file; they arrange what the engine computed and compute nothing themselves."""
