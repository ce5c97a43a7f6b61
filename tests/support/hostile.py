"""Files that want to harm, for the tests that they cannot."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from hub_server import WRITE
from huggingface_hub import HfApi
from tiny_models import model_with_tasks

from modeling_mteeg import MteegFeatureExtractor

LORA, CONFIG, HEAD, CARD = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "head.safetensors",
    "task.json",
)
GIGABYTES = 5 * 2**30


class Payload:
    """Pickled, it makes a file when it is read."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def publish(folder: Path) -> Path:
    """A base with two tasks as it should be."""
    model = model_with_tasks("tuab", "seed-v")
    model.save_pretrained(folder)
    MteegFeatureExtractor().save_pretrained(folder)
    for task in model.tasks:
        model.save_adapter(task, folder / "adapters" / task)
    return folder


def changed(path: Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def enlarged(path: Path, size: int = GIGABYTES) -> None:
    """A sparse file: it takes no space on the disk."""
    os.truncate(path, size)


def with_header(path: Path, header: bytes, length: int | None = None, data: bytes = b"") -> None:
    """A safetensors file with this header, whatever its length is said to be."""
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)


def entry(shape: list, stop: int, dtype: str = "F32") -> bytes:
    tensor = {"dtype": dtype, "shape": shape, "data_offsets": [0, stop]}
    return json.dumps({"weight": tensor}).encode()


def script(path: Path, mark: Path) -> None:
    path.write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")


def hostile_base(folder: Path, mark: Path) -> Path:
    """A folder that wants its own code to be run."""
    for name in ("modeling_mteeg", "configuration_mteeg", "feature_extraction_mteeg", "__init__"):
        script(folder / f"{name}.py", mark)
    auto = {"AutoConfig": "configuration_mteeg.MteegConfig", "AutoModel": "modeling_mteeg.Model"}
    changed(folder / "config.json", auto_map=auto)
    changed(folder / "preprocessor_config.json",
            auto_map={"AutoFeatureExtractor": "feature_extraction_mteeg.X"})  # fmt: skip
    return folder


def pushed(folder: Path, repo: str) -> None:
    api = HfApi(token=WRITE)
    api.create_repo(repo, exist_ok=True)
    api.upload_folder(repo_id=repo, folder_path=folder)
