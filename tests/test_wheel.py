"""What is published: built from a copy of the repository, installed, and run away from a clone."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from places import ROOT

pytestmark = pytest.mark.slow
LEFT_OUT = (".git", ".venv*", "build", "dist", "outputs", "*.egg-info", "__pycache__", ".*_cache")
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""
SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=1", "--set",
         "optimization.warmup_epochs=0", "--tasks", "physionet-mi"]  # fmt: skip


def run(folder: Path, *words: object, **environment: str) -> str:
    """A command in a folder; what it prints."""
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RANK")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder, capture_output=True, text=True, timeout=600,
        env={**plain, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def built(source: Path, out: Path, kind: str) -> Path:
    """``build_sdist`` or ``build_wheel``, as pip calls it."""
    out.mkdir(exist_ok=True)
    return out / run(source, sys.executable, "-c", BUILD, kind, out).split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("copy") / "modeling_mteeg"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    return built(copy, copy.parent / "dist", "build_sdist")


@pytest.fixture(scope="module")
def wheel(sdist) -> Path:
    """Built from what the sdist holds, and nothing else."""
    with tarfile.open(sdist) as archive:
        archive.extractall(sdist.parent, filter="data")
    return built(sdist.parent / sdist.name.removesuffix(".tar.gz"), sdist.parent, "build_wheel")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    words = ["--no-deps", "--no-index", "--target", target, wheel]
    run(target, sys.executable, "-m", "pip", "install", "--quiet", *words)
    return target


def away(installed: Path, folder: Path, *words: object) -> str:
    """``python ...`` with the installed package, where no clone is."""
    folder.mkdir(exist_ok=True)
    return run(folder, sys.executable, *words, PYTHONPATH=str(installed))


def files_of(*rooms: str) -> set[str]:
    kinds = ("*.py", "*.yaml")
    return {path.relative_to(ROOT).as_posix() for room in rooms for kind in kinds
            for path in (ROOT / room).rglob(kind)}  # fmt: skip


def test_the_sdist_holds_the_repository(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = files_of("modeling_mteeg", "recipes", "dataset_scripts", "tests")
    for room in ("docs", "tests", ".ci"):
        wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / room).rglob("*")
                   if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip
    wanted |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE",
               "MANIFEST.in", "pyproject.toml", "setup.py"}  # fmt: skip
    assert len(wanted) > 800 and not wanted - names
    assert not [name for name in names if "__pycache__" in name or name.startswith("outputs")]


def test_the_wheel_has_one_name_and_everything_below_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    # mteeg_command: the console script, which answers --help before the package is imported
    assert tops == {"modeling_mteeg", "mteeg_command.py", "modeling_mteeg-0.1.0.dist-info"}
    wanted = files_of("modeling_mteeg")
    wanted |= {f"modeling_mteeg/{name}" for name in files_of("recipes", "dataset_scripts")}
    wanted |= {f"modeling_mteeg/app/space/{name}" for name in ("README.md", "requirements.txt")}
    wanted.add("modeling_mteeg/model/attention_kernel.cpp")
    assert not wanted - names
    # Under a name of its own only: no tests, no documents.
    assert not [name for name in names - wanted if name.startswith("modeling_mteeg/")]


def test_links_of_the_description_hold_on_the_index(wheel):
    archive = zipfile.ZipFile(wheel)
    told = archive.read("modeling_mteeg-0.1.0.dist-info/METADATA").decode("utf-8")
    metadata = email.message_from_string(told)
    text = told.partition("\n\n")[2]
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    links = re.findall(r"(!?)\[[^]]*\]\(([^)\s]+)\)", text)
    own = [(picture, link) for picture, link in links if link.startswith(urls["Repository"])]
    assert len(own) > 10 and not [link for _, link in links if not re.match("https?://|#", link)]
    for picture, link in own:
        kind, _, path = link.removeprefix(f"{urls['Repository']}/").partition("/main/")
        assert kind == ("raw" if picture else "blob") and (ROOT / path.partition("#")[0]).is_file()
    readme = (ROOT / "README.md").read_text("utf-8")
    assert text.count("```") == readme.count("```") and len(links) == readme.count("](")


def test_the_installed_package_is_no_clone(installed, tmp_path):
    program = (
        "import modeling_mteeg, json\n"
        "from modeling_mteeg import _clone, recipes, dataset_scripts\n"
        "from modeling_mteeg.dataset_scripts import Corpus\n"
        "from dataset_scripts.corpus import Corpus as old\n"
        "print(json.dumps([str(_clone.CLONE), modeling_mteeg.__path__, recipes.__file__,"
        " Corpus is old]))"
    )
    clone, path, recipes, same = json.loads(away(installed, tmp_path, "-c", program))
    assert (clone, path, same) == ("None", [str(installed / "modeling_mteeg")], True)
    assert Path(recipes) == installed / "modeling_mteeg/recipes/__init__.py"


def test_commands_of_the_installed_package_say_their_own_names(installed, tmp_path):
    assert "predict" in away(installed, tmp_path, installed / "bin/mteeg", "--help")
    told = away(installed, tmp_path, "-W", "error::RuntimeWarning", "-m",
                "modeling_mteeg.dataset_scripts.tuab", "--help")  # fmt: skip
    assert told.startswith("usage: python -m modeling_mteeg.dataset_scripts.tuab")
    told = away(installed, tmp_path, "-m", "modeling_mteeg.recipes.joint", "--help")
    assert "accelerate launch -m modeling_mteeg.recipes.joint" in told and "recipes/" not in told


def test_a_recipe_trains_by_its_name_and_says_so(installed, tmp_path):
    joint = ["-m", "modeling_mteeg.recipes.joint"]
    shown = away(installed, tmp_path, *joint, "--config", "joint_base", "--show-config")
    assert "batch_size: 512" in shown  # the demo has 48
    launch = ["-m", "accelerate.commands.launch", *joint, *SMALL, "--output", "out"]
    told = away(installed, tmp_path, *launch)
    assert "physionet-mi" in told and "written to" in told
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    card = (tmp_path / "out/model/adapters/physionet-mi/README.md").read_text("utf-8")
    assert "accelerate.commands.launch -m modeling_mteeg.recipes.joint --set" in card
