"""What int8 costs with QuantScope, ONNX Runtime's own tool and NNCF: same networks, same data, one judge."""
