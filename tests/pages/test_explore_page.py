"""`simulate explore` in a real browser: sliders move figures, which are the command line's."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import two_models
from click.testing import CliRunner
from selenium.webdriver.common.keys import Keys

from model.calibration import dump
from simulate.cli import main

TRACE = "synthetic:poisson,rate=0.2,n=120,prompt=512,output=4"
BIN = Path(sys.executable).parent
PATIENCE_S = 20

FIGURES = """
const host = document.querySelector('#figures');
const cells = host && host.shadowRoot && host.shadowRoot.querySelectorAll('td[data-path]');
return cells && Array.from(cells, c => [c.dataset.path, c.dataset.of, c.dataset.value, c.innerText])
"""
LINE = """
const host = document.querySelector('#line');
const line = host && host.shadowRoot && host.shadowRoot.querySelector('pre');
return line && line.innerText
"""
READY = """
const host = document.querySelector('#answer');
return host && host.shadowRoot && host.shadowRoot.querySelector('[data-headline]') != null
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where a server started as a user would answers; it must end without a word on Ctrl-C."""
    calibration = tmp_path_factory.mktemp("explore") / "two.json"
    calibration.write_text(dump(two_models.calibration()), encoding="utf-8")
    words = (
        "--trace",
        TRACE,
        "--calibration",
        calibration,
        "--replicas",
        "2",
        "--slo",
        "ttft=5s",
        "--beyond-measured",
    )
    command = [str(BIN / "simulate"), "explore", *words, "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found, line + process.stderr.read()
    yield found[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.fixture
def page(browser, address):
    browser.open(address)
    browser.wait(READY)
    return browser


def inside(page, name, selector):
    """Return an element of the widget called ``name``, whose insides are apart from the page."""
    script = "return document.getElementById(arguments[0]).shadowRoot.querySelector(arguments[1])"
    return page.wait(script, name, selector)


def press(page, name, key):
    """Press a key on the handle of a slider; return the command line once it has changed."""
    before = page.js(LINE)
    inside(page, name, ".noUi-handle").send_keys(key)
    page.wait(f"return (() => {{ {LINE} }})() !== arguments[0]", before)
    return page.js(LINE)


def choose(page, name, option):
    """Choose from a list as a user does who types; return the command line once it has changed."""
    before = page.js(LINE)
    inside(page, name, "select").send_keys(option)
    page.wait(f"return (() => {{ {LINE} }})() !== arguments[0]", before)
    return page.js(LINE)


def require_figures_of(page, line):
    """Hold every figure on the page against what the command line writes."""
    done = CliRunner().invoke(main, [*shlex.split(line)[1:], "--json"])
    assert done.exit_code == 0, done.stderr
    policies = json.loads(done.stdout)["policies"]
    figures = page.js(FIGURES)
    assert len(figures) > 50
    for path, of, value, _ in figures:
        found = policies[0 if of == "baseline" else -1]
        for key in path.split("."):
            found = found[int(key)] if isinstance(found, list) else found and found[key]
        assert value == str(None if found is None else float(found)), path


def test_the_page_renders_and_asks_this_machine_alone(page, address):
    assert page.js("return document.documentElement.lang") == "en"
    for name in ("plane", "power"):
        assert page.one(f"#{name}").is_displayed()
    assert page.complaints() == []
    asked = [each for each in page.asked_for() if not each.startswith(("data:", "about:"))]
    assert any(each.startswith("ws://") for each in asked)
    place = address.removeprefix("http://")
    assert all(each.startswith((address, f"ws://{place}")) for each in asked)


def test_the_figures_are_those_of_the_command_line(page):
    require_figures_of(page, page.js(LINE))
    shown = {(path, of): text for path, of, _, text in page.js(FIGURES)}
    done = CliRunner().invoke(main, shlex.split(page.js(LINE))[1:])
    row = next(each for each in done.stdout.splitlines() if each.startswith("TTFT p99, s"))
    assert shown["metrics.ttft.p99_s", "baseline"] in row
    assert shown["metrics.ttft.p99_s", "state"] in row


def test_keys_move_sliders_and_the_copied_line_says_the_same(page):
    assert "--policy" not in page.js(LINE)
    line = press(page, "decode", Keys.ARROW_RIGHT)
    assert "--policy phase-aware:prefill=" in line
    assert inside(page, "policy", "select").get_attribute("value") == "clocks set by hand"
    line = press(page, "prefill", Keys.END)
    assert "phase-aware:prefill=2000,decode=" in line
    require_figures_of(page, line)
    line = press(page, "load", Keys.ARROW_LEFT)
    assert "--rate-scale 0.8" in line
    line = press(page, "replicas", Keys.ARROW_RIGHT)
    assert "--replicas 3" in line
    line = press(page, "ttft", Keys.END)
    assert "--slo" not in line
    line = press(page, "tpot", Keys.HOME)
    assert "--slo tpot=5ms" in line
    line = press(page, "requests", Keys.HOME)
    assert "--limit 100" in line
    line = choose(page, "model", "huge")
    assert "--model huge" in line
    require_figures_of(page, line)
    assert page.complaints() == []


def test_back_returns_to_the_state_before(page):
    begun = page.js(LINE)
    press(page, "decode", Keys.ARROW_RIGHT)
    press(page, "load", Keys.ARROW_RIGHT)
    for _ in range(2):
        before = page.js(LINE)
        inside(page, "back", "button").click()
        page.wait(f"return (() => {{ {LINE} }})() !== arguments[0]", before)
    assert page.js(LINE) == begun
    require_figures_of(page, begun)
    page.wait("return document.querySelector('#back').shadowRoot.querySelector('button').disabled")


def test_a_policy_shows_the_clocks_that_it_chose(page):
    line = choose(page, "policy", "min-energy")
    assert "--policy min-energy" in line
    held = {(path, of): float(value) for path, of, value, _ in page.js(FIGURES) if "held" in path}
    handle = inside(page, "decode", ".noUi-handle")
    shown = float(handle.get_attribute("aria-valuenow"))
    assert shown == held["groups.0.clocks.decode.held_mhz", "state"]


def test_the_button_copies_the_line(page):
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    inside(page, "copy", "button").click()
    page.wait(
        "return document.querySelector('#copy').shadowRoot.querySelector('button').innerText "
        "=== 'Copied'"
    )
    copied = page.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], e => arguments[0](String(e)))"
    )
    assert copied == page.js(LINE)


def test_a_state_that_cannot_be_says_so_in_one_line_and_the_next_one_answers(page):
    line = choose(page, "batching", "continuous")
    assert "--batching continuous" in line
    said = page.wait(
        "return document.querySelector('#status').shadowRoot.querySelector('[data-error]')"
        "?.innerText"
    )
    assert "\n" not in said
    assert "Traceback" not in said
    choose(page, "batching", "none")
    page.wait("return document.querySelector('#status').shadowRoot.querySelector('[data-status]')")
    assert page.complaints() == []


@pytest.mark.parametrize("width_px", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(browser, address, width_px, scheme):
    browser.open(address, width_px, scheme)
    browser.wait(READY)
    press(browser, "prefill", Keys.ARROW_RIGHT)
    assert browser.overflow_px() == 0
    lit = browser.js("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", lit)[:3])) / 3
    assert brightness > 200 if scheme == "light" else brightness < 50
    assert browser.complaints() == []
