"""The cheapest fleet that keeps its latencies: bounds, runs, promises, and what may come otherwise.

In: words, goals, an objective. Out: plans, and reports of them.
"""

from simulate.plan.goals import Figure, Goals, LatencyGoal, latency_goals
from simulate.plan.planning import Plan, plan

__all__ = ["Figure", "Goals", "LatencyGoal", "Plan", "latency_goals", "plan"]
