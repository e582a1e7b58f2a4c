"""Two to eight generators are started at once on one folder."""

from __future__ import annotations

import os
import random
import re
import shutil
import time

from findings import Files, Finding, differences, files_below, make, tree

from dlio_benchmark.errors import DlioError, Exit

_MOST_S = 2.0


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what ``many`` contests showed; the losers must end in time, and name the winner."""
    dice, found = random.Random(seed), Finding()
    calm = os.path.join(folder, "calm")
    make(calm, tree())
    whole = files_below(calm)
    while found.figures.get("contests", 0) < many:
        _contest(os.path.join(folder, "root"), dice.randint(2, 8), whole, found)
    return found


def _contest(root: str, starters: int, whole: Files, found: Finding) -> None:
    gate, start = os.pipe()
    told, say = os.pipe()
    pids = [_starter(root, gate, start, say) for _ in range(starters)]
    os.close(gate)
    os.close(say)
    os.close(start)  # the end of the pipe lets all of them go at once
    with os.fdopen(told, encoding="utf-8") as lines:
        words = [line.rstrip("\n").split("|", 3) for line in lines]
    for pid in pids:
        os.waitpid(pid, 0)
    _judge(words, starters, found)
    for path in differences(root, whole):
        found.wrong(f"after a contest {path} is not as one generator makes it")
    shutil.rmtree(root)


def _starter(root: str, gate: int, start: int, say: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(start)
        os.read(gate, 1)
        begin = time.monotonic()
        code, text = _generated(root)
        line = f"{os.getpid()}|{code}|{time.monotonic() - begin:.3f}|{text}\n"
        os.write(say, line.encode())
    finally:
        os._exit(0)


def _generated(root: str) -> tuple[int, str]:
    try:
        done = make(root, tree(), threads=1)
    except DlioError as error:
        return int(error.code), str(error).replace("\n", " ")
    return 0, "kept" if done.files_kept else "won"


def _judge(words: list[list[str]], starters: int, found: Finding) -> None:
    found.count("contests")
    found.count("generators", starters)
    winners = [pid for pid, code, _, text in words if code == "0" and text == "won"]
    found.count("came after the winner", sum(text == "kept" for *_, text in words))
    if len(words) != starters or len(winners) != 1:
        found.wrong(f"{len(winners)} of {starters} won: {words}")
    for pid, code, spent_s, text in words:
        if code == "0":
            continue
        found.count("losers")
        found.figures["slowest loser, ms"] = max(found.figures.get("slowest loser, ms", 0), 1000 * float(spent_s))
        owner = re.search(r"process (\d+) on ", text)
        if int(code) != Exit.LOCKED or float(spent_s) >= _MOST_S:
            found.wrong(f"{pid} ended with {code} after {spent_s} s: {text}")
        if owner is None or owner[1] not in {one[0] for one in words if one[1] == "0"}:
            found.wrong(f"{pid} names no living owner: {text}")
