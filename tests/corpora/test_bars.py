"""Bars of preparations fill no file."""

from __future__ import annotations

import io

import pytest

from dataset_scripts import bars
from dataset_scripts.bars import Bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_lines_now_and_then_and_no_carriage_return(monkeypatch, capsys):
    monkeypatch.setattr(bars, "_TELL_EVERY_S", 0.0)
    assert list(Bar(range(3), total=3, desc="hashing tuab", unit="recording")) == [0, 1, 2]
    with Bar(total=1.5, desc="tuab", unit="h") as bar:
        bar.update(0.5)
        bar.set_description("other")
        bar.set_postfix_str("5 s")
    text = capsys.readouterr().err
    assert text.splitlines() == [
        *(f"hashing tuab: {done} of 3 recording" for done in (1, 2, 3)), "tuab: 0.50 of 1.50 h",
    ]  # fmt: skip
    assert "\r" not in text


@pytest.mark.parametrize("progress", [True, False])
def test_a_short_preparation_says_nothing_in_a_file(capsys, progress):
    for _ in Bar(range(1000), total=1000, desc="a", progress=progress):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_keeps_its_bar():
    terminal = Terminal()
    with Bar(total=2, desc="tuab", file=terminal, mininterval=0) as bar:
        bar.update(2)
    assert "\r" in terminal.getvalue() and "2/2" in terminal.getvalue()
