"""The engine of QuantScope: load, calibrate, choose thresholds, quantize and evaluate ONNX models."""
