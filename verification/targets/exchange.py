"""Producer by consumer: each target's files, read by every target and by two other engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from verification import oracle
from verification.errors import VerificationError
from verification.targets.checks import ALL_TYPES
from verification.targets.protocol import BATCH, EPOCHS, FILES, ROWS, Target, files, steps, workload

CODECS = ("none", "snappy", "gzip", "zstd", "lz4")
LONGEST_REASON = 120

Engine = Callable[[Path], oracle.Rows]
ENGINES: Mapping[str, Engine] = {"duckdb": oracle.rows_by_duckdb, "polars": oracle.rows_by_polars}


def exchange(targets: Mapping[str, Target], folder: Path, codecs: Sequence[str] = CODECS) -> dict[str, dict[str, str]]:
    """Return, per producer and consumer, for how many codecs what was written was read, and why not for the rest."""
    table: dict[str, dict[str, str]] = {}
    for number, (producer, source) in enumerate(targets.items()):
        words: dict[str, list[str]] = {}
        for codec in codecs:
            for consumer, said in _one_codec(source, targets, codec, folder / str(number) / codec).items():
                words.setdefault(consumer, []).append(said)
        table[producer] = {name: _cell(said, codecs) for name, said in words.items()}
    return table


def _one_codec(source: Target, consumers: Mapping[str, Target], codec: str, place: Path) -> dict[str, str]:
    """Return what each consumer finds wrong with the files of ``source``; nothing if it reads them all."""
    place.mkdir(parents=True)
    tree = workload(ALL_TYPES, compression=codec)
    made = _worded(lambda: source.generate(tree, place).code)
    found = {name: made or _trained(consumer, tree, place) for name, consumer in consumers.items()}
    for name, engine in ENGINES.items():
        found[name] = made or _worded(partial(_differing, engine, files(place)))
    return found


def markdown(table: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table as Markdown, producers down, consumers across."""
    consumers = list(dict.fromkeys(name for row in table.values() for name in row))
    lines = [f"| producer | {' | '.join(consumers)} |", "|---" * (len(consumers) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(row[consumer] for consumer in consumers)} |" for name, row in table.items()]
    return "\n".join(lines)


def _worded(ask: Callable[[], int]) -> str:
    """Return what is wrong, in words; nothing if ``ask`` counts none."""
    try:
        wrong = ask()
    except (OSError, ValueError, VerificationError) as error:
        return str(error)[:LONGEST_REASON]
    return f"ended with {wrong}" if wrong else ""


def _trained(consumer: Target, tree: Mapping[str, object], place: Path) -> str:
    said = _worded(lambda: consumer.train(tree, place).code)
    wanted = EPOCHS * FILES * ROWS // BATCH
    made = sum(steps(place).values()) if not said else wanted
    return said or (f"{made} steps instead of {wanted}" if made != wanted else "")


def _differing(engine: Engine, paths: Sequence[Path]) -> int:
    """Return how many files the engine reads otherwise than pyarrow."""
    if not paths:
        raise VerificationError("no files")
    return sum(bool(oracle.first_difference(engine(path), oracle.rows(path))) for path in paths)


def _cell(said: Sequence[str], codecs: Sequence[str]) -> str:
    good = sum(not words for words in said)
    bad = next((f": {codec}: {words}" for codec, words in zip(codecs, said, strict=True) if words), "")
    return f"{good}/{len(codecs)}{bad}".replace("|", "/").replace("\n", " ")
