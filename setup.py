"""What pyproject.toml cannot say: where packages lie, and a README whose links hold on PyPI."""

import re
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
BESIDE = ("recipes", "dataset_scripts")
"""Subpackages of modeling_mteeg that lie at the top of the repository."""


def absolute(text: str, repository: str) -> str:
    """Markdown whose links and pictures in the repository begin with its address."""

    def link(match: re.Match) -> str:
        picture, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        return f"{picture}[{words}]({repository}/{'raw' if picture else 'blob'}/main/{target})"

    return re.sub(r"(!?)\[([^]]*)\]\(([^)\s]+)\)", link, text)


project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
inner = find_packages(str(ROOT), include=[f"{name}*" for name in BESIDE])
setup(
    long_description=absolute(
        (ROOT / "README.md").read_text("utf-8"), project["urls"]["Repository"]
    ),
    long_description_content_type="text/markdown",
    packages=[
        *find_packages(str(ROOT), include=["modeling_mteeg*"]),
        *(f"modeling_mteeg.{name}" for name in inner),
    ],
    package_dir={f"modeling_mteeg.{name}": name for name in BESIDE},
)
