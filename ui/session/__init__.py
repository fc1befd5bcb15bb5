"""Which project, recipe and figures a browser session shows, and the work and caches behind it."""
