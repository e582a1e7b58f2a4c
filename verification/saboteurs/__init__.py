"""Deliberately wrong implementations by name; `verification/claims/saboteurs.toml` says of each what is wrong.

A check counts as evidence for a claim only after it has been seen to reject those that the claim names.  Each module
has its own table, and nothing is imported here: a process that is measured loads only the ones that it uses.
"""
