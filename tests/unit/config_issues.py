"""What is wrong with a configuration, as the decoder says it."""

from __future__ import annotations

from typing import Any

import pytest

from dlio_benchmark.config.decode import decode
from dlio_benchmark.errors import ConfigError, Exit, Issue


def issues_of(tree: Any, **how: Any) -> tuple[Issue, ...]:
    """Return all issues of a tree that is refused."""
    with pytest.raises(ConfigError) as caught:
        decode(tree, **how)
    assert caught.value.code is Exit.CONFIG
    assert all(str(issue) in str(caught.value) for issue in caught.value.issues)
    return caught.value.issues


def only_issue(tree: Any, **how: Any) -> Issue:
    """Return the issue of a tree that is refused for one."""
    (issue,) = issues_of(tree, **how)
    return issue
