"""What a card asks to cite: the method, the backbone and how tasks are tuned, as BibTeX."""

from __future__ import annotations

MTEEG = """@misc{mteeg,
  title = {{MTEEG}: A Multi-Task Learning Framework for Enhanced Electroencephalography Analysis
           Using Low-Rank Adaptation},
  author = {{Anonymous}},
  note = {Paper under double-blind review}
}"""
LABRAM = """@inproceedings{jiang2024labram,
  title = {Large Brain Model for Learning Generic Representations with Tremendous {EEG} Data in
           {BCI}},
  author = {Jiang, Wei-Bang and Zhao, Li-Ming and Lu, Bao-Liang},
  booktitle = {International Conference on Learning Representations},
  year = {2024},
  eprint = {2405.18765},
  archivePrefix = {arXiv}
}"""


def citation(method: bool, backbone: bool) -> list[str]:
    """A chapter: BibTeX of what the weights are made with; empty where it is neither of both.

    Parameters
    ----------
    method : bool
        Whether the weights were tuned as MTEEG says.
    backbone : bool
        Whether they hold a LaBraM.
    """
    entries = [*([MTEEG] if method else []), *([LABRAM] if backbone else [])]
    return ["```bibtex\n" + "\n\n".join(entries) + "\n```"] if entries else []
