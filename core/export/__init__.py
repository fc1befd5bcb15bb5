"""Writers of quantized models, one file a format."""

from quantscope.core.export.onnx_file import PROTOBUF_LIMIT, write_onnx

__all__ = ["PROTOBUF_LIMIT", "write_onnx"]
