"""Data of the joint training: windows on disk, the plan that mixes tasks, batches.

Needs ``datasets`` and ``pyarrow``; ``import modeling_mteeg`` alone does not import this package.
"""

from .windows import WindowFormatError, WindowReader, encode_window, window_features

__all__ = ["WindowFormatError", "WindowReader", "encode_window", "window_features"]
