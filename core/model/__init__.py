"""From an ONNX file to the layers and tensors that the rest works on."""
