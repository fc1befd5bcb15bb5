"""Writers of quantized models, one file a format."""
