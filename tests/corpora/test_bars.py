"""Bars of preparations fill no file."""

from __future__ import annotations

import io

import pytest

from modeling_mteeg.dataset_scripts import bars
from modeling_mteeg.dataset_scripts.bars import Bar


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


def test_bytes_come_with_their_rate_in_a_file_and_in_a_terminal(monkeypatch, capsys):
    now = iter([100.0, 110.0])
    monkeypatch.setattr(bars.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(bars, "_TELL_EVERY_S", 5.0)
    options = {"total": 4 * 10**9, "initial": 10**9, "desc": "chb-mit", "unit": "B"}
    with Bar(unit_scale=True, **options) as bar:
        bar.update(10**9)
    assert capsys.readouterr().err == "chb-mit: 2.00GB of 4.00GB, 100MB/s\n"
    monkeypatch.undo()
    terminal = Terminal()
    with Bar(unit_scale=True, file=terminal, mininterval=0, **options) as bar:
        bar.update(10**9)
    assert "2.00G/4.00G" in terminal.getvalue() and "B/s" in terminal.getvalue()
