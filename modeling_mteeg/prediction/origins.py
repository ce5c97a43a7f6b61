"""What a prediction was made with: base, adapter, packages, settings."""

from __future__ import annotations

import hashlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..model.modeling_mteeg import MteegModel

_PACKAGES = ("modeling-mteeg", "torch", "transformers", "peft", "mne", "numpy", "scipy")
_CACHED = re.compile(r"models--(.+?)--(.+?)[\\/]snapshots[\\/]([0-9a-f]{40})(.*)")


def package_versions() -> dict[str, str]:
    """Versions of the packages that matter for the numbers, and of Python."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def adapter_fingerprint(model: MteegModel, task: str) -> str:
    """SHA-256 of a task's adapter and head, names, shapes and values in float32."""
    digest = hashlib.sha256()
    state = model.adapter_state_dict(task)
    for name in sorted(state):
        tensor = state[name].detach().float().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(memoryview(tensor.numpy()).cast("B"))
    return digest.hexdigest()


def adapter_origin(model: MteegModel, task: str) -> tuple[str, str | None]:
    """Folder, or repository on the Hub and its commit, that a task was loaded from."""
    folder = model.adapter_sources.get(task, "")
    cached = _CACHED.search(folder)
    if cached is None:
        return folder, None
    owner, repo, commit, inner = cached.groups()
    return f"{owner}/{repo}{inner}".replace("\\", "/"), commit


def provenance(model: MteegModel, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Facts about every task of a model.

    Parameters
    ----------
    model : MteegModel
    settings : dict
        What was asked for: tasks to their settings.

    Returns
    -------
    dict of str to dict
        By task: ``base`` (name, fingerprint, revision: the commit on the Hub, None of a folder),
        ``adapter`` (name, fingerprint, revision; None where the model holds no such task),
        ``package_versions``, ``device``, ``settings``.
    """
    base = {
        "name": str(model.config._name_or_path or ""),
        "fingerprint": model.fingerprint(),
        "revision": model.base_commit,
    }
    packages = package_versions()
    facts = {}
    for task, asked in settings.items():
        adapter = None
        if task in model.tasks:
            name, revision = adapter_origin(model, task)
            adapter = {
                "name": name, "fingerprint": adapter_fingerprint(model, task),
                "revision": revision,
            }  # fmt: skip
        facts[task] = {
            "base": base,
            "adapter": adapter,
            "package_versions": packages,
            "device": str(model.device),
            "settings": asked,
        }
    return facts
