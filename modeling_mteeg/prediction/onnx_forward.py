"""One task's forward pass by ONNX Runtime, for windows that come one at a time on a CPU.

In less than half of the time that PyTorch takes for the same window: docs/benchmarks.md, "Latency".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..export.onnx import INPUTS, MissingOnnxError, check_samples

_SAME = 0.01
"""Logits that differ by more are another task's, adapter's or base's; rounding gives 1e-4."""


class OnnxForward:
    """Logits of one task from the file that ``mteeg export`` wrote of it.

    Parameters
    ----------
    path : str or Path
        As :func:`modeling_mteeg.export.export_onnx` writes it.
    model : MteegModel
        In evaluation mode. It is not kept, only asked once, whether the file gives its logits.
    task : str
        One of the model's tasks.

    Raises
    ------
    MissingOnnxError
        ONNX Runtime is not installed.
    FileNotFoundError
        There is no such file.
    ValueError
        The file is not this model's task.
    """

    def __init__(self, path: str | Path, model: Any, task: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingOnnxError(
                "ONNX files need onnxruntime, which is not installed: "
                "pip install 'modeling-mteeg[onnx]'."
            ) from error
        if not Path(path).is_file():
            raise FileNotFoundError(f"No file {path}: write it with `mteeg export --task {task}`.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        values, ids = check_samples(model.tasks[task], model.config.patch_size)[0]
        with torch.inference_mode():
            expected = model(
                values.to(model.device, model.dtype), ids.to(model.device), task=task
            ).logits.float()
        logits = self(values, ids)
        same = logits.shape == expected.shape
        away = float((logits - expected.cpu()).abs().max()) if same else float("inf")
        if not away <= _SAME:  # NaN, too
            raise ValueError(
                f"{path}: expected the logits of this model's task {task!r}, found a difference of "
                f"{away:.2g}. Export the task again (mteeg export --overwrite)."
            )

    def __call__(self, input_values: torch.Tensor, channel_ids: torch.Tensor) -> torch.Tensor:
        """Compute the logits.

        Parameters
        ----------
        input_values : torch.Tensor
            float32, (batch, channels, patches, patch_size).
        channel_ids : torch.Tensor
            int64, (channels, 2).

        Returns
        -------
        torch.Tensor
            float32, (batch, outputs).
        """
        feed = dict(zip(INPUTS, (input_values.numpy(), channel_ids.numpy()), strict=True))
        return torch.from_numpy(self.session.run(["logits"], feed)[0])
