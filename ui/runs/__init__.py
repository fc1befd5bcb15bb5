"""Work in the background, one file a kind."""
