"""The browser of these tests notices what a page does wrong."""

import shutil

import pytest
from pages.browser import programs


def page(directory, body):
    path = directory / "page.html"
    path.write_text(f"<!doctype html><html lang='en'><title>t</title><body>{body}</body></html>")
    return path.as_uri()


def test_a_quiet_page_has_no_complaints_and_asks_for_itself_alone(browser, tmp_path):
    address = page(tmp_path, "<p>quiet</p><link rel='icon' href='data:,'>")
    browser.open(address)
    assert browser.one("p").text == "quiet"
    assert browser.complaints() == []
    assert browser.asked_for() == [address]


def test_errors_and_requests_are_noticed(browser, tmp_path):
    browser.open(page(tmp_path, "<img src='http://127.0.0.1:9/a.png'><script>no()</script>"))
    assert any("no is not defined" in line for line in browser.complaints())
    assert "http://127.0.0.1:9/a.png" in browser.asked_for()


@pytest.mark.parametrize("width_px", [400, 1280])
def test_widths_and_colour_schemes_are_real(browser, tmp_path, width_px):
    address = page(tmp_path, "<div style='width: 500px; height: 9px; margin: -8px'></div>")
    browser.open(address, width_px, "dark")
    assert browser.js("return innerWidth") == width_px
    assert browser.js("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert browser.overflow_px() == (100 if width_px == 400 else 0)


def test_a_missing_browser_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"apt-get install chromium chromium-driver$"):
        programs()
