"""Secrets are planted wherever a user may have one, and all that runs say and write is searched for them.

They stand in the environment, in the user part of URLs, in the options of the storage, in files and on the command
line, in configurations that work and in such that are refused with a message that shows what was found.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from urllib.parse import quote

import forked
from findings import Finding, files_below

PLACES = (
    *("env secret", "env token", "env password", "env key", "env in model", "env in options", "env in prefix"),
    *("url in options", "url in name", "url in unknown key", "url in wrong type", "option secret", "option id"),
    *("option nested", "option list", "yaml unknown", "yaml wrong type", "yaml long", "typed option", "typed unknown"),
)
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "env secret",
    "GITHUB_TOKEN": "env token",
    "DB_PASSWORD": "env password",
    "VENDOR_API_KEY": "env key",
    "MODEL_TOKEN": "env in model",
    "STORE_SECRET": "env in options",
    "PREFIX_PASSWORD": "env in prefix",
}


def secrets_of(seed: int) -> dict[str, str]:
    """Return a secret for every place, unlike anything else in the output."""
    letters = "kQ7vZx2wPbN9mJ4h"
    return {place: f"{letters[n % 16]}{seed}x{letters[::-1][: 8 + n % 5]}{n:02d}Zq" for n, place in enumerate(PLACES)}


def working(secret: Mapping[str, str]) -> str:
    """Return a configuration that works."""
    return f"""
framework: pytorch
model: {{name: "m-${{oc.env:MODEL_TOKEN}}", type: "s3://user:{secret["url in name"]}@host/models"}}
workflow: {{generate_data: true, train: true}}
dataset:
  format: parquet
  data_folder: data
  num_files_train: 2
  num_samples_per_file: 4
storage:
  storage_options:
    endpoint_url: "https://me:{secret["url in options"]}@store.example:9000/x"
    secret_access_key: {secret["option secret"]}
    access_key_id: {secret["option id"]}
    session_token: ${{oc.env:STORE_SECRET}}
    auth: {{client: {{password: {secret["option nested"]}}}}}
    credentials: [{secret["option list"]}]
notes: {{api_token: {secret["yaml unknown"]}, mirror: "ftp://{secret["url in unknown key"]}@host"}}
"""


def refused(secret: Mapping[str, str]) -> str:
    """Return a configuration that is refused, with values of the wrong kind in many places."""
    long = "a" * 150 + secret["yaml long"]
    return f"""
framework: pytorch
dataset:
  format: parquet
  num_files_train: "https://x:{secret["url in wrong type"]}@host"
  file_prefix: "../${{oc.env:PREFIX_PASSWORD}}"
  compression: "{secret["yaml wrong type"]}"
  seed: {{password: {secret["yaml wrong type"]}, long_token: {long}}}
train: {{epochs: "{long}"}}
"""


def run(many: int, folder: str, seed: int) -> Finding:
    """Return what the search for the planted secrets showed; ``many`` is the number that there are."""
    found = Finding()
    secret = secrets_of(seed)
    found.count("secrets", len(secret))
    configs = os.path.join(folder, "configs", "workload")
    os.makedirs(configs)
    texts = {"working": working(secret), "refused": refused(secret), "broken": working(secret) + "\n\t- [: x\n"}
    for name, text in texts.items():
        with open(os.path.join(configs, f"{name}.yaml"), "w", encoding="utf-8") as file:
            file.write(text)
    typed = f"++workload.storage.storage_options.private_key={secret['typed option']}"
    unknown = f"++workload.dataset.auth_token={secret['typed unknown']}"
    commands = {
        "works": ["workload=working", typed],
        "shows": ["workload=working", typed, "--cfg", "job"],
        "verifies": ["verify", "workload=working"],
        "is refused": ["workload=refused"],
        "is broken": ["workload=broken"],
        "is mistyped": ["workload=working", unknown],
        "cannot be parsed": ["workload=working", typed + "[", unknown + "{"],
        "cannot write": ["workload=working", typed, "++workload.output.folder=/proc/x"],
        "lacks data": [
            "workload=working",
            typed,
            "++workload.workflow.generate_data=false",
            "++workload.dataset.seed=1",
        ],
    }
    for name, argv in commands.items():
        _search(name, argv, os.path.join(folder, name.replace(" ", "_")), secret, found)
    return found


def _search(name: str, argv: list[str], folder: str, secret: Mapping[str, str], found: Finding) -> None:
    os.makedirs(folder)
    planted = {variable: secret[place] for variable, place in ENVIRONMENT.items()}
    configs = os.path.join(os.path.dirname(folder), "configs")
    ended = forked.ended(
        [*argv, "hydra.run.dir=out", "--config-dir", configs],
        folder,
        {**os.environ, **planted, "DLIO_LOG_LEVEL": "debug"},
    )
    found.count("runs")
    wanted_zero = name in ("works", "shows", "verifies")
    if (ended.returncode == 0) != wanted_zero and name != "verifies":
        found.wrong(f"the run that {name} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    said = {"standard output": ended.stdout, "standard error": ended.stderr}
    written = {**{name: text.encode(errors="surrogateescape") for name, text in said.items()}, **files_below(folder)}
    for path, body in written.items():
        found.count("texts searched")
        for place, value in secret.items():
            hit = next((form for form in _forms(value) if form.encode() in body), None)
            if hit is not None or any(value in part for part in path.split("/")):
                at = body.find((hit or value).encode())
                found.wrong(
                    f"{path} of the run that {name} has the secret {place!r}: {body[max(0, at - 80) : at + 40]!r}"
                )


def _forms(value: str) -> list[str]:
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    return [value, value[:-4], quote(value, safe=""), json.dumps(value)[1:-1], encoded]
