"""Which files of a PhysioNet database a task reads, and whose they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

SOURCE = "https://physionet.org/files"
"""Where databases lie as ``<slug>/<version>/``, each with its SHA256SUMS.txt."""
MIRRORS = {"aws": "https://physionet-open.s3.amazonaws.com"}
"""PhysioNet's own copies elsewhere, by name."""
COMPANIONS = re.compile(
    r"RECORDS(-WITH-SEIZURES)?|LICENSE(\.txt)?|README(\.\w+)?|SUBJECT-INFO"
    r"|[\w-]*subjects?[-_]?info\.\w+|S[CT]-subjects\.xls"
)
"""Small files of a database that say what it is, who was recorded, and the licence."""
_NUMBERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Database:
    """A database of PhysioNet, as one task uses it.

    Parameters
    ----------
    slug, version : str
        Its address is ``<slug>/<version>/`` below ``SOURCE`` or a mirror.
    owner : str
        Regular expression of how the paths of a subject begin; its first group says whose.
    wanted : str
        Regular expression of the paths that the task reads.
    subject : str
        Name of a subject by number, such as ``S{:03d}``.
    same_subject : mapping of str to str
        Groups that are one person, to the subject's name.
    """

    slug: str
    version: str
    owner: str
    wanted: str
    subject: str
    same_subject: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def url(self, mirror: str | None = None) -> str:
        """Address of its folder, with a slash at the end."""
        base = MIRRORS.get(mirror, mirror) if mirror else SOURCE
        return f"{base.rstrip('/')}/{self.slug}/{self.version}/"

    def reads(self, name: str) -> bool:
        """Whether a path is of a recording, or of what belongs to one."""
        return re.fullmatch(self.wanted, name) is not None

    def subject_of(self, name: str) -> str | None:
        """Whose a path is; None: nobody's."""
        match = re.match(self.owner, name)
        return self.same_subject.get(match[1], match[1]) if match else None

    def subject_names(self, words: Iterable[str]) -> tuple[str, ...]:
        """Subjects by numbers, ranges and names: ``1-10,12``, ``S003``.

        Parameters
        ----------
        words : iterable of str
            Each may hold several, with commas.

        Returns
        -------
        tuple of str
            Names, each once.

        Raises
        ------
        ValueError
            A range runs backwards.
        """
        names: list[str] = []
        for word in (part.strip() for part in ",".join(words).split(",")):
            match = _NUMBERS.fullmatch(word)
            if match:
                first, last = int(match[1]), int(match[2] or match[1])
                if last < first:
                    raise ValueError(
                        f"--subjects: expected the lower number of a range first, found {word!r}."
                    )
                names += [self.subject.format(number) for number in range(first, last + 1)]
            elif word:
                names.append(word)
        return tuple(dict.fromkeys(self.same_subject.get(name, name) for name in names))

    def choose(
        self, names: Iterable[str], subjects: Sequence[str] = (), all_files: bool = False
    ) -> list[str]:
        """The paths to fetch, in the order of ``names``.

        Parameters
        ----------
        names : iterable of str
            All paths of the database.
        subjects : sequence of str
            As :meth:`subject_names` gives them; empty: all.
        all_files : bool
            What the task does not read, too; with ``subjects``, of them and of nobody.

        Raises
        ------
        ValueError
            A subject is not in the database, or none of its files is one that the task reads.
        """
        names = list(names)
        owners = {name: self.subject_of(name) for name in names}
        known = sorted({owners[name] or "" for name in names if self.reads(name)})
        if not known:
            raise ValueError(
                f"{self.slug} {self.version}: expected paths like {self.wanted}, found "
                f"{', '.join(names[:_SHOWN]) or 'none'}. Is it another database's list of files?"
            )
        unknown = sorted(set(subjects) - set(known))
        if unknown:
            raise ValueError(
                f"--subjects: not in {self.slug} {self.version}: {', '.join(unknown[:_SHOWN])}"
                f"{' ...' if len(unknown) > _SHOWN else ''}. It has {len(known)} subjects, "
                f"{known[0]} to {known[-1]}{self._holes(known)}."
            )
        if all_files:
            return [name for name in names if not subjects or owners[name] in (None, *subjects)]
        asked = {*(subjects or known)}
        return [
            name
            for name in names
            if COMPANIONS.fullmatch(name) or (self.reads(name) and owners[name] in asked)
        ]

    def _holes(self, known: Sequence[str]) -> str:
        """Numbers between the first and the last that nobody has."""
        numbers = [number for number in range(1000) if self.subject.format(number) in known]
        between = range(numbers[0], numbers[-1]) if numbers else ()
        holes = [str(number) for number in between if self.subject.format(number) not in known]
        return f", without {', '.join(holes)}" if holes and len(holes) <= _SHOWN else ""
