"""Host power: counters that start over, that nobody may read, and a campaign that looks at them."""

from dataclasses import dataclass, field, replace

import campaigns
import pytest
import tiny

from calibrate.campaign import run_campaign
from calibrate.fit import fit_study
from calibrate.log import read_log
from calibrate.rapl import Counter, Rapl, open_rapl
from calibrate.rig import twin_rig
from calibrate.study import study_of
from model.calibration import dump, parse
from model.provenance import Kind
from model.work import Phase

SMALL = campaigns.campaign(phases=(Phase.DECODE,), batches=(1, 8), contexts=(128, 1024))


def zone(root, path, name, energy_uj, range_uj=262_143_328_850):
    folder = root / path
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    if energy_uj is not None:
        (folder / "energy_uj").write_text(f"{energy_uj}\n")


def test_packages_and_memory_count_and_nothing_counts_twice(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 9_000_000, range_uj=9_999_999)
    zone(tmp_path, "intel-rapl:2", "psys", 7_000_000)
    rapl = open_rapl(4, tmp_path)
    assert len(rapl.counters) == 3
    before = rapl.look()
    (tmp_path / "intel-rapl:0/energy_uj").write_text("31000000")
    (tmp_path / "intel-rapl:0:1/energy_uj").write_text("12000000")
    (tmp_path / "intel-rapl:1/energy_uj").write_text("4000000")  # over 9,999,999 and on from 0
    assert rapl.mean_w(before, rapl.look(), 5.0) == pytest.approx((30 + 10 + 5) / 5)
    (tmp_path / "intel-rapl:1/energy_uj").unlink()
    assert rapl.mean_w(before, rapl.look(), 5.0) is None


def test_no_counters_or_unreadable_ones_are_none(tmp_path):
    assert open_rapl(1, tmp_path / "nowhere") is None
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    zone(tmp_path, "intel-rapl:1", "package-1", None)
    assert open_rapl(1, tmp_path) is None


@dataclass(frozen=True)
class Played(Rapl):
    """Draws 300 W, and 100 W more from the moment on at which the twin works."""

    gpu: object = None
    clock: object = None
    spent: dict = field(default_factory=lambda: {"s": 0.0, "uj": 0})

    def look(self):
        now_s = self.clock.now_s()
        busy = self.gpu.read().power_instant_w > 150
        self.spent["uj"] += round((now_s - self.spent["s"]) * 1e6 * (400 if busy else 300))
        self.spent["s"] = now_s
        return {self.counters[0].energy: self.spent["uj"]}


def test_a_campaign_tells_the_host_s_power_and_calibrations_keep_it(tmp_path):
    rig = twin_rig("twin:h100", SMALL.sweep.seed)
    counter = Counter(tmp_path / "energy_uj", 10**18)
    host = Played((counter,), 8, rig.gpu, rig.clock)
    path = tmp_path / "run.jsonl"
    log = run_campaign(replace(rig, host=host), SMALL, path)
    assert log.header.host_gpus == 8
    assert [record.host_w for record in log.idle] == pytest.approx([300, 300], rel=0.01)
    assert read_log(path).measured == log.measured
    study = study_of(log)
    busy_w = sum(record.host_w for record in log.measured) / len(log.measured)
    assert study.host.idle_w == pytest.approx(300, rel=0.01)
    assert study.host.active_w == pytest.approx(300 + 8 * (busy_w - 300), rel=0.01)
    assert study.host.origin.kind is Kind.MEASURED
    fitted = fit_study(study)
    assert parse(dump(fitted), "again.json").host == fitted.host == study.host


def test_without_counters_nothing_is_said_of_the_host(tmp_path):
    log = campaigns.run(tmp_path / "run.jsonl", SMALL)
    assert log.header.host_gpus is None
    assert {record.host_w for record in (*log.idle, *log.measured)} == {None}
    assert study_of(log).host is None
    assert '"host"' not in dump(tiny.calibration())
