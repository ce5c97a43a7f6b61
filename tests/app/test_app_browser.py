"""The page in a real browser, served by the command: upload, wait, see, download."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import edfio
import numpy as np
import pytest
import torch
from browser import Page, find_browser, opened
from test_app_space import free_port
from tiny_models import model_with_tasks

from modeling_mteeg import MteegFeatureExtractor, cli

pytestmark = pytest.mark.slow
pytest.importorskip("gradio", reason="the page needs Gradio (the app extra)")
SECONDS = 180


def write_edf(path: Path, channels: list[str], rate_hz: int, seed: int) -> Path:
    """A simulated recording: noise of 20 uV, with a slow rhythm in its second half."""
    random = np.random.default_rng(seed)
    time_s = np.arange(SECONDS * rate_hz) / rate_hz
    slow = 60 * np.sin(2 * np.pi * 1.5 * time_s) * (time_s > SECONDS / 2)
    signals = [
        edfio.EdfSignal(
            np.clip(random.normal(0, 20, len(time_s)) + slow, -400, 400), rate_hz, label=name,
            physical_dimension="uV", physical_range=(-400, 400),
        )
        for name in channels
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    edfio.Edf(signals).write(path)
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A night in the layout of Sleep-EDF, and a scalp EEG in that of CHB-MIT."""
    root = tmp_path_factory.mktemp("recordings")
    return {
        "sleep-edf": write_edf(
            root / "SC4001E0-PSG.edf", ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal"], 100, 1
        ),
        "chb-mit": write_edf(root / "chb01_03.edf", ["FP1-F7", "F7-T7", "F3-C3", "C3-P3"], 256, 2),
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "base"
    torch.manual_seed(0)
    model = model_with_tasks("sleep-edf", "chb-mit", "tuev")
    model.save_pretrained(folder)
    MteegFeatureExtractor().save_pretrained(folder)
    for name, card in model.tasks.items():
        asks = {"sleep-edf": "Which stage of sleep?", "chb-mit": "Is there a seizure?"}.get(name)
        fields = {"simulated": True, "description": asks or card.description}
        model.save_adapter(name, folder / "adapters" / name, **fields)
    return folder


@pytest.fixture(scope="module")
def address(base, tmp_path_factory):
    """``mteeg app`` in a process of its own."""
    find_browser()
    port, folder = free_port(), tmp_path_factory.mktemp("server")
    log = folder / "log"
    given = os.environ | {"HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(folder / "kept")}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "modeling_mteeg.cli", "app", "--base", str(base)]
            + ["--port", str(port)],
            cwd=folder, env=given, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(log.read_text("utf-8")[-3000:])
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                if b"mteeg" in answer.read():  # not what another program serves at this port
                    break
        except OSError:
            pass
        time.sleep(0.2)
    yield url
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text("utf-8"), log.read_text("utf-8")[-3000:]


@pytest.fixture
def page(address, tmp_path):
    with opened(address, tmp_path) as page:
        page.see("Drop a recording")
        yield page


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, delimiter="\t"))


def short(events: list[list[str]]) -> list[list[str]]:
    """Rows as the page shows them: without ``trial_type``, probabilities with three digits."""
    header, *rows = events
    place = header.index("trial_type")
    return [
        [
            f"{float(cell):.3f}" if name.startswith("probability_") else cell
            for name, cell in zip(header, row, strict=True)
            if name != header[place]
        ]
        for row in rows
    ]


def shown_rows(page: Page) -> list[list[str]]:
    """Cells of the table of events that are on the screen."""
    script = (
        "const rows = [...document.querySelectorAll('#answers [role=row]')];"
        "return rows.map(row => [...row.querySelectorAll('[role=gridcell]')]"
        ".map(cell => cell.innerText.trim())).filter(row => row.length)"
    )
    return page.driver.execute_script(script)


def allow_missing(page: Page, count: int) -> None:
    """Open the options and allow missing channels."""
    page.click(".label-wrap", "Options")
    page.wait(lambda: page.find("#missing input"), "the options")[0].send_keys(str(count))


def predicted_by_command(base, recording, tasks, folder) -> None:
    wanted = [part for task in tasks for part in ("--task", task)]
    out = folder if len(tasks) > 1 else folder / "events.tsv"
    argv = ["predict", str(recording), "--base", str(base), *wanted, "--out", str(out)]
    assert cli.main(argv) == 0


def test_drop_wait_see_and_download(page, base, recordings, tmp_path, capsys):
    page.upload(recordings["sleep-edf"])
    assert "100 Hz" in page.see("3 min", "#about-file")
    page.see("✓ all 2 channels", "#tasks")
    assert page.wait(
        lambda: [box for box in page.find("#tasks input") if box.is_selected()], "mark"
    )
    page.click("#predict")
    page.see("SC4001E0-PSG.edf", "#status")
    pictures = page.wait(
        lambda: len(found := page.pictures()) == 2 and all(width for width, _ in found) and found,
        "two pictures",
    )
    assert all(width > 600 for width, _ in pictures)
    assert "hypnogram" in pictures[0][1].lower() and "scalp" in pictures[1][1].lower()

    events = table(page.download("events.tsv"))
    predicted_by_command(base, recordings["sleep-edf"], ["sleep-edf"], tmp_path)
    assert events == table(tmp_path / "events.tsv")
    assert len(events) > 10
    shown = page.wait(lambda: [row for row in shown_rows(page) if all(row)], "rows of events")
    assert len(shown) > 5
    assert all(row in short(events) for row in shown)
    assert '"sleep-edf"' in page.download("events.json").read_text("utf-8")

    assert "simulated" in page.see("simulated", "#simulated")
    assert "no medical device" in page.see("no medical device", "#no-device")
    assert page.hosts() == {"127.0.0.1"}
    assert page.complaints() == []


def test_two_tasks_in_a_narrow_window(address, base, recordings, tmp_path):
    with opened(address, tmp_path, size=(520, 900)) as page:
        page.upload(recordings["chb-mit"])
        page.see("3 min", "#about-file")
        allow_missing(page, 1)
        page.choose("chb-mit")
        page.click("#predict")
        page.see("chb01_03.edf", "#status")
        page.wait(page.pictures, "pictures")
        wide = page.driver.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 1, f"the page is {wide} pixels wider than its window"


def test_a_dark_telephone(address, base, recordings, tmp_path):
    """Pictures, captions, traces and threshold in a narrow window of a system that is dark."""
    with opened(address, tmp_path) as page:
        page.emulate(390, 844, dark=True)
        page.see("Drop a recording")
        page.upload(recordings["chb-mit"])
        page.see("3 min", "#about-file")
        page.see("Is there a seizure?", "#tasks")
        page.choose("chb-mit")
        allow_missing(page, 1)
        page.click("#predict")
        page.see("chb01_03.edf", "#status")
        page.wait(lambda: [width for width, _ in page.pictures() if width], "pictures")
        shown = [one.get_attribute("src") for one in page.find("#answers .pictures img")]
        assert shown and all(one.endswith("_dark.png") for one in shown)
        sizes = page.driver.execute_script(
            "return [...document.querySelectorAll('figcaption, .mteeg-small, .mteeg-answer p')]"
            ".map(one => parseFloat(getComputedStyle(one).fontSize))"
        )
        assert len(sizes) > 2 and min(sizes) >= 14
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 391
        page.press_event(3)
        page.wait(lambda: page.find(".traces img"), "traces")
        caption = page.see("For display", ".traces figcaption")
        assert "band-pass 0.5 to 70 Hz" in caption and "µV" in caption and "F7-T7" in caption
        number = page.find(".threshold input[type=number]")[0]
        number.clear()
        number.send_keys("0.9\t")
        assert "chosen by hand" in page.see("threshold 0.9", ".summary")
        assert not page.find(".traces img")
        page.emulate(390, 844, dark=False)  # as at noon: loads the page anew
        page.see("Drop a recording")
        assert page.driver.execute_script("return document.querySelectorAll('.dark').length") == 0


def test_errors_are_said_on_the_page(page, recordings, tmp_path):
    (tmp_path / "notes.edf").write_text("no recording")
    page.upload(tmp_path / "notes.edf")
    said = page.see("notes.edf: 12 bytes long", "#about-file")
    assert "Traceback" not in said and str(tmp_path) not in said
    page.choose("sleep-edf")
    page.click("#predict")
    page.see("notes.edf: 12 bytes long", "#status")

    page.driver.refresh()
    page.see("Drop a recording")
    page.upload(recordings["sleep-edf"])
    page.see("3 min", "#about-file")
    page.choose("chb-mit")
    page.click("#predict")
    assert "FP1-F7" in page.see("are missing", "#status") and not page.find("#answers")
    page.choose("sleep-edf")
    page.click("#predict")
    page.see("SC4001E0-PSG.edf", "#status")


def test_two_visitors_at_once_do_not_mix(address, base, recordings, tmp_path, capsys):
    """Both press before either has an answer; each gets the events of its own recording."""
    with opened(address, tmp_path / "a") as one, opened(address, tmp_path / "b") as other:
        visitors = {"sleep-edf": one, "chb-mit": other}
        for task, page in visitors.items():
            page.upload(recordings[task])
            page.see("3 min", "#about-file")
            allow_missing(page, 1)
            page.choose(task)
        for page in visitors.values():
            page.click("#predict")
        for task, page in visitors.items():
            page.see(recordings[task].name, "#status")
            events = table(page.download("events.tsv"))
            out = tmp_path / f"{task}.tsv"
            argv = ["predict", str(recordings[task]), "--base", str(base), "--task", task]
            assert cli.main([*argv, "--out", str(out), "--allow-missing", "1"]) == 0
            assert events == table(out)
