"""``mteeg show``: the overview of prepared corpora, as text and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.inspection.overview import WINDOWS, corpus_overview, prepared_folders
from ..data.inspection.overview_as_text import overview_text
from ..data.loading import SPLITS
from .class_averages import save_averages
from .corpus_picture import save_overview
from .style import check_picture_name


def show(
    folder: str | Path,
    out: str | Path | None = None,
    splits: Sequence[str] | None = None,
    windows: int | None = None,
    picture: bool = True,
    averages: bool | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Path]:
    """Print the overview of every prepared corpus and draw it.

    Parameters
    ----------
    folder : str or Path
        A prepared corpus, or a folder of several.
    out : str or Path, optional
        Picture of the corpus; of several corpora a folder for ``<task>.png``. Default:
        ``<task>.png`` in the working folder.
    splits : sequence of str, optional
        Splits to look at; all by default.
    windows : int, optional
        See :func:`corpus_overview`.
    picture : bool
        Draw; else only print. Class averages have a picture of their own beside the first,
        ``<name>_averages.png``.
    averages : bool, optional
        See :func:`corpus_overview`.
    overwrite : bool
        Replace pictures that are there.
    quiet : bool
        Do not print where the pictures are.

    Returns
    -------
    list of Path
        The pictures.

    Raises
    ------
    FileExistsError
        A picture is there already. Nothing was printed.
    FileNotFoundError, ValueError
        See :func:`prepared_folders`, :func:`corpus_overview` and
        :func:`modeling_mteeg.pictures.corpus_picture.save_overview`. The text has been printed
        where only the picture fails.
    """
    folders = prepared_folders(folder)
    targets = _targets(folders, out) if picture else []
    if not overwrite:
        _check_free(targets, averages)
    pictures = []
    windows = WINDOWS if windows is None else windows
    for index, corpus in enumerate(folders):
        overview = corpus_overview(corpus, splits or SPLITS, windows, averages=averages)
        print(("\n" if index else "") + overview_text(overview), flush=True)
        if picture:
            target, made = targets[index], [(save_overview, targets[index])]
            if overview.averages is not None and overview.averages.counts:
                made.append((save_averages, _of_averages(target)))
            for save, path in made:
                pictures.append(save(overview, path))
                if not quiet:
                    print(f"\npicture: {pictures[-1]}", flush=True)
    return pictures


def _of_averages(target: Path) -> Path:
    return target.with_stem(f"{target.stem}_averages")


def _check_free(targets: Sequence[Path], averages: bool | None) -> None:
    """Raise where a picture would be replaced."""
    beside = [] if averages is False else map(_of_averages, targets)
    there = [str(path) for path in (*targets, *beside) if path.exists()]
    if there:
        raise FileExistsError(
            f"{', '.join(there)} there already: choose another name (--out), or say --overwrite, "
            "or --no-picture for the text alone."
        )


def _targets(folders: Sequence[Path], out: str | Path | None) -> list[Path]:
    """A picture for every corpus."""
    names = [f"{folder.resolve().name}.png" for folder in folders]
    if out is None:
        return [Path(name) for name in names]
    out = Path(out)
    if len(folders) > 1 or out.is_dir():
        if out.suffix:
            raise ValueError(
                f"{out}: {len(folders)} corpora need a folder for their pictures, found the name "
                "of a file. Name a folder, or show one corpus."
            )
        return [out / name for name in names]
    return [check_picture_name(out)]
