"""The report in a real browser: it draws, tells the summary's figures, and obeys its reader."""

import re

import pytest
from html_reports import HOSTILE_DIRECTORY, summary_of, told, write_plan_and_sweep, write_run
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from simulate.html.palette import DARK, LIGHT, contrast
from simulate.results import write_report

DRAWN = "return document.documentElement.dataset.drawn === 'yes'"

TAGGED = """
const found = [];
for (const shown of Bokeh.documents)
  for (const root of shown.roots())
    for (const model of root.references())
      if (model.tags.includes(arguments[0])) found.push(model.visible);
return found;
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def several(run, tmp_path_factory):
    """A page of two runs, of which one has a hostile name."""
    place = tmp_path_factory.mktemp("runs")
    other = write_run(place / HOSTILE_DIRECTORY, replicas=3, policies=("min-edp",))
    write_report([run, other], place / "report.html")
    return place / "report.html"


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A page of a plan, with the replay of its choice, and of a sweep."""
    desk = tmp_path_factory.mktemp("desk")
    write_report(write_plan_and_sweep(desk), desk / "report.html")
    return desk / "report.html"


@pytest.fixture
def shown(browser, run):
    browser.open((run / "report.html").as_uri())
    browser.wait(DRAWN)
    return browser


def rgb(text):
    return "#" + "".join(f"{int(part):02x}" for part in text[4:-1].split(","))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1280, 400])
class TestEveryReader:
    def test_it_draws_without_a_complaint_and_asks_nobody(self, browser, run, width_px, scheme):
        address = (run / "report.html").as_uri()
        browser.open(address, width_px, scheme)
        browser.wait(DRAWN)
        assert browser.complaints() == []
        assert browser.asked_for() == [address]
        drawn = "return [...document.querySelectorAll('.plot')].map(p => p.offsetHeight)"
        heights = browser.js(drawn)
        assert len(heights) >= 15
        assert min(heights) > 150

    def test_nothing_is_wider_than_the_window(self, browser, run, width_px, scheme):
        browser.open((run / "report.html").as_uri(), width_px, scheme)
        browser.wait(DRAWN)
        assert browser.overflow_px() == 0
        sticking_out = browser.js(
            "const edge = document.documentElement.clientWidth + 1;"
            "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') &&"
            " e.getBoundingClientRect().right > edge).map(e => e.outerHTML.slice(0, 80))"
        )
        assert sticking_out == []

    def test_several_runs_draw_too(self, browser, several, width_px, scheme):
        browser.open(several.as_uri(), width_px, scheme)
        browser.wait(DRAWN)
        assert browser.complaints() == []
        assert browser.overflow_px() == 0

    def test_plans_and_sweeps_draw_too(self, browser, planned, width_px, scheme):
        browser.open(planned.as_uri(), width_px, scheme)
        browser.wait(DRAWN)
        assert browser.complaints() == []
        assert browser.asked_for() == [planned.as_uri()]
        assert browser.overflow_px() == 0
        assert {"plan-0", "sweep-1"} <= {e.get_attribute("id") for e in browser.all("section")}


def test_what_the_browser_shows_is_the_summary(shown, run):
    summary = summary_of(run)
    figures = shown.js(
        "return [...document.querySelectorAll('data')].map("
        "d => [d.dataset.of, Number(d.value), d.textContent])"
    )
    assert len(figures) > 100
    for place, value, words in figures:
        assert value == told(summary, place)
        assert any(digit in words for digit in "0123456789")
    # What is seen first, before any scrolling: the answer.
    seen = shown.js("return document.querySelector('.saves data').getBoundingClientRect().bottom")
    assert seen < 900


def test_a_switch_hides_a_policy_in_every_plot(shown):
    assert set(shown.js(TAGGED, "policy-1")) == {True}
    assert len(shown.js(TAGGED, "policy-1")) >= 10
    box = shown.one("input[data-tag='policy-1']")
    box.send_keys(Keys.SPACE)
    assert set(shown.js(TAGGED, "policy-1")) == {False}
    assert set(shown.js(TAGGED, "policy-2")) == {True}
    box.send_keys(Keys.SPACE)
    assert set(shown.js(TAGGED, "policy-1")) == {True}


def test_a_switch_hides_a_run_in_every_plot(browser, several):
    browser.open(several.as_uri())
    browser.wait(DRAWN)
    browser.one("input[data-tag='run-1']").click()
    assert set(browser.js(TAGGED, "run-1")) == {False}
    assert set(browser.js(TAGGED, "run-0")) == {True}


@pytest.mark.parametrize(("scheme", "colours"), [("light", LIGHT), ("dark", DARK)])
def test_page_and_plots_wear_the_scheme_that_the_reader_likes(browser, run, scheme, colours):
    browser.open((run / "report.html").as_uri(), 1280, scheme)
    browser.wait(DRAWN)
    assert_wears(browser, colours)


def test_the_button_turns_the_scheme_and_back(shown):
    button = shown.one("#scheme")
    for colours, pressed in ((DARK, "true"), (LIGHT, "false")):
        button.send_keys(Keys.ENTER)
        assert button.get_attribute("aria-pressed") == pressed
        assert_wears(shown, colours)


def test_plots_follow_when_the_reader_changes_their_mind(shown):
    shown.prefer("dark")
    shown.wait("return document.documentElement.dataset.painted === 'dark'")
    assert_wears(shown, DARK)


def assert_wears(browser, colours):
    body = browser.js(
        "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    )
    assert [rgb(each) for each in body] == [colours.surface, colours.ink]
    plots = browser.js(
        "return Bokeh.documents.flatMap(d => d.roots()).map(r => r.background_fill_color)"
    )
    assert set(plots) == {colours.surface}
    lines = browser.js(
        "return Bokeh.documents.flatMap(d => d.roots()).flatMap(r => r.renderers)"
        ".filter(r => r.tags.includes('policy-1') && r.glyph.type === 'Line')"
        ".map(r => r.glyph.line_color.value)"
    )
    assert set(lines) == {colours.series[1]}


def test_every_text_has_enough_contrast(shown):
    """As WCAG AA asks of text below 24 px; what the browser says, not what the palette hopes."""
    for scheme in ("light", "dark"):
        shown.prefer(scheme)
        shown.wait("return document.documentElement.dataset.painted === arguments[0]", scheme)
        pairs = shown.js(
            """
            const behind = (e) => {
              for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor;
                if (c !== 'rgba(0, 0, 0, 0)') return c;
              }
            };
            const found = {};
            for (const e of document.querySelectorAll('body *:not(script)')) {
              if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
              found[[getComputedStyle(e).color, behind(e)].join('|')] = e.outerHTML.slice(0, 60);
            }
            return Object.entries(found);
            """
        )
        assert pairs
        for pair, element in pairs:
            text, back = (rgb(each) for each in pair.split("|"))
            assert contrast(text, back) >= 4.5, (scheme, element)


def test_everything_that_can_be_used_is_reached_and_seen_with_the_keyboard(shown):
    reached = []
    for _ in range(40):
        shown.driver.switch_to.active_element.send_keys(Keys.TAB)
        tag, outline = shown.js(
            "let e = document.activeElement;"
            "while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
            "return [e.dataset.tag || e.id || e.className || e.tagName,"
            " getComputedStyle(e).outlineStyle]"
        )
        if tag == "BODY":
            break
        assert outline != "none", tag
        reached.append(tag)
    assert reached[0] == "skip"
    assert {"scheme", "policy-0", "policy-1", "policy-2"} <= set(reached)


def test_controls_have_names_and_headings_come_in_order(shown):
    nameless = shown.js(
        "return [...document.querySelectorAll('input, button, a, summary')].filter("
        "e => !(e.textContent.trim() || e.getAttribute('aria-label')"
        " || (e.labels && e.labels[0].textContent.trim()))).length"
    )
    assert nameless == 0
    assert shown.js(
        "return new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
    ) == shown.js("return document.querySelectorAll('[id]').length")


def test_power_and_clock_zoom_together(shown):
    ends = shown.js(
        """
        const [power, clock] = ["power-over-time", "clock-over-time"].map(name =>
          Bokeh.documents[0].roots().find(r => Bokeh.index.get_by_id(r.id)?.el.closest(
            `#plot-${name}`)));
        power.x_range.start = 100; power.x_range.end = 200;
        return [clock.x_range.start, clock.x_range.end];
        """
    )
    assert ends == [100, 200]


def test_paper_gets_pictures_as_wide_as_it_is(shown):
    plots = len(shown.all(".plot"))
    shown.js("dispatchEvent(new Event('beforeprint'))")
    shown.prefer("light", "print")
    shown.wait("return [...document.images].every(i => i.complete && i.naturalWidth > 200)")
    sizes = shown.js(
        "return [...document.images].map(i => [i.offsetWidth, i.parentElement.offsetWidth])"
    )
    assert len(sizes) == plots
    assert all(picture == place for picture, place in sizes)
    shown.js("dispatchEvent(new Event('afterprint'))")
    assert shown.all(".printed") == []
    assert shown.complaints() == []


def test_it_prints_on_white_without_what_is_only_for_screens(shown, tmp_path):
    shown.printed(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    shown.prefer("dark", "print")
    body = shown.js("return getComputedStyle(document.body).backgroundColor")
    assert rgb(body) == LIGHT.surface
    hidden = "return getComputedStyle(document.getElementById('switches')).display"
    assert shown.js(hidden) == "none"


POINT = """
const view = [...Bokeh.documents[0].roots()].map(r => Bokeh.index.get_by_id(r.id))
  .find(v => v.el.closest('#plot-pareto-e2e'));
view.el.scrollIntoView({block: 'center'});
const drawn = view.model.renderers.filter(r => r.glyph.type === 'Scatter').at(-1);
const place = view.el.getBoundingClientRect();
return [place.x + view.frame.x_scale.compute(drawn.data_source.get_array('x')[0]),
        place.y + view.frame.y_scale.compute(drawn.data_source.get_array('y')[0])];
"""

TOOLTIP = """
const found = [];
const look = (node) => {
  for (const e of node.querySelectorAll('*')) {
    if (e.classList.contains('bk-Tooltip') && e.shadowRoot.textContent.trim()) found.push(e);
    if (e.shadowRoot) look(e.shadowRoot);
  }
};
look(document);
return found.map(e => [e.shadowRoot.textContent, e.shadowRoot.querySelectorAll('img').length]);
"""


def test_hovering_tells_values_with_units_and_names_as_text(browser, several):
    browser.open(several.as_uri())
    browser.wait(DRAWN)
    x, y = browser.js(POINT)
    pointer = ActionChains(browser.driver)
    pointer.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    pointer.perform()
    ((told, pictures),) = browser.wait(TOOLTIP)
    assert HOSTILE_DIRECTORY in told
    assert pictures == 0
    assert re.search(r"E2E p95: ?[\d.]+ s", told)
    assert re.search(r"energy: ?[\d.]+ kWh \[", told)
