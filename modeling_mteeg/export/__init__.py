"""A task for deployment without this package: ``export_onnx``."""

from .onnx import ExportError, MissingOnnxError, OnnxExport, export_onnx

__all__ = ["ExportError", "MissingOnnxError", "OnnxExport", "export_onnx"]
