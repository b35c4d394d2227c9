"""A page on which a planner moves sliders and sees what they cost: ``simulate explore``."""
