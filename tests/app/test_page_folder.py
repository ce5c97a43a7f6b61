"""What a page keeps goes when it ends, and what a killed one left at the next start."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from modeling_mteeg.app import markup
from modeling_mteeg.app.page_folder import LOCK, PREFIX, page_folder, remove_leftovers
from modeling_mteeg.app.session import Session, Stopped
from modeling_mteeg.settings.folder_lock import held


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_everything_goes_when_the_page_ends(root, error):
    before, session = tempfile.gettempdir(), Session()
    try:
        with page_folder() as folder:
            assert os.environ["GRADIO_TEMP_DIR"].startswith(str(folder))  # uploads
            results = session.start()
            (results / "events.tsv").touch()
            assert results.is_relative_to(folder)
            with tempfile.NamedTemporaryFile(delete=False) as file:
                assert Path(file.name).is_relative_to(folder)
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert not list(root.iterdir())
    assert tempfile.gettempdir() == before and os.environ["GRADIO_TEMP_DIR"] == str(root)
    with pytest.raises(Stopped):  # a run at work ends
        session.check()


def test_leftovers_of_killed_pages_go_and_nothing_else(root):
    killed, running, beginning, elsewhere = (root / f"{PREFIX}{name}" for name in "abcd")
    for folder in (killed, running, beginning):
        folder.mkdir()
    (killed / LOCK).touch()
    (killed / "upload.edf").touch()
    target = root / "recordings"
    target.mkdir()
    (target / LOCK).touch()
    elsewhere.symlink_to(target)
    with held(running / LOCK):
        assert remove_leftovers(root) == [killed]
    assert not killed.exists()
    assert running.is_dir() and beginning.is_dir() and (target / LOCK).is_file()


def test_texts_on_the_page_turn_no_direction_and_hold_no_html():
    html = markup.error("<b>", "a\u202eb\x1b\n<script>")
    assert "\u202e" not in html and "\x1b" not in html and "<script>" not in html
    assert r"a\u202eb\x1b" in html and "&lt;script&gt;" in html
