"""Where samples come from: arrays, images, a reader of the user's own, or made up."""
