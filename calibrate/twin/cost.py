"""What the steps of real models cost a twin.

In: a :class:`calibrate.bench.Point` and the shapes of models. Out: the
:class:`calibrate.twin.truth.StepCost` of one step, from the shape of that model.
"""

from collections.abc import Mapping

from calibrate.bench import Point
from calibrate.twin.truth import StepCost
from model.geometry import GEOMETRIES, Geometry
from model.work import Phase, Work

BYTES_PER_VALUE = 2


def step_cost(point: Point, shapes: Mapping[str, Geometry] = GEOMETRIES) -> StepCost:
    """Return what one step of ``point`` asks of a twin; ``shapes`` holds its model."""
    if point.phase is Phase.PREFILL:
        work = Work.prefill([point.batch], [point.prompt_tokens])
    else:
        work = Work.decode([point.batch], [point.context_tokens])
    demand = shapes[point.model].demand(work, BYTES_PER_VALUE)
    return StepCost(
        weight_bytes=float(demand.weight_bytes[0]),
        kv_bytes=float(demand.kv_bytes[0]),
        flops=float(demand.gemm_flops[0] + demand.attention_flops[0]),
        launches=float(demand.launches[0]),
        engine=point.engine,
    )
