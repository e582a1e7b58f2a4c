"""Mutants of the product: one small change each, and whether the tests notice it.

    python -m verification.mutation --only plan/ --out mutants.json

Works on a copy of the tree, never on the tree itself.  Tests are collected once.  They run once with coverage, which
tells who executes which line and for how long; then each mutant is a fork of the collected process in which the changed
function has other code, and in which the tests that execute the changed line run, fastest first, until one fails.
A change of what is executed by the import itself has a fork that imports and collects anew.

A mutant that no test notices is a survivor: to be killed by a new test, or judged to change neither data, bytes,
memory nor verdicts.
"""
