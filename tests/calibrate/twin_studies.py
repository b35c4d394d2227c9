"""Studies as a twin's truth would give them, without running a campaign."""

import numpy as np

from calibrate.bench import Engine, Point
from calibrate.measurements import Measurements, Study
from calibrate.twin.cost import step_cost
from calibrate.twin.truth import GEMM, twin_truth
from model.gpu import Gpu
from model.provenance import Kind, Origin, Provenance
from model.work import Phase

DECODES = ((1, 128), (1, 4096), (4, 1024), (16, 512), (32, 2048), (64, 128), (64, 1024))
PREFILLS = ((1, 128), (1, 1024), (1, 4096), (4, 512), (8, 2048))
CLOCKS = (0.30, 0.42, 0.53, 0.65, 0.77, 0.88, 1.0)
STEERS = (0, 2, 6, 20, 60)


def points(models, engines=(Engine.CUDA_GRAPH,), decodes=DECODES, prefills=PREFILLS):
    return [
        Point(model, Engine(engine), phase, batch, *lengths)
        for model in models
        for engine in engines
        for phase, batch, lengths in (
            *((Phase.DECODE, b, (0, c)) for b, c in decodes),
            *((Phase.PREFILL, b, (p, 0)) for b, p in prefills),
        )
    ]


def lock_study(seed, models=("llama-3.2-1b", "llama-3.1-8b", "qwen2.5-14b"), gpu="h100", **kinds):
    """Every point at every clock; the power cap may hold a lower one, which is then filed.

    ``gpu`` is the name of a twin or a truth of one's own.
    """
    truth = twin_truth(gpu) if isinstance(gpu, str) else gpu
    rows = []
    for point in points(models, **kinds):
        step = step_cost(point)
        for share in CLOCKS:
            asked = truth.sm_min_mhz + truth.sm_step_mhz * round(
                (share * truth.sm_max_mhz - truth.sm_min_mhz) / truth.sm_step_mhz
            )
            held = truth.settle(step, asked)
            rows.append((point, held, share == 1.0, 0.0))
    return study_of(truth, rows, seed)


def steer_study(seed, models=("llama-3.2-1b", "llama-3.1-8b", "qwen2.5-14b"), gpu="h100", **kinds):
    """Every point between growing numbers of GEMMs; its own power is known less and less."""
    truth = twin_truth(gpu)
    rows = []
    for point in points(models, **kinds):
        step = step_cost(point)
        for gemms in STEERS:
            held = truth.settle([(step, 1.0), (GEMM, float(gemms))])
            share = gemms * truth.true_time_s(GEMM, held) / truth.true_time_s(step, held)
            rows.append((point, held, gemms == 0, share))
    return study_of(truth, rows, seed)


def study_of(truth, rows, seed):
    """Rows are (point, achieved SM MHz, stock, GEMM time over step time).

    What a row states of its own error is itself uncertain, as from eight degrees of freedom.
    """
    rng = np.random.default_rng([seed, 20])
    kept = []
    for point, sm_mhz, stock, gemm_share in rows:
        step = step_cost(point)
        time_sd = truth.run_noise / np.sqrt(2)
        power_sd = 0.001 * (1 + 2 * gemm_share)
        kept.append(
            (
                point.model,
                str(point.engine),
                str(point.phase),
                sm_mhz,
                point.batch,
                point.prompt_tokens,
                point.context_tokens,
                truth.true_time_s(step, sm_mhz) * np.exp(time_sd * rng.standard_normal()),
                truth.true_power_w(step, sm_mhz) * np.exp(power_sd * rng.standard_normal()),
                time_sd * np.sqrt(rng.chisquare(8) / 8),
                power_sd * np.sqrt(rng.chisquare(8) / 8),
                stock,
            )
        )
    columns = [np.array(column) for column in zip(*kept, strict=True)]
    count = len(kept)
    return Study(
        name="twin",
        gpu=Gpu(
            name=f"twin:{truth.name}",
            sm_mhz_step=float(truth.sm_step_mhz),
            power_limit_w=truth.cap_w,
            idle_power_w=truth.idle_w,
            origins={"power_limit_w": Origin(Kind.TWIN, "preset")},
            sm_mhz_max=float(truth.sm_max_mhz),
        ),
        provenance=Provenance(
            Kind.TWIN, f"twin:{truth.name}", "truth with noise", "", "none", {}, "", ()
        ),
        measurements=Measurements(
            model=columns[0],
            engine=columns[1],
            phase=columns[2],
            dtype=np.full(count, "bfloat16"),
            sm_mhz=columns[3].astype(np.float64),
            mem_mhz=np.full(count, float(truth.memory_mhz)),
            batch=columns[4].astype(np.float64),
            prompt_tokens=columns[5].astype(np.float64),
            context_tokens=columns[6].astype(np.float64),
            time_s=columns[7].astype(np.float64),
            power_w=columns[8].astype(np.float64),
            time_error=columns[9].astype(np.float64),
            power_error=columns[10].astype(np.float64),
            stock=columns[11].astype(np.bool_),
        ),
    )


def truth_of(gpu, engine):
    """What the structured forms should find: powers and voltage as at the highest clock."""
    truth = twin_truth(gpu)
    top = 1 + truth.slope * (1 - truth.knee)
    eager = Engine(engine) is Engine.EAGER
    return {
        "launch_s": truth.eager_launch_s if eager else truth.graph_launch_s,
        "weight_bytes_per_s": truth.weight_bytes_per_s,
        "kv_bytes_per_s": truth.kv_bytes_per_s,
        "flops_per_s": truth.flops_per_s,
        "weight_clock_share": truth.weight_clock_share,
        "kv_clock_share": truth.kv_clock_share,
        "compute_clock_share": truth.compute_clock_share,
        "overlap": truth.overlap,
        "voltage_slope": truth.slope / top,
        "knee": truth.knee,
        "static_w": truth.static_w,
        "memory_static_w": truth.memory_static_w,
        "memory_dynamic_w": truth.memory_dynamic_w * top**2,
        "compute_dynamic_w": truth.compute_dynamic_w * top**2,
    }
