"""The pictures of the page in docs/pictures: wide and narrow, light and dark, in a real browser.

``python tests/support/page_pictures.py outputs/joint_demo docs/pictures`` after the demo
(``accelerate launch recipes/joint.py``), whose simulated recordings and base it takes. Needs
Chromium with chromedriver, and selenium.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import browser
from browser import Page, opened
from page_client import running_page
from PIL import Image

from modeling_mteeg.app.served import ServedModel

RECORDINGS = {
    "sleep-edf": "raw/sleep-edf/sleep-cassette/SC4001E0-PSG.edf",
    "chb-mit": "raw/chb-mit/**/*.edf",
    "tuab": "raw/tuab/edf/eval/abnormal/**/*.edf",
}
VIEWS = (
    ("page-narrow", "tuab", 390, 1500, False),
    ("page-narrow-dark", "sleep-edf", 390, 1500, True),
    ("page-wide-dark", "chb-mit", 1280, 1400, True),
    ("page-wide", "sleep-edf", 1280, 1250, False),
)
MOST_BYTES = 150_000


def answered(page: Page, recording: Path, task: str) -> None:
    """Drop a recording, ask one task, wait for its pictures."""
    page.upload(recording)
    page.see("Length", "#about-file")
    page.choose(task)
    page.click("#predict")
    page.see(recording.name, "#status")
    page.wait(lambda: [width for width, _ in page.pictures() if width], "pictures")


def view(address: str, recording: Path, task: str, width: int, height: int, dark: bool) -> bytes:
    """A PNG of the page with an answer, from where the answer begins in a narrow window."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(address, Path(folder), (1400, 1000)) as page,
    ):
        page.emulate(width, height, dark)
        page.see("Drop a recording")
        answered(page, recording, task)
        page.press_event(0)
        page.wait(lambda: page.find(".traces img"), "traces")
        return page.screenshot(width, height, from_="#status" if width < 700 else "")


def small_png(picture: bytes, most: int = MOST_BYTES) -> bytes:
    """The picture in as many colours as its size allows."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32, 16):
        out = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= most:
            break
    return out.getvalue()


def main() -> None:
    """Make all of them, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=[name for name, *_ in VIEWS])
    args = parser.parse_args()
    browser.WAIT_S = 900  # nobody is in a hurry
    with running_page(ServedModel.load(str(args.demo / "model"))) as (address, _):
        for name, task, width, height, dark in VIEWS:
            if name not in args.only:
                continue
            recording = sorted(args.demo.resolve().glob(RECORDINGS[task]))[0]
            picture = view(address, recording, task, width, height, dark)
            path = args.out / f"{name}.png"
            path.write_bytes(small_png(picture))
            print(f"{path}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
