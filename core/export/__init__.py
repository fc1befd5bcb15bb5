"""Writers of quantized models, one file a format."""

from quantscope.core.export.formats import FORMATS, ONNX_QDQ, SUFFIXES, ExportFormat, format_of
from quantscope.core.export.onnx_file import PROTOBUF_LIMIT, write_onnx

__all__ = ["FORMATS", "ONNX_QDQ", "PROTOBUF_LIMIT", "SUFFIXES", "ExportFormat", "format_of", "write_onnx"]
