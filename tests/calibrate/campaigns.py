"""Campaigns that several tests run: small ones on twins, a fraction of a second each."""

from dataclasses import replace

from calibrate.bench import Engine
from calibrate.campaign import Campaign, Pace, run_campaign
from calibrate.measure import MeasurePlan
from calibrate.rig import twin_rig
from calibrate.sweep import Strategy, Sweep
from model.work import Phase

SWEEP = Sweep(
    models=("llama-3.2-1b",),
    engines=(Engine.CUDA_GRAPH,),
    phases=(Phase.PREFILL, Phase.DECODE),
    batches=(1, 8, 64),
    prompts=(128, 512, 2048),
    contexts=(128, 1024, 4096),
    dtype="bfloat16",
    strategy=Strategy.LOCK,
    sm_mhz=(),
    precision=0.02,
    seed=0,
)


def campaign(budget_s=120.0, strategy=Strategy.LOCK, command="calibrate run", **changes):
    sweep = replace(SWEEP, strategy=strategy, **changes)
    return Campaign(
        sweep=sweep,
        budget_s=budget_s,
        plan=MeasurePlan(precision=sweep.precision),
        pace=Pace(warm_up_s=5.0, rest_s=0.5),
        command=command,
    )


def run(path, asked=None, gpu="twin:h100", told=None, **faults):
    """Run ``asked`` on a twin whose faults are given, to the end or to its error."""
    asked = asked or campaign()
    rig = twin_rig(gpu, asked.sweep.seed)
    if faults:
        rig.gpu.faults = replace(rig.gpu.faults, **faults)
    return run_campaign(rig, asked, path, told)
