"""One name for every module, what is installed, and what the metadata says."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from places import ROOT

import modeling_mteeg
from modeling_mteeg import _clone, _ending
from modeling_mteeg._clone import as_typed
from modeling_mteeg.cards import citation
from modeling_mteeg.training.arguments import joint_parser, stage_one_parser

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CONFIGS = ROOT / "recipes/configs"
IMPORTED_AS = {"scikit-learn": "sklearn", "huggingface-hub": "huggingface_hub", "pyyaml": "yaml",
               "mne-lsl": "mne_lsl", "mne-bids": "mne_bids"}  # fmt: skip
TRAINS = re.compile(r"(modeling_mteeg/(training|comparison)/|recipes/|dataset_scripts/|"
                    r"modeling_mteeg/evaluation/metric_modules\.py)")  # fmt: skip
"""What may not even be imported without the extra ``train``."""


def modules(lines: list[str]) -> set[str]:
    """Names in Python of what requirements name."""
    names = {Requirement(line).name for line in lines}
    return {IMPORTED_AS.get(name, name) for name in names}


def imports(indented: bool) -> Iterator[tuple[str, str]]:
    """Files of the package and what they import of others, inside functions too if asked for."""
    pattern = re.compile(rf"^{' *' if indented else ''}(?:import|from) ([a-z]\w*)", re.MULTILINE)
    for room in ("modeling_mteeg", "recipes", "dataset_scripts"):
        for path in (ROOT / room).rglob("*.py"):
            code = re.sub(r'"""(.|\n)*?"""', "", path.read_text("utf-8"))
            for name in pattern.findall(code):
                if name not in sys.stdlib_module_names and name != "modeling_mteeg":
                    yield path.relative_to(ROOT).as_posix(), name


def test_every_package_that_is_imported_is_asked_for():
    extras = PROJECT["optional-dependencies"]
    asked = modules([*PROJECT["dependencies"], *(one for many in extras.values() for one in many)])
    found = {name for _, name in imports(indented=True)}
    assert {"torch", "datasets", "mne"} <= found
    assert found - asked == {"yarl", "starlette"}  # aiohttp's addresses, Gradio's server


def test_what_predicts_does_not_import_what_only_training_brings():
    train = modules(PROJECT["optional-dependencies"]["train"])
    assert train == _ending.TRAIN_PACKAGES
    tops = [(path, name) for path, name in imports(indented=False) if name in train]
    assert len(tops) > 10 and not [path for path, _ in tops if not TRAINS.match(path)]
    assert "modeling-mteeg[train]" in PROJECT["optional-dependencies"]["test"]


def test_a_lacking_package_is_said_in_a_sentence(capsys):
    def run() -> None:
        raise ModuleNotFoundError("No module named 'datasets.x'", name="datasets.x")

    assert _ending.ended(run, code=2, name="mteeg train") == 2
    said = capsys.readouterr().err
    assert said == ("mteeg train: error: this needs datasets, which is not installed: pip install "
                    "'modeling-mteeg[train]'.\n")  # fmt: skip
    _ending._uncaught(ModuleNotFoundError, ModuleNotFoundError(name="sklearn"), None)
    assert capsys.readouterr().err.startswith("error: this needs sklearn, which is not installed")

    def fault() -> None:
        raise ModuleNotFoundError("No module named 'modeling_mteeg.gone'", name="modeling_mteeg.g")

    with pytest.raises(ModuleNotFoundError):
        _ending.ended(fault)


def test_a_clone_has_its_recipes_and_corpora_in_the_package():
    assert _clone.CLONE == ROOT and modeling_mteeg.__path__[-1] == str(ROOT)
    for name in ("recipes", "dataset_scripts"):
        module = importlib.import_module(f"modeling_mteeg.{name}")
        assert Path(module.__file__) == ROOT / name / "__init__.py"


def test_the_bare_name_gives_the_same_modules():
    for name in ("dataset_scripts", "dataset_scripts.corpus", "dataset_scripts.downloads.database"):
        assert importlib.import_module(name) is importlib.import_module(f"modeling_mteeg.{name}")
    from_bare = importlib.import_module("dataset_scripts").Corpus
    assert from_bare is importlib.import_module("modeling_mteeg.dataset_scripts.corpus").Corpus
    with pytest.raises(ModuleNotFoundError, match=r"dataset_scripts\.nothing"):
        importlib.import_module("dataset_scripts.nothing")


def test_the_bare_name_of_another_package_stays_its_own(tmp_path, monkeypatch):
    for name in [one for one in sys.modules if one.partition(".")[0] == "dataset_scripts"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "dataset_scripts").mkdir()
    (tmp_path / "dataset_scripts" / "__init__.py").write_text("")
    (tmp_path / "dataset_scripts" / "corpus.py").write_text("whose = 'another'")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("dataset_scripts.corpus").whose == "another"
    for name in ("dataset_scripts", "dataset_scripts.corpus"):
        monkeypatch.delitem(sys.modules, name)


COMMANDS = [
    ("accelerate launch recipes/joint.py --base B",
     "accelerate launch -m modeling_mteeg.recipes.joint --base B"),
    ("torchrun --nproc_per_node 2 recipes/joint.py",
     "torchrun --nproc_per_node 2 -m modeling_mteeg.recipes.joint"),
    ("python recipes/joint.py --config recipes/configs/joint_base.yaml",
     "python -m modeling_mteeg.recipes.joint --config joint_base"),
    ("as recipes/joint.py does it", "as modeling_mteeg.recipes.joint does it"),
    ("python -m dataset_scripts.<corpus>", "python -m modeling_mteeg.dataset_scripts.<corpus>"),
    ("/home/me/recipes/joint.py my/recipes/configs/a.yaml",) * 2,
]  # fmt: skip


@pytest.mark.parametrize(("here", "elsewhere"), COMMANDS)
def test_commands_are_said_as_they_can_be_typed(here, elsewhere, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert as_typed(here) == here
    monkeypatch.chdir(tmp_path)
    assert as_typed(here) == elsewhere
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(_clone, "CLONE", None)  # installed, whatever the folder is
    assert as_typed(here) == elsewhere


def test_help_of_recipes_shows_what_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("joint", "comparison", "pretrain", "pretrain_tokenizer", "cross_validate"):
        told = ast.get_docstring(ast.parse((ROOT / f"recipes/{name}.py").read_text("utf-8")))
        assert "recipes/" in told
        text = joint_parser(told, CONFIGS).format_help()
        assert f"-m modeling_mteeg.recipes.{name}" in text and "recipes/" not in text


def test_shipped_configurations_go_by_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    joint, stage_one = joint_parser("", CONFIGS), stage_one_parser("", CONFIGS, "pretrain")
    assert joint.parse_args(["--config", "joint_base"]).config == CONFIGS / "joint_base.yaml"
    assert joint.parse_args(["--config", "own/joint_base"]).config == Path("own/joint_base")
    assert joint.parse_args(["--config", "mine.yaml"]).config == Path("mine.yaml")
    for name in ("large", "pretrain_large"):
        assert stage_one.parse_args(["--config", name]).config == CONFIGS / "pretrain_large.yaml"
    with pytest.raises(SystemExit):
        joint.parse_args(["--config", "joint_bass"])
    said = capsys.readouterr().err
    assert "joint_base, " in said and "found 'joint_bass'" in said
    (tmp_path / "joint_bass").write_text("seeds: [0]")  # a file without a suffix is a file
    assert joint.parse_args(["--config", "joint_bass"]).config == Path("joint_bass")


def test_the_citation_is_of_this_version_and_of_the_papers_that_cards_name():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == PROJECT["version"] == modeling_mteeg.__version__
    assert cited["license"] == PROJECT["license"]
    assert cited["repository-code"] == PROJECT["urls"]["Repository"]
    for reference, entry in zip(
        cited["references"], (citation.MTEEG, citation.LABRAM), strict=True
    ):
        title = re.search(r"title = \{((?:.|\n)*?)\},\n", entry)[1]
        assert re.sub(r"\s+", " ", re.sub(r"[{}]", "", title)) == reference["title"]
        for author in reference["authors"]:
            assert author.get("family-names", author.get("name")) in entry


def test_addresses_begin_with_the_repository_s():
    repository = PROJECT["urls"]["Repository"]
    assert all(url.startswith(repository) for url in PROJECT["urls"].values())
