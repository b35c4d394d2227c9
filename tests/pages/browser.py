"""A real Chromium without a screen: what it shows, what it complains of, what it asks for.

In: an address, a width, a colour scheme. Out: elements to read and to use, complaints of the
console, every address that was asked for, pictures.
"""

import base64
import json
import shutil
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
)
"""A browser that runs as root, and that asks for nothing but what its pages ask for."""

HEIGHT_PX = 900
_PATIENCE_S = 20.0


def programs() -> tuple[str, str]:
    """Return the paths of Chromium and of its driver.

    Raises:
        FileNotFoundError: one is missing; says in one line how to get it.
    """
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if None in found:
        raise FileNotFoundError(
            "tests/pages need Chromium and its driver; as root on Debian: "
            "apt-get install chromium chromium-driver"
        )
    return str(found[0]), str(found[1])


class Browser:
    """One Chromium with a fresh profile; :meth:`open` starts each page from nothing."""

    def __init__(self) -> None:
        chromium, driver = programs()
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={self._profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(executable_path=driver))

    def close(self) -> None:
        """End the browser and forget its profile."""
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, address: str, width_px: int = 1280, scheme: str = "light") -> None:
        """Show ``address`` at this width to a reader who likes ``scheme``, light or dark."""
        self.driver.get("about:blank")
        self.resize(width_px)
        self.prefer(scheme)
        self.complaints()
        self.asked_for()
        self.driver.get(address)

    def resize(self, width_px: int, height_px: int = HEIGHT_PX) -> None:
        """Give the page a window of this size; a real one cannot be as narrow as a telephone's."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False},
        )

    def prefer(self, scheme: str, medium: str = "") -> None:
        """Say that the reader likes ``scheme``; ``medium`` may be print."""
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {
                "media": medium,
                "features": [
                    {"name": "prefers-color-scheme", "value": scheme},
                    {"name": "prefers-reduced-motion", "value": "reduce"},
                ],
            },
        )

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements that a CSS selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Return the first element that a CSS selector finds."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def js(self, script: str, *arguments: object) -> object:
        """Return what ``script`` returns in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: object) -> object:
        """Return what ``script`` returns in the page, once that is true."""
        waiting = WebDriverWait(self.driver, _PATIENCE_S, poll_frequency=0.05)
        return waiting.until(lambda _driver: self.js(script, *arguments), script)

    def complaints(self) -> list[str]:
        """Return the warnings and errors of the console since the last call."""
        logged = self.driver.get_log("browser")
        return [each["message"] for each in logged if each["level"] in ("WARNING", "SEVERE")]

    def asked_for(self) -> list[str]:
        """Return the addresses that pages asked for since the last call, WebSockets' too.

        What a page holds itself (``data:`` and ``blob:``) it asks nobody for.
        """
        found = []
        for each in self.driver.get_log("performance"):
            message = json.loads(each["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                found.append(message["params"]["url"])
        return [each for each in found if not each.startswith(("data:", "blob:"))]

    def overflow_px(self) -> float:
        """Return by how much the page is wider than its window."""
        wider = self.js(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
        )
        assert isinstance(wider, int | float)
        return wider

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page, not only of what the window shows."""
        shown = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}
        )
        path.write_bytes(base64.b64decode(shown["data"]))

    def printed(self, path: Path) -> None:
        """Write the page as it would be printed, as PDF."""
        shown = self.driver.execute_cdp_cmd(
            "Page.printToPDF", {"printBackground": False, "paperWidth": 8.27, "paperHeight": 11.69}
        )
        path.write_bytes(base64.b64decode(shown["data"]))
