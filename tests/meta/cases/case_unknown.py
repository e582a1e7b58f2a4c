"""A mark that names no claim."""

import pytest


@pytest.mark.claim("sample-99")
def test_of_nothing(evidence):
    evidence.equal(1, 1, what="one")
