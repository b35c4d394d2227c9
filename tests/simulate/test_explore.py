"""`simulate explore` without a browser: what its controls say, and that its figures are real."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import two_models
from bokeh.document import Document
from bokeh.models import InlineStyleSheet
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from model.calibration import dump
from model.work import Phase
from phasewatt.errors import UserError
from simulate.cli import main
from simulate.explore import answer as answering
from simulate.explore.answer import Answers, Overtaken
from simulate.explore.controls import BY_HAND, NO_LIMIT, Controls
from simulate.explore.desk import Asker, Desk
from simulate.explore.figures import both, headline, sections, value_at
from simulate.explore.markup import answer_html, figures_html, status_html, warnings_html
from simulate.explore.page import Page
from simulate.explore.state import Hand, State, state_of, words_of
from simulate.words import command_line, default_words, inputs_of_words, worded

TRACE = "synthetic:poisson,rate=0.2,n=120,prompt=512,output=4"
PATIENCE_S = 20
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp("explore") / "two.json"
    path.write_text(dump(two_models.calibration()), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def started(calibration):
    named = {"trace": TRACE, "calibration": calibration, "limit": "40", "replicas": "2"}
    return worded(default_words(), named)


@pytest.fixture
def answers(started):
    return answers_of(started)


@pytest.fixture(scope="module")
def desk(started):
    opened = Desk(started)
    yield opened
    opened.close()


@pytest.fixture
def controls(desk):
    return Controls(desk.choices, desk.begin, desk.clocks_of, InlineStyleSheet(css=""))


def answers_of(words):
    whole = inputs_of_words({**words, "limit": None, "rate_scale": None})
    return Answers(whole.trace, whole.calibration)


def printed(line):
    """Run a command line for real; return what it prints as JSON."""
    command, *words = shlex.split(line)
    assert command == "simulate"
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def as_file(document):
    return json.loads(json.dumps(document, allow_nan=False))


STATES = st.builds(
    State,
    policy=st.one_of(
        st.sampled_from(["max-frequency", "min-edp", "fixed:1250"]),
        st.builds(Hand, *[st.sampled_from([1000.0, 1250.0, 2000.0])] * 2),
    ),
    selection=st.just(""),
    model=st.sampled_from([None, "tiny", "huge"]),
    engine=st.just(None),
    batching=st.sampled_from(["none", "static:1"]),
    rate_scale=st.sampled_from([0.1, 0.315, 1.0, 10.0]),
    replicas=st.sampled_from([None, 1, 3]),
    ttft_s=st.sampled_from([None, 0.05, 1.0, 7.5]),
    tpot_s=st.sampled_from([None, 0.0075, 0.05, 0.5]),
    limit=st.sampled_from([None, 20, 40]),
)


@given(STATES)
def test_a_state_is_what_its_words_say(started, state):
    words = words_of(state, started)
    assert state_of(words) == state
    assert words["draws"] == 0


@settings(max_examples=8)
@given(STATES)
def test_an_answer_is_what_the_command_line_of_its_state_writes(started, state):
    words = words_of(state, started)
    answer = answers_of(started).of(words)
    assert answer.line == command_line(words)
    assert as_file(answer.document) == printed(answer.line)


def test_objectives_that_no_slider_has_are_kept(started):
    words = worded(started, {"slo": "e2e=30s,ttft=0.123s"})
    assert words_of(state_of(words), words)["slo"] == "ttft=0.123s,e2e=30s"


def test_a_selection_is_kept_when_clocks_are_set_by_hand(started):
    words = worded(started, {"policy": "single:huge+min-edp"})
    state = state_of(words)
    moved = State(**{**vars(state), "policy": Hand(1000.0, 1250.0)})
    assert moved.written == "single:huge+phase-aware:prefill=1000,decode=1250"
    assert state_of(words_of(moved, words)) == moved


def test_every_figure_is_the_one_of_the_summary(started, answers):
    state = State(**{**vars(state_of(started)), "ttft_s": 1.0, "tpot_s": 0.5})
    document = answers.of(words_of(state, started)).document
    baseline, chosen = both(document)
    rows = [row for section in sections(document) for row in section.rows]
    assert len(rows) > 25
    assert {"metrics.energy_j", "metrics.ttft.p95_s", "metrics.slo_attainment.all"} <= {
        row.path for row in rows
    }
    for row in rows:
        assert row.state == value_at(chosen, row.path)
        assert row.baseline == value_at(baseline, row.path)
    by_path = {row.path: row for row in rows}
    energy = by_path["metrics.energy_j"]
    assert float(energy.text(energy.state)) == pytest.approx(energy.state / 1e6, rel=5e-3)
    assert energy.change == f"{energy.state / energy.baseline - 1:+.1%}"
    met = by_path["metrics.slo_attainment.all"]
    assert met.text(0.5) == "50.0%"
    saving = chosen["saving"]["value"]
    assert saving > 0
    assert f"phase-aware saves {saving:.1%} energy against max-frequency" in headline(document)


def test_what_the_site_costs_is_shown_where_anybody_said_a_price(started, answers):
    words = words_of(state_of(started), worded(started, {"price": "0.2", "carbon": "400"}))
    document = answers.of(words).document
    (site,) = [section for section in sections(document) if section.title == "Site"]
    shown = {row.path: row.state for row in site.rows}
    bill = both(document)[1]["bill"]
    assert shown["bill.cost"] == bill["cost"] > 0
    assert shown["bill.carbon_kg"] == bill["carbon_kg"] > 0
    assert "bill.hardware_cost" not in shown
    without = answers.of(words_of(state_of(started), started)).document
    assert "Site" not in {section.title for section in sections(without)}


def test_the_baseline_is_replayed_once_for_all_policies(started, answers, monkeypatch):
    replayed = []

    def counting(fleet, *rest):
        replayed.append(fleet.policy)
        return run_fleet(fleet, *rest)

    run_fleet = answering.run_fleet
    monkeypatch.setattr(answering, "run_fleet", counting)
    state = state_of(started)
    for mhz in (1000.0, 1250.0, 1000.0):
        answers.of(words_of(State(**{**vars(state), "policy": Hand(mhz, mhz)}), started))
    hand = "phase-aware:prefill={0},decode={0}"
    assert replayed == ["max-frequency", hand.format(1000), hand.format(1250)]
    answers.of(words_of(State(**{**vars(state), "rate_scale": 2.0}), started))
    assert replayed[3:] == ["max-frequency", "phase-aware"]


def test_who_is_overtaken_is_not_answered_and_not_remembered(started, answers):
    words = words_of(state_of(started), started)
    asked = iter([False])
    with pytest.raises(Overtaken):
        answers.of(words, lambda: next(asked, True))
    assert answers.of(words).document is not None


def test_of_many_questions_only_the_newest_is_told(desk):
    told, done, busy = [], threading.Event(), threading.Event()
    desk.worker.submit(busy.wait)
    asker = Asker(desk)
    for mhz in (1000.0, 1250.0, 1500.0):
        state = State(**{**vars(desk.begin), "policy": Hand(mhz, mhz)})
        asker.ask(state, False, lambda _state, answer: (told.append(answer), done.set()))
    busy.set()
    assert done.wait(PATIENCE_S)
    assert [answer.document["policies"][1]["policy"] for answer in told] == [
        "phase-aware:prefill=1500,decode=1500"
    ]


def test_a_mistake_of_a_state_is_an_answer_of_one_line(started, answers):
    state = State(**{**vars(state_of(started)), "policy": "power-cap:10"})
    answer = answers.of(words_of(state, started))
    assert answer.document is None
    assert "power limit of 10 W" in answer.error
    assert "\n" not in answer.error


def test_a_bug_is_told_to_the_page_and_shown_on_the_terminal(desk, monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError

    told, done = [], threading.Event()
    monkeypatch.setattr(desk.answers, "of", broken)
    Asker(desk).ask(desk.begin, False, lambda _state, answer: (told.append(answer), done.set()))
    assert done.wait(PATIENCE_S)
    assert told[0].document is None
    assert "bug" in told[0].error
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_saturated_fleet_is_said_beside_the_answer(started, answers):
    state = State(**{**vars(state_of(started)), "rate_scale": 10.0, "replicas": 1, "limit": None})
    answer = answers.of(words_of(state, started))
    assert answer.saturated.startswith("Saturated under max-frequency and phase-aware")
    calm = State(**{**vars(state), "rate_scale": 0.1})
    assert answers.of(words_of(calm, started)).saturated is None


def test_power_over_time_adds_up_to_the_energy(started, answers):
    answer = answers.of(words_of(state_of(started), started))
    for part in answer.document["policies"]:
        power = answer.power[part["policy"]]
        energy_j = ((power.edges_s[1:] - power.edges_s[:-1]) * power.power_w).sum()
        assert energy_j == pytest.approx(part["metrics"]["energy_j"])


def test_moving_a_clock_sets_both_by_hand(controls):
    controls.follow({Phase.PREFILL: 1250.0, Phase.DECODE: 1100.0}, 2, 40)
    assert controls.clock[Phase.DECODE].value == 1000.0
    assert controls.state.policy == "phase-aware"
    moved = []
    controls.on_move(lambda: moved.append(controls.state))
    controls.clock[Phase.PREFILL].value = 2000.0
    assert controls.policy.value == BY_HAND
    assert [state.policy for state in moved] == [Hand(2000.0, 1000.0)]
    controls.policy.value = "min-edp"
    assert controls.state.policy == "min-edp"


def test_every_control_says_something(controls):
    controls.load.value = "2.5"
    controls.ttft.value, controls.tpot.value = "1.5", "75"
    controls.batching.value = "static:4"
    controls.requests.value = "120"
    controls.fewest.active = [0]
    controls.model.value = "huge"
    state = controls.state
    assert (state.rate_scale, state.ttft_s, state.tpot_s) == (2.5, 1.5, 0.075)
    assert (state.batching, state.limit, state.replicas) == ("static:4", None, None)
    assert state.model == "huge"
    controls.replicas.value = 5
    assert controls.fewest.active == []
    assert controls.state.replicas == 5
    controls.ttft.value = NO_LIMIT
    assert controls.state.ttft_s is None


def test_every_state_can_be_gone_to(desk, controls):
    there = State(
        *(Hand(1250.0, 2000.0), "", "huge", None, "static:4", 0.5, None, 0.3, 0.02, None),
    )
    controls.go(there)
    assert controls.state == there
    shown = (controls.policy.value, controls.model.value, controls.batching.value)
    assert shown == (BY_HAND, "huge", "static:4")
    assert (controls.load.value, controls.ttft.value, controls.tpot.value) == ("0.5", "0.3", "20")
    assert [slider.value for slider in controls.clock.values()] == [1250, 2000]
    assert (controls.requests.value, controls.fewest.active) == ("120", [0])
    controls.go(desk.begin)
    assert (controls.policy.value, controls.ttft.value) == ("phase-aware", NO_LIMIT)
    assert (controls.replicas.value, controls.fewest.active) == (2, [])


def test_a_page_shows_what_its_desk_answers(desk):
    document = Document()
    Page(desk, document)
    names = [root.name for root in document.roots]
    assert len(names) == len(set(names)) >= 19
    shown = {root.name: root for root in document.roots}
    assert shown["line"].text == desk.first.line
    told = re.findall(
        r'data-path="metrics.energy_j" data-of="(\w+)" data-value="([^"]+)"', shown["figures"].text
    )
    assert [(of, float(value)) for of, value in told] == [
        (of, part["metrics"]["energy_j"])
        for of, part in zip(("baseline", "state"), both(desk.first.document), strict=True)
    ]


def test_clocks_below_the_measured_ones_are_offered_only_where_asked_for(started, controls):
    assert controls.clock[Phase.PREFILL].start == 1000
    wide = Desk(worded(started, {"beyond-measured": "true"}))
    wide.close()
    below = Controls(wide.choices, wide.begin, wide.clocks_of, InlineStyleSheet(css=""))
    slider = below.clock[Phase.PREFILL]
    assert slider.start == 750
    assert "measured from 1,000" in slider.title
    slider.value = 750.0
    low = wide.answers.of(words_of(below.state, wide.started))
    assert "Transferred, not measured: prefill at 750 MHz (measured from 1,000)" in answer_html(low)
    assert "Transferred" not in answer_html(wide.first)


def test_what_files_say_is_no_html(started, answers):
    answer = answers.of(words_of(state_of(started), started))
    evil = "<script>alert(1)</script>"
    document = as_file(answer.document)
    document["warnings"] = [evil]
    document["policies"][1]["policy"] = evil
    document["trace"]["name"] = evil
    hostile = type(answer)(**{**vars(answer), "document": document})
    for html in (figures_html(hostile), warnings_html(hostile), status_html("error", evil)):
        assert "<script" not in html
        assert "&lt;script" in html


@pytest.fixture
def paced(monkeypatch):
    """Answers that take 1 us a request, with ``static:4`` or ``feedback`` 4 ms."""

    def of(answers, words, is_overtaken=lambda: False):
        answer = really(answers, words, is_overtaken)
        slow = words["batching"] == "static:4" or "feedback" in words["policies"]
        each_s = 4e-3 if slow else 1e-6
        return replace(answer, cpu_s=0.01 + each_s * (words["limit"] or 1000))

    really = Answers.of
    monkeypatch.setattr(Answers, "of", of)


def test_a_trace_without_a_limit_is_replayed_as_far_as_an_answer_stays_quick(started, paced):
    opened = Desk({**started, "limit": None})
    opened.close()
    assert opened.begin.limit is None
    assert opened.choices.requests == (100, 120)


def test_a_slower_engine_replays_fewer_unless_somebody_said_how_many(started, paced):
    trace = "synthetic:poisson,rate=0.2,n=1000,prompt=512,output=4"
    opened = Desk({**started, "trace": trace, "limit": None})
    controls = Controls(opened.choices, opened.begin, opened.clocks_of, InlineStyleSheet(css=""))
    assert controls.requests.value == "1,000"
    controls.batching.value = "static:4"
    assert controls.counts_itself
    told, done = [], threading.Event()

    def tell(state, _answer):
        told.append(state.limit)
        done.set()

    Asker(opened).ask(controls.state, controls.counts_itself, tell)
    assert done.wait(PATIENCE_S)
    controls.follow({Phase.PREFILL: 1250.0, Phase.DECODE: 1250.0}, 2, told[0])
    assert controls.requests.value == "100"
    assert controls.state.limit == 100
    controls.requests.value = "200"
    assert not controls.counts_itself
    opened.close()


def test_policies_that_plan_step_by_step_have_a_pace_of_their_own(started, paced):
    opened = Desk({**started, "limit": None, "slo": "ttft=9s,tpot=1s"})
    assert opened.in_time(replace(opened.begin, policy="min-edp")).limit is None
    assert opened.in_time(replace(opened.begin, policy="feedback")).limit == 100
    assert opened.in_time(replace(opened.begin, policy=Hand(1250.0, 1250.0))).limit is None
    opened.close()


def test_a_state_that_cannot_be_replayed_does_not_tell_how_many_are_answered_in_time(
    started, paced
):
    opened = Desk({**started, "limit": None})
    refused = replace(opened.begin, batching="static:1", policy="power-cap:10", limit=None)
    assert opened.in_time(refused).limit == 100
    assert opened.in_time(replace(refused, policy="min-edp")).limit is None
    opened.close()


def test_who_starts_with_a_mistake_is_told_in_one_line(started):
    with pytest.raises(UserError, match="unknown policy 'phase-awre'"):
        Desk(worded(started, {"policy": "phase-awre"}))


@pytest.fixture
def serving(calibration):
    """The command as a user starts it, and its address."""
    words = ("--trace", TRACE, "--calibration", calibration, "--limit", "20", "--replicas", "1")
    command = [str(BIN / "simulate"), "explore", *words, "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
    assert found, line + process.stderr.read()
    yield process, int(found[1])
    process.kill()
    process.wait()
    process.stderr.close()


def answered(port, path, **headers):
    """Return the status with which a raw request for a WebSocket is answered."""
    upgrade = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in upgrade.items())]
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sent:
        sent.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(sent.recv(64).split()[1])


def listening(port):
    """Return the addresses at which this machine listens on ``port``, as Linux writes them."""
    rows = [each.split() for each in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    bound = [row[1].split(":") for row in rows if row[3] == "0A"]
    return [address for address, number in bound if int(number, 16) == port]


def test_the_server_answers_this_machine_alone_and_ends_with_ctrl_c(serving):
    process, port = serving
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S).read().decode()
    assert '<html lang="en"' in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!127\.0\.0\.1)', page)
    assert answered(port, "/ws", Origin="http://evil.example") == 403
    assert answered(port, "/", Host=f"evil.example:{port}", Origin="http://evil.example") == 404
    assert answered(port, "/static/../../../../etc/passwd") in (400, 403, 404)
    assert listening(port) == ["0100007F"]
    taken = CliRunner().invoke(
        main, ["explore", "--trace", TRACE, "--limit", "20", "--replicas", "1", "--port", str(port)]
    )
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in process.stderr.read()
    assert taken.exit_code == 2
    assert taken.stderr.startswith(f"error: --port {port}: ")
    assert taken.stderr.count("\n") == 1
