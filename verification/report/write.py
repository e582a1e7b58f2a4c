"""Writes a result in all its forms; each file appears whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from verification.errors import VerificationError
from verification.report.html import html
from verification.report.junit import junit
from verification.report.markdown import markdown
from verification.report.summary import job_summary

Result = Mapping[str, Any]

FORMS: Mapping[str, Callable[[Result], str | bytes]] = {
    "verification.json": lambda result: json.dumps(result, indent=1, ensure_ascii=False) + "\n",
    "VERIFICATION.md": markdown,
    "junit.xml": junit,
    "summary.md": job_summary,
    "verification.html": html,
}


def write(result: Result, folder: Path) -> list[Path]:
    """Write all forms of ``result`` into ``folder`` and return the paths, the source first.

    Raises:
        VerificationError: if the result does not fit its schema.
    """
    validate(result)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, form in FORMS.items():
        content = form(result)
        _replace(folder / name, content.encode() if isinstance(content, str) else content)
        paths.append(folder / name)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as step:
            step.write(job_summary(result))
    return paths


def validate(result: Result) -> None:
    """Refuse a result that does not fit the schema of this package.

    Raises:
        VerificationError: with the place and the reason.
    """
    import jsonschema  # noqa: PLC0415 - part of the extra test, and slow to load

    try:
        jsonschema.validate(result, schema())
    except jsonschema.ValidationError as error:
        raise VerificationError(f"the result does not fit its schema at {error.json_path}: {error.message}") from None


def schema() -> dict[str, Any]:
    """Return the JSON schema of a result."""
    text = resources.files("verification.report").joinpath("verification.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _replace(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
