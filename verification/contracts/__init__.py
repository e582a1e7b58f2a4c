"""Contracts: what any reader, writer, loader, communicator or report promises, as tests to subclass.

A contract class has `make` methods that return the implementation under test, and tests that call nothing else.  Each
body takes the implementation as an argument, so that the same body runs on deliberately wrong ones.
"""
