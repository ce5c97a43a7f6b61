"""Repositories of a small Hub: every commit is a snapshot of all files, with branches and tags."""

from __future__ import annotations

import base64
import dataclasses
import fnmatch
import hashlib
from datetime import UTC, datetime

LFS_PATTERNS = ("*.safetensors", "*.bin", "*.arrow", "*.parquet", "*.png", "*.onnx")


class HubError(Exception):
    """What the server answers instead: a status, a message, the Hub's code of it, and more."""

    def __init__(self, status: int, message: str, code: str = "", **more: str) -> None:
        super().__init__(message)
        self.status, self.code, self.content = status, code, {"error": message} | more


@dataclasses.dataclass(frozen=True)
class File:
    """Content of a file, in git or in the large file store."""

    content: bytes
    lfs: bool = False

    @property
    def blob(self) -> str:
        """SHA-1 as git gives it: of the content, or of the pointer to the large file."""
        data = self.content
        if self.lfs:
            data = f"oid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob

    def entry(self, path: str) -> dict:
        """Row of a tree listing."""
        size = len(self.content)
        large = {"lfs": {"oid": self.sha256, "size": size, "pointerSize": 134}} if self.lfs else {}
        return {"type": "file", "oid": self.blob, "size": size, "path": path} | large


@dataclasses.dataclass(frozen=True)
class Commit:
    sha: str
    parent: str | None
    title: str
    files: dict[str, File]
    date: str


class Repo:
    """One repository; it begins with a commit of ``.gitattributes``, as on the Hub."""

    def __init__(self, name: str, kind: str, private: bool) -> None:
        self.name, self.kind, self.private = name, kind, private
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.pulls: dict[str, str] = {}
        rules = "".join(f"{pattern} filter=lfs diff=lfs\n" for pattern in LFS_PATTERNS)
        first = self.add_commit({".gitattributes": File(rules.encode())}, "initial commit", None)
        self.branches["main"] = first.sha

    @property
    def head(self) -> str:
        """Commit that ``main`` stands at."""
        return self.branches["main"]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Path to content, for tests to look at."""
        return {path: file.content for path, file in self.commit(revision).files.items()}

    def add_commit(self, files: dict[str, File], title: str, parent: str | None) -> Commit:
        listing = "".join(f"{path} {files[path].etag}\n" for path in sorted(files))
        text = f"{self.name} {len(self.commits)} {parent} {title}\n{listing}"
        sha = hashlib.sha1(text.encode()).hexdigest()
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        self.commits[sha] = Commit(sha, parent, title, files, date)
        return self.commits[sha]

    def commit(self, revision: str) -> Commit:
        """The commit that a branch, tag, pull request or hash names."""
        names = {**self.pulls, **self.tags, **self.branches}
        sha = names.get(revision, revision)
        if sha not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def history(self, revision: str) -> list[Commit]:
        """The commit and its parents, newest first."""
        found, sha = [], self.commit(revision).sha
        while sha is not None:
            found.append(self.commits[sha])
            sha = found[-1].parent
        return found

    def apply(
        self, revision: str, lines: list[dict], large: dict[str, bytes], pull: bool
    ) -> tuple[Commit, str | None]:
        """Make a commit of the operations of a request; also the new pull request's name."""
        header, *operations = lines
        parent = self.commit(revision)
        wanted = header["value"].get("parentCommit")
        if wanted and wanted != parent.sha:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for operation in operations:
            self._apply_one(files, operation["key"], operation["value"], large)
        commit = self.add_commit(files, header["value"]["summary"], parent.sha)
        if pull:
            name = f"refs/pr/{len(self.pulls) + 1}"
            self.pulls[name] = commit.sha
            return commit, name
        if revision not in self.branches:
            raise HubError(400, f"{revision} is no branch")
        self.branches[revision] = commit.sha
        return commit, None

    def _apply_one(
        self, files: dict[str, File], key: str, value: dict, large: dict[str, bytes]
    ) -> None:
        path = value["path"]
        if key == "file":
            files[path] = File(base64.b64decode(value["content"], validate=True))
        elif key == "lfsFile":
            if value["oid"] not in large:
                raise HubError(400, f"LFS pointer of {path} points to a file that does not exist")
            files[path] = File(large[value["oid"]], lfs=True)
        elif key in ("deletedFile", "deletedFolder"):
            below = path.rstrip("/") + "/" if key == "deletedFolder" else "\0"
            gone = [name for name in files if name == path or name.startswith(below)]
            if not gone:
                raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            for name in gone:
                del files[name]
        else:
            raise HubError(400, f"unknown operation {key}")

    def tree(self, revision: str, folder: str, recursive: bool) -> list[dict]:
        """Entries below a folder."""
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        files = self.commit(revision).files
        entries: dict[str, dict] = {}
        for path in sorted(files):
            if not path.startswith(prefix):
                continue
            parts = path[len(prefix) :].split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                name = prefix + "/".join(parts[:depth])
                entries[name] = {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
            if recursive or len(parts) == 1:
                entries[path] = files[path].entry(path)
        if folder and not entries:
            raise HubError(404, f"{folder} does not exist on {revision}", "EntryNotFound")
        return list(entries.values())


def is_large(path: str, size: int) -> bool:
    """Whether a file goes to the large file store."""
    name = path.rsplit("/", 1)[-1]
    return size > 10_000_000 or any(fnmatch.fnmatch(name, rule) for rule in LFS_PATTERNS)
