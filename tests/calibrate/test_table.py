"""Tables of measurements: what is read, what is assumed, each broken table, the shipped one."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from calibrate.cli import main
from calibrate.fit import fit_study
from calibrate.table import read_study
from model.calibration import load
from model.provenance import Kind
from model.work import Phase, Work
from phasewatt.errors import BadTable

SHIPPED = Path(__file__).resolve().parents[2] / "model" / "shipped"
TABLE, ABOUT = SHIPPED / "rtx3090-club3090.csv", SHIPPED / "rtx3090-club3090.toml"

HEADER = "gpu,model,engine,phase,sm_mhz,batch,prompt_tokens,context_tokens,time_s,power_w"


def rows(clocks=(800, 1000, 1200, 1400, 1600), header=HEADER):
    lines = [header]
    for mhz in clocks:
        lines.append(f"G,m,e,prefill,{mhz},1,1000,,{0.1 + 500 / mhz:.6f},{100 + mhz / 10}")
        lines.append(f"G,m,e,decode,{mhz},1,,200,{0.01 + 5 / mhz:.6f},{90 + mhz / 20}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def table(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def command(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def refused(path, about=None, gpu=None):
    with pytest.raises(BadTable) as error:
        fit_study(read_study(path, about, gpu))
    assert "\n" not in str(error.value)
    return str(error.value)


def numbers(document):
    """Every number in a document, with where it stands."""
    if isinstance(document, dict):
        return [(f"{k}.{w}", x) for k, v in document.items() for w, x in numbers(v)]
    if isinstance(document, list):
        return [(f"{k}.{w}", x) for k, v in enumerate(document) for w, x in numbers(v)]
    return [("", document)]


def test_the_shipped_calibration_comes_out_the_same(command, tmp_path):
    code, _, _ = command("fit", TABLE, "--about", ABOUT, "-o", tmp_path / "again.json")
    assert code == 0
    again = numbers(json.loads((tmp_path / "again.json").read_text()))
    kept = numbers(json.loads((SHIPPED / "rtx3090-club3090.json").read_text()))
    assert [where for where, _ in again] == [where for where, _ in kept]
    for (where, new), (_, old) in zip(again, kept, strict=True):
        if isinstance(old, float) and "diagnostics" not in where and "covariance" not in where:
            assert new == pytest.approx(old, rel=1e-5, abs=1e-12), where
        elif not isinstance(old, float):
            assert new == old, where


def test_the_shipped_fit_predicts_clocks_it_has_not_seen():
    for curves in load("rtx3090-club3090").curves:
        assert curves.time.errors.holdout_mape < 0.015
        assert curves.power.errors.holdout_mape < 0.02


def test_the_shipped_energy_minima_agree_with_the_raw_measurements():
    calibration = load("rtx3090-club3090")
    for curves in calibration.curves:
        points = curves.points
        measured_mhz = np.array(points.sm_mhz)
        measured_j = np.array(points.time_s) * np.array(points.power_w)
        grid = np.unique(measured_mhz)
        mean_j = np.array([measured_j[measured_mhz == mhz].mean() for mhz in grid])
        best = int(np.argmin(mean_j))
        step = (
            Work.prefill(1.0, points.prompt_tokens[0])
            if curves.phase is Phase.PREFILL
            else Work.decode(1.0, points.context_tokens[0])
        )
        clocks = calibration.gpu.clocks_mhz(curves)
        found_mhz = clocks[np.argmin(curves.energy_j(step.expanded(), clocks))]
        # The raw minimum is known to one step of the clocks that were measured.
        assert grid[best - 1] <= found_mhz <= grid[best + 1]
        there_j = np.interp(found_mhz, grid, mean_j)
        assert there_j <= 1.005 * mean_j[best]


def test_a_shipped_phase_held_below_its_limit_says_so():
    limits = [curves.governor_limit_w for curves in load("rtx3090-club3090").curves]
    assert limits == pytest.approx([327.33, 334.0, 334.15, 354.23])


def test_energy_stands_for_power(table):
    by_power = read_study(table(rows()))
    header = HEADER.replace("power_w", "energy_j")
    lines = rows(header=header).splitlines()
    for index in range(1, len(lines)):
        *rest, time_s, power_w = lines[index].split(",")
        lines[index] = ",".join([*rest, time_s, repr(float(power_w) * float(time_s))])
    by_energy = read_study(table("\n".join(lines)))
    assert by_energy.measurements.power_w == pytest.approx(by_power.measurements.power_w)


def test_what_nobody_said_is_assumed_and_labelled(table):
    study = read_study(table(rows()))
    assert study.gpu.power_limit_w == study.measurements.power_w.max()
    assert study.gpu.origins["power_limit_w"].kind is Kind.ASSUMED
    assert study.gpu.idle_power_w is None
    assert np.isnan(study.measurements.mem_mhz).all()
    assert not study.measurements.stock.any()


def test_optional_columns_are_read(table):
    header = HEADER + ",mem_mhz,repeat,dtype,time_error,power_error,stock"
    path = table(f"{header}\nG,m,e,decode,900,2,,10,0.1,200,9751,1,float16,0.01,,TRUE\n")
    row = read_study(path).measurements
    assert (row.mem_mhz[0], row.dtype[0], row.time_error[0]) == (9751, "float16", 0.01)
    assert math.isnan(row.power_error[0])
    assert row.stock[0]


def test_one_gpu_of_several(table):
    path = table(rows() + rows().split("\n", 1)[1].replace("G,", "H,"))
    assert "found G, H; expected one GPU, or --gpu NAME" in refused(path)
    assert len(read_study(path, gpu="H").measurements) == 10
    assert "expected 'K'" in refused(path, gpu="K")


GOOD = "G,m,e,decode,900,1,,10,0.1,200\n"

BROKEN = {
    "empty": ("", "found an empty file"),
    "header": (HEADER + "\n", "found a header without rows"),
    "no column": ("gpu,model\n", "line 1: found no column 'engine', 'phase'"),
    "no power": (HEADER.replace(",power_w", "") + "\n", "neither 'power_w' nor 'energy_j'"),
    "unknown column": (HEADER + ",watts\n", "unknown column 'watts'"),
    "phase": (HEADER + "\n" + GOOD.replace("decode", "both"), "line 2: column 'phase'"),
    "clock": (HEADER + "\n" + GOOD + GOOD.replace("900", "fast"), "line 3: column 'sm_mhz'"),
    "nan": (HEADER + "\n" + GOOD.replace("0.1", "nan"), "column 'time_s': found 'nan'"),
    "batch": (HEADER + "\n" + GOOD.replace("900,1", "900,0"), "expected a number >= 1"),
    "context": (HEADER + "\n" + GOOD.replace(",10,", ",,"), "column 'context_tokens': found ''"),
    "name": (HEADER + "\n" + GOOD.replace(",m,", ",,"), "column 'model': found nothing"),
    "short": (HEADER + "\nG,m,e\n", "line 2: found 3 fields; expected 10"),
    "long": (HEADER + "\n" + GOOD.strip() + ",1\n", "line 2: found 11 fields; expected 10"),
    "quote": (HEADER + '\n"G,m\n', "not CSV"),
    "few clocks": (rows(clocks=(900,)), "1 distinct clock(s) in the table"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_table_is_one_line(table, text, says):
    assert says in refused(table(text))


ABOUT_BROKEN = {
    "not TOML": ("name = ", "not TOML"),
    "unknown field": ("colour = 1", "field colour"),
    "wrong type": ("[gpu]\npower_limit_w = 'much'", "field gpu.power_limit_w"),
}


@pytest.mark.parametrize(("text", "says"), ABOUT_BROKEN.values(), ids=ABOUT_BROKEN)
def test_a_broken_file_about_a_table_is_one_line(table, text, says):
    assert says in refused(table(rows()), about=table(text, "about.toml"))


def test_files_that_cannot_be_read(table, tmp_path):
    assert "no such file" in refused(tmp_path / "none.csv")
    assert "no such file" in refused(table(rows()), about=tmp_path / "none.toml")
    assert "cannot be read" in refused(tmp_path)
    path = tmp_path / "bytes.csv"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(path)


def test_the_commands_fit_and_show(command, table, tmp_path):
    path = tmp_path / "c.json"
    code, out, err = command("fit", table(rows()), "-o", path)
    assert code == 0
    assert "hold-out" in out
    assert f"wrote {path}" in err
    code, shown, _ = command("show", path, "--plot", tmp_path / "c.png")
    assert code == 0
    assert shown == out
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    _, document, _ = command("show", path, "--json")
    curves = json.loads(document)["curves"]
    assert [(c["phase"], c["points"]) for c in curves] == [("prefill", 5), ("decode", 5)]
    assert curves[0]["time"]["form"] == "a+b/f"


def test_the_commands_refuse_in_one_line(command, table, tmp_path):
    for words in (
        ("fit", tmp_path / "none.csv", "-o", tmp_path / "c.json"),
        ("fit", table(rows()), "-o", tmp_path / "none" / "c.json"),
        ("fit", table("x,y\n", "wrong.csv"), "-o", tmp_path / "c.json"),
        ("fit", table(rows())),
        ("show", tmp_path / "none.json"),
        ("show", "rtx3090-club3090", "--plot", tmp_path / "none" / "c.png"),
        ("shew",),
    ):
        code, out, err = command(*words)
        assert code == 2, words
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert {p.suffix for p in tmp_path.iterdir()} == {".csv"}
