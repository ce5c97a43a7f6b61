"""A headless Chromium for tests of the page, and what a person does with it."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

WAIT_S = 300
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
).split()


def find_browser() -> tuple[str, str]:
    """Paths of Chromium and of its driver; skips the test where they are not installed."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no Chromium with chromedriver on the path (Debian: chromium, chromium-driver)")
    return browser, driver


@contextmanager
def opened(address: str, folder: Path, size: tuple[int, int] = (1400, 1000)) -> Iterator[Page]:
    """A browser of its own at an address; profile and downloads lie in ``folder``."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    browser, driver = find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    flags = [f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}"]
    for flag in [*_FLAGS, *flags]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        driver.get_log("performance")  # the empty tab's own
        driver.get(address)
        yield Page(driver, downloads)
    finally:
        driver.quit()


class Page:
    """What a person sees and does."""

    def __init__(self, driver: Any, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads

    def find(self, selector: str) -> list[Any]:
        """Elements by CSS selector that are shown."""
        return [e for e in self.driver.find_elements("css selector", selector) if e.is_displayed()]

    def wait(self, what: Callable[[], Any], words: str) -> Any:
        """What ``what`` gives once it gives something."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            try:
                if found := what():
                    return found
            except StaleElementReferenceException:
                pass
            time.sleep(0.1)
        self.driver.save_screenshot(str(self.downloads / "late.png"))
        pytest.fail(f"{words}: not within {WAIT_S} s; the page reads: {self.text()[-2000:]}")

    def see(self, text: str, selector: str = "body") -> str:
        """Wait until a text is shown, and return the whole of the element."""
        return self.wait(
            lambda: next((e.text for e in self.find(selector) if text in e.text), ""), text
        )

    def text(self) -> str:
        return self.driver.find_element("tag name", "body").text

    def upload(self, *files: Path) -> None:
        find = lambda: self.driver.find_elements("css selector", "#recording input[type=file]")  # noqa: E731
        self.wait(find, "a place for files")[0].send_keys("\n".join(map(str, files)))

    def click(self, selector: str, text: str = "") -> None:
        """Press the shown and enabled element that reads ``text``."""

        def element():
            found = [e for e in self.find(selector) if e.text.startswith(text) and e.is_enabled()]
            return found[0] if found else None

        target = self.wait(element, f"{selector} {text!r}")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
        target.click()

    def emulate(self, width: int, height: int, dark: bool = False) -> None:
        """A window of this size (also narrower than Chromium's least), of a system that is dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.refresh()

    def screenshot(self, width: int, height: int, from_: str = "") -> bytes:
        """A PNG of the page from its top or an element on, however long the window is."""
        top = 0
        if from_:
            script = "return arguments[0].getBoundingClientRect().top + window.scrollY"
            top = self.driver.execute_script(script, self.find(from_)[0])
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        asked = {"clip": clip, "captureBeyondViewport": True}
        got = self.driver.execute_cdp_cmd("Page.captureScreenshot", asked)
        return base64.b64decode(got["data"])

    def choose(self, *tasks: str) -> None:
        """Mark these tasks and no others."""
        for box in self.find("#tasks label"):
            mark = box.find_element("css selector", "input")
            if mark.is_selected() != (mark.get_attribute("name") in tasks):
                mark.click()

    def press_event(self, row: int) -> None:
        """Press a row of the table of events."""
        cells = self.wait(lambda: self.find("#answers .events [role=gridcell]"), "events")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", cells[0])
        rows = self.find("#answers .events [role=row]")
        rows = [one for one in rows if one.find_elements("css selector", "[role=gridcell]")]
        rows[row].find_elements("css selector", "[role=gridcell]")[0].click()

    def pictures(self) -> list[tuple[int, str]]:
        """Width in pixels and description of every picture that is shown and decoded."""
        script = "return arguments[0].complete ? arguments[0].naturalWidth : 0"
        found = self.find("#answers .pictures img")
        return [(self.driver.execute_script(script, e), e.get_attribute("alt")) for e in found]

    def download(self, label: str) -> Path:
        """Press a download button and return the file."""
        before = set(self.downloads.iterdir())
        self.click(".download", label)

        def arrived():
            new = set(self.downloads.iterdir()) - before
            return [p for p in new if p.suffix not in (".crdownload", ".tmp") and p.stat().st_size]

        return self.wait(arrived, f"the download of {label}")[0]

    def hosts(self) -> set[str]:
        """Hosts that the page asked for something since it was opened."""
        hosts = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            url = message["params"].get("request", {}).get("url", "") or message["params"].get(
                "url"
            )
            if message["method"].startswith("Network.") and url:
                parts = urlsplit(url)
                if parts.scheme in ("http", "https", "ws", "wss"):
                    hosts.add(parts.hostname)
        return hosts

    def complaints(self) -> list[str]:
        """Errors in the browser's console."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] == "SEVERE"]
