"""The paper that phasewatt starts from, run again: arXiv 2501.08219, its tables beside ours.

In: the paper's figures, counts of outcomes, calibrations. Out: tables of pairs, and what explains
them.
"""
