"""Difficulty predictors on the command line: results, tables, pictures and explanations."""
