"""A Hub on this machine: real revisions, large files, tokens, and faults where a test wants them.

It speaks the API that ``huggingface_hub`` and the ``hf`` command use, and keeps all in memory.
Large files go to and come from a store at another address without tokens, as on the Hub. ``hub`` in
conftest.py starts it and points the client of this process to it; ``HubServer.environment`` does
that for other processes.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import yaml
from hub_http import Fault, Handler, Request, Store
from hub_store import File, HubError, Repo, is_large
from range_server import running

WRITE, READ, OTHER = "hf_write", "hf_read", "hf_other"
"""Tokens: of ``me`` to write, of ``me`` to read only, and of ``you`` to write."""
OWNERS = {WRITE: ("me", "write"), READ: ("me", "read"), OTHER: ("you", "write")}


class HubServer(ThreadingHTTPServer):
    """The Hub at ``url``; ``part_size`` makes larger files upload in parts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.store = Store(self)
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.part_size: int | None = None
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()

    def fail(self, kind: int | str, method: str = "", path: str = "", **options: Any) -> Fault:
        """Let requests fail from now on; see :class:`Fault`."""
        self.faults.append(Fault(kind, method, path, **options))
        return self.faults[-1]

    def repo(self, name: str, kind: str = "model") -> Repo:
        """A repository, for a test to look at."""
        return self.repos[f"{kind}s/{name}"]

    def add_repo(self, name: str, kind: str = "model", private: bool = False) -> Repo:
        """A repository that is there from the start."""
        self.repos[f"{kind}s/{name}"] = Repo(name, kind, private)
        return self.repo(name, kind)

    def count(self, method: str, path: str) -> int:
        """Requests that matched and were answered well."""
        return sum(
            one.method == method and bool(re.search(path, one.path)) and 0 < one.status < 400
            for one in self.requests
        )

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """Variables that point another process's client to this server."""
        login = {"HF_TOKEN": token} if token else {}
        return login | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }


_REPO = r"/api/((?:model|dataset|space)s/[^/]+/[^/]+)"
_FILE = r"/((?:datasets/|spaces/)?[^/]+/[^/]+)"


class _HubHandler(Handler):
    routes = (
        ("GET", r"/api/whoami-v2", "whoami"),
        ("POST", r"/api/validate-yaml", "validate"),
        ("POST", r"/api/repos/create", "create"),
        ("DELETE", r"/api/repos/delete", "delete"),
        ("POST", r"/api/repos/move", "move"),
        ("POST", rf"{_REPO}/preupload/([^/]+)", "preupload"),
        ("POST", rf"{_REPO}/commit/([^/]+)", "commit"),
        ("GET", rf"{_REPO}/refs", "refs"),
        ("GET", rf"{_REPO}/commits/([^/]+)", "commits"),
        ("POST DELETE", rf"{_REPO}/branch/([^/]+)", "branch"),
        ("POST DELETE", rf"{_REPO}/tag/([^/]+)", "tag"),
        ("GET", rf"{_REPO}/tree/([^/]+)(?:/(.*))?", "tree"),
        ("POST", rf"{_REPO}/paths-info/([^/]+)", "paths_info"),
        ("GET", rf"{_REPO}(?:/revision/([^/]+))?", "info"),
        ("POST", rf"{_FILE}\.git/info/lfs/objects/batch", "batch"),
        ("POST", r"/lfs/(\w+)/complete", "complete"),
        ("POST", r"/lfs/verify", "verify"),
        ("GET HEAD", rf"{_FILE}/resolve/([^/]+)/(.+)", "resolve"),
    )

    @property
    def hub(self) -> HubServer:
        return self.server

    # Who asks, and for what

    def owner(self) -> tuple[str | None, str]:
        """Name and role of the token; (None, "read") without one."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in OWNERS:
            raise HubError(401, "Invalid credentials in Authorization header")
        return OWNERS.get(token, (None, "read"))

    def to_read(self, key: str) -> Repo:
        key = key if re.match(r"(model|dataset|space)s/", key) else f"models/{key}"
        repo, name = self.hub.repos.get(key), self.owner()[0]
        if repo is None or (repo.private and repo.name.split("/")[0] != name):
            raise HubError(404 if name else 401, "Repository not found", "RepoNotFound")
        return repo

    def may_write(self, namespace: str) -> None:
        name, role = self.owner()
        if name is None:
            raise HubError(401, "Invalid username or password.")
        if role != "write" or namespace != name:
            raise HubError(403, f"You don't have the rights to write under {namespace}")

    def to_write(self, key: str) -> Repo:
        repo = self.to_read(key)
        self.may_write(repo.name.split("/")[0])
        return repo

    # Repositories

    def whoami(self) -> None:
        name, role = self.owner()
        if name is None:
            raise HubError(401, "Invalid username or password.")
        token = {"displayName": "test", "role": role}
        self.json({"type": "user", "name": name, "fullname": name, "isPro": False, "orgs": [],
                   "auth": {"type": "access_token", "accessToken": token}})  # fmt: skip

    def validate(self) -> None:
        content = json.loads(self.body)["content"]
        found = re.match(r"---\n(.*?)\n---", content, re.DOTALL)
        try:
            yaml.safe_load(found[1] if found else "")
        except yaml.YAMLError as error:
            return self.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        self.json({"errors": [], "warnings": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        namespace = asked.get("organization") or self.owner()[0] or "anonymous"
        self.may_write(namespace)
        name, kind = f"{namespace}/{asked['name']}", asked.get("type") or "model"
        url = f"{self.hub.url}/{name}" if kind == "model" else f"{self.hub.url}/{kind}s/{name}"
        with self.hub.lock:
            if f"{kind}s/{name}" in self.hub.repos:
                raise HubError(409, f"You already created this {kind} repo: {name}", url=url)
            self.hub.add_repo(name, kind, asked.get("visibility") == "private")
        self.json({"url": url, "name": name, "id": name})

    def delete(self) -> None:
        asked = json.loads(self.body)
        namespace = asked.get("organization") or self.owner()[0]
        key = f"{asked.get('type') or 'model'}s/{namespace}/{asked['name']}"
        self.to_write(key)
        del self.hub.repos[key]
        self.json({})

    def move(self) -> None:
        asked = json.loads(self.body)
        old, new = (f"{asked['type']}s/{asked[key]}" for key in ("fromRepo", "toRepo"))
        repo = self.to_write(old)
        self.may_write(asked["toRepo"].split("/")[0])
        repo.name = asked["toRepo"]
        self.hub.repos[new] = self.hub.repos.pop(old)
        self.json({})

    def info(self, key: str, revision: str) -> None:
        repo = self.to_read(key)
        commit = repo.commit(revision or "main")
        siblings = [
            {"rfilename": path, "size": len(file.content), "blobId": file.blob}
            for path, file in sorted(commit.files.items())
        ]
        self.json({"_id": commit.sha[:24], "id": repo.name, "modelId": repo.name,
                   "author": repo.name.split("/")[0], "sha": commit.sha, "private": repo.private,
                   "lastModified": commit.date, "createdAt": commit.date, "disabled": False,
                   "gated": False, "downloads": 0, "likes": 0, "tags": [],
                   "siblings": siblings})  # fmt: skip

    # Revisions

    def refs(self, key: str) -> None:
        repo = self.to_read(key)
        rows = {
            kind: [{"name": name, "ref": f"refs/{part}/{name}", "targetCommit": sha}
                   for name, sha in names.items()]
            for kind, part, names in (("branches", "heads", repo.branches),
                                      ("tags", "tags", repo.tags))
        }  # fmt: skip
        pulls = [{"name": n, "ref": n, "targetCommit": sha} for n, sha in repo.pulls.items()]
        self.json(rows | {"converts": [], "pullRequests": pulls})

    def commits(self, key: str, revision: str) -> None:
        self.json([
            {"id": one.sha, "title": one.title, "message": "", "date": one.date,
             "authors": [{"user": "me"}]}
            for one in self.to_read(key).history(revision)
        ])  # fmt: skip

    def branch(self, key: str, name: str) -> None:
        self._name(self.to_write(key), "branches", name, name)

    def tag(self, key: str, revision: str) -> None:
        name = revision if self.command == "DELETE" else json.loads(self.body)["tag"]
        self._name(self.to_write(key), "tags", name, revision)

    def _name(self, repo: Repo, kind: str, name: str, revision: str) -> None:
        names = getattr(repo, kind)
        if self.command == "DELETE":
            if names.pop(name, None) is None:
                raise HubError(404, f"no such name: {name}", "RevisionNotFound")
        elif name in names:
            raise HubError(409, f"Reference already exists: {name}")
        else:
            start = json.loads(self.body).get("startingPoint", "main")
            names[name] = repo.commit(start if kind == "branches" else revision).sha
        self.json({})

    # Files

    def tree(self, key: str, revision: str, folder: str) -> None:
        recursive = self.query.get("recursive", "").lower() == "true"
        self.json(self.to_read(key).tree(revision, folder, recursive))

    def paths_info(self, key: str, revision: str) -> None:
        wanted = parse_qs(self.body.decode()).get("paths", [])
        entries = self.to_read(key).tree(revision, "", recursive=True)
        self.json([entry for entry in entries if entry["path"] in wanted])

    def resolve(self, key: str, revision: str, path: str) -> None:
        commit = self.to_read(key).commit(revision)
        headers = {"X-Repo-Commit": commit.sha}
        if path not in commit.files:
            message = {"error": "Entry not found"}
            return self.json(message, 404, headers | {"X-Error-Code": "EntryNotFound"})
        file = commit.files[path]
        headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if not file.lfs:
            return self.reply(file.content, headers=headers)
        headers |= {"Location": f"{self.hub.store.url}/files/{file.sha256}?signature=1",
                    "X-Linked-Size": str(len(file.content)),
                    "X-Linked-Etag": f'"{file.sha256}"'}  # fmt: skip
        self.reply(b"", 302, headers)

    # Commits

    def preupload(self, key: str, revision: str) -> None:
        repo = self.to_read(key) if self.query.get("create_pr") else self.to_write(key)
        there = repo.commit(revision).files
        answers = []
        for asked in json.loads(self.body)["files"]:
            path, old = asked["path"], there.get(asked["path"])
            mode = "lfs" if is_large(path, asked["size"]) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False,
                            "oid": old.etag if old else None})  # fmt: skip
        self.json({"files": answers})

    def batch(self, key: str) -> None:
        self.to_read(key)
        asked = json.loads(self.body)
        self.json({"transfer": "basic", "objects": [self._action(one) for one in asked["objects"]]})

    def _action(self, asked: dict[str, Any]) -> dict[str, Any]:
        sha, size, step = asked["oid"], asked["size"], self.hub.part_size
        if sha in self.hub.large:
            return asked
        upload: dict[str, Any] = {"href": f"{self.hub.store.url}/files/{sha}"}
        if step and size > step:
            parts = range(1, -(-size // step) + 1)
            upload["header"] = {str(part): f"{upload['href']}/{part}" for part in parts}
            upload["header"]["chunk_size"] = str(step)
            upload["href"] = f"{self.hub.url}/lfs/{sha}/complete"
        verify = {"href": f"{self.hub.url}/lfs/verify"}
        return asked | {"actions": {"upload": upload, "verify": verify}}

    def complete(self, sha: str) -> None:
        parts = self.hub.parts.pop(sha, {})
        listed = [part["partNumber"] for part in json.loads(self.body)["parts"]]
        content = b"".join(parts.get(number, b"") for number in listed)
        if File(content).sha256 != sha:
            raise HubError(400, "parts are missing or damaged")
        self.hub.large[sha] = content
        self.json({"success": True})

    def verify(self) -> None:
        asked = json.loads(self.body)
        if len(self.hub.large.get(asked["oid"], b"")) != asked["size"]:
            raise HubError(404, "the file is not there", "EntryNotFound")
        self.json({"success": True})

    def commit(self, key: str, revision: str) -> None:
        pull = bool(self.query.get("create_pr"))
        repo = self.to_read(key) if pull else self.to_write(key)
        lines = [json.loads(line) for line in self.body.splitlines()]
        with self.hub.lock:
            commit, name = repo.apply(revision, lines, self.hub.large, pull)
        url = f"{self.hub.url}/{repo.name}"
        number = name.rsplit("/", 1)[-1] if name else None
        self.json({"success": True, "commitOid": commit.sha, "hookOutput": "",
                   "commitUrl": f"{url}/commit/{commit.sha}",
                   "pullRequestUrl": f"{url}/discussions/{number}"})  # fmt: skip


@contextlib.contextmanager
def hub_running() -> Iterator[HubServer]:
    """A running Hub and its store."""
    hub = HubServer()
    with running(hub.store), running(hub):
        yield hub


def point_client(hub: HubServer, home: Path, put: Callable[..., Any]) -> None:
    """Point this process's ``huggingface_hub`` and transformers to ``hub``, logged in nowhere.

    ``put(object, name, value)`` sets an attribute, such as ``monkeypatch.setattr``. The client
    takes its address from the environment when it is imported, so its constants are set here.
    """
    import transformers.utils.hub
    from huggingface_hub import constants

    put(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    put(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    put(constants, "HF_HUB_OFFLINE", False)
    put(constants, "HF_HUB_DISABLE_XET", True)
    put(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    put(constants, "HF_HUB_CACHE", str(home / "cache"))
    put(constants, "HF_TOKEN_PATH", str(home / "token"))
    put(transformers.utils.hub, "_hf_api", None)
