"""Sweeps: every setting of some options of a scenario, on all cores or on a cluster.

Words and axes make a plan; its points run in processes; a store keeps what is done; fronts, tables
and pictures read the rows.
"""
