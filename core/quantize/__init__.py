"""From choices and statistics to encodings, and from encodings to a quantized graph."""
