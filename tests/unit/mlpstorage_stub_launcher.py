"""A stand-in for a launcher: says which family it is, notes its own words, and runs the engine once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

words = sys.argv[1:]
if words == ["--version"]:
    print(os.environ.get("STUB_LAUNCHER", "HYDRA build details:"))
    sys.exit(0)
engine = next(index for index, word in enumerate(words) if Path(word).name == "dlio_benchmark")
Path(os.environ["STUB_LAUNCHER_NOTE"]).write_text(json.dumps(words[:engine]))
os.execv(words[engine], words[engine:])
