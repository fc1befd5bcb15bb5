"""QuantScope: see what post-training quantization does to an ONNX model, layer by layer, and tune it."""
