"""Every command of the documentation runs, and every output that it shows is what the tool says."""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import calibrate.cli
import simulate.cli

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

_spec = importlib.util.spec_from_file_location("renew", ROOT / "docs" / "renew.py")
assert _spec is not None
assert _spec.loader is not None
renew = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(renew)

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

FENCE = re.compile(r"```(?P<language>\w+)\n(?P<body>.*?)```", re.DOTALL)

MAKE = {"make demo", "make test"}
"""The set-up commands; their recipes are held by tests of their own."""


def fences(page, language):
    text = page.read_text(encoding="utf-8")
    return [m["body"] for m in FENCE.finditer(text) if m["language"] == language]


def pages_with(language):
    return [page for page in PAGES if fences(page, language)]


@pytest.fixture
def desk(tmp_path):
    """A directory that holds what the pages take for granted, as a reader would have it."""
    renew.furnish(tmp_path)
    return tmp_path


def run(command, directory):
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-euc", command], cwd=directory, env=env, capture_output=True, text=True
    )


OURS = {"simulate": simulate.cli.main, "calibrate": calibrate.cli.main}
"""Our commands, run without a process of their own, which takes a second to start; that they are
installed and start so, the outputs that the README shows hold."""


PATIENCE_S = 60


def serve(words, directory):
    """Start a server as a reader would, but on any free port; ask it for its page, and end it."""
    command = [str(BIN / "simulate"), *words, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True) as process:
        told = process.stderr.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+/)", told)
        if found:
            with urllib.request.urlopen(found[1], timeout=PATIENCE_S) as answer:
                assert answer.status == 200
        process.send_signal(signal.SIGINT)
        return process.wait(PATIENCE_S), told + process.stderr.read()


def run_line(line, directory, capsys):
    """Run one line of a shell script; return its exit code and what it printed."""
    command, *words = shlex.split(line, comments=True)
    if [command, *words[:1]] == ["simulate", "explore"]:
        return serve(words, directory)
    if command not in OURS or set(line) & set("$|<>;&`*"):
        done = run(line, directory)
        return done.returncode, done.stdout + done.stderr
    kept = _MADE.get(line)
    if kept is not None:
        (directory / words[-1]).write_bytes(kept)
        return 0, ""
    with pytest.raises(SystemExit) as end:
        OURS[command](words)
    if words[:3] == ["run", "--gpu", "twin:h100"] and words[-2] == "-o" and end.value.code == 0:
        _MADE[line] = (directory / words[-1]).read_bytes()
    return end.value.code, "".join(capsys.readouterr())


_MADE = {}
"""Calibrations of a twin, by the line that made them: several pages begin with the same one."""


@pytest.mark.parametrize("page", pages_with("sh"), ids=lambda page: page.name)
def test_every_command_of_a_page_runs(page, desk, capsys, monkeypatch):
    monkeypatch.chdir(desk)
    for body in fences(page, "python"):
        name = re.match(r"# (\w+\.py)\n", body)
        if name:
            (desk / name[1]).write_text(body)
    for body in fences(page, "sh"):
        if body.strip() in MAKE:
            continue
        for line in body.replace("\\\n", " ").splitlines():
            if not shlex.split(line, comments=True):
                continue
            code, printed = run_line(line, desk, capsys)
            assert code == 0, f"{line}\n{printed}"


@pytest.mark.parametrize("page", pages_with("python"), ids=lambda page: page.name)
def test_every_python_example_runs(page, tmp_path):
    for body in fences(page, "python"):
        if "my-queries" in body:
            (tmp_path / "my-queries.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1")
            run("gzip my-queries.csv", tmp_path)
        (tmp_path / "example.py").write_text(body)
        done = run("python example.py", tmp_path)
        assert done.returncode == 0, f"{body}\n{done.stderr}"


SHOWN = [(page, command, text) for page in PAGES for command, text in renew.blocks(page)]


@pytest.mark.parametrize(
    ("page", "command", "text"), SHOWN, ids=[f"{p.name}-{c[:40]}" for p, c, _ in SHOWN]
)
def test_a_shown_output_is_what_the_command_prints(page, command, text, desk, capsys, monkeypatch):
    name, *words = shlex.split(command)
    if name not in OURS or page.name == "README.md":
        assert renew.output(command, desk) == text
        return
    monkeypatch.chdir(desk)
    with pytest.raises(SystemExit) as end:
        OURS[name](words)
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert "".join(f"{line.rstrip()}\n" for line in lines) == text


def test_make_demo_runs_what_the_readme_shows():
    done = run(f"make --dry-run --directory {ROOT} demo OUT=out/demo", ROOT)
    recipe = done.stdout.replace("\\\n", " ").splitlines()
    shown = next(command for page, command, _ in SHOWN if page.name == "README.md")
    assert f".venv/bin/{shown}" in {" ".join(line.split()) for line in recipe}


def test_make_test_sets_up_and_runs_the_suite():
    recipe = run(f"make --always-make --dry-run --directory {ROOT} test", ROOT).stdout
    assert "python3 -m venv .venv" in recipe
    assert ".[dev]" in recipe
    assert "-m pytest" in recipe


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_picture_is_shown_and_every_shown_picture_is_renewed():
    shown = {
        Path(target).name
        for page in PAGES
        for target in re.findall(r"!\[[^]]+\]\(([^)]+\.png)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == set(renew.PICTURES)
