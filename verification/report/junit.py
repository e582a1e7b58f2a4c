"""JUnit XML: a case per claim, so that a build server counts claims, and a case per failed test without one."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LEFT_OUT = frozenset({"NOT APPLICABLE", "EXPECTED FAILURE"})


def junit(result: Mapping[str, Any]) -> bytes:
    """Return the result as a JUnit document."""
    rows, loose = result["claims"], result["unbound_failures"]
    skipped = [row for row in rows if row["status"] in LEFT_OUT]
    failed = [row for row in rows if row["status"] != "VERIFIED" and row["status"] not in LEFT_OUT]
    root = ET.Element("testsuites", name="verification")
    suite = ET.SubElement(
        root,
        "testsuite",
        name="claims",
        tests=str(len(rows) + len(loose) + (not result["complete"])),
        failures=str(len(failed) + len(loose)),
        errors=str(int(not result["complete"])),
        skipped=str(len(skipped)),
        timestamp=result["verified"].rstrip("Z"),
    )
    for row in rows:
        _claim(suite, row)
    for row in loose:
        case = ET.SubElement(suite, "testcase", classname="test", name=_safe(row["id"]))
        ET.SubElement(case, "failure", message=row["outcome"]).text = _safe(row["detail"])
    if not result["complete"]:
        case = ET.SubElement(suite, "testcase", classname="verification", name="the journal is complete")
        ET.SubElement(case, "error", message="incomplete").text = _safe("\n".join(result["incomplete_because"]))
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _claim(suite: ET.Element, row: Mapping[str, Any]) -> None:
    seconds = sum(check["seconds"] for check in row["checks"])
    case = ET.SubElement(
        suite, "testcase", classname=row["kind"], name=_safe(f"{row['id']}: {row['text']}"), time=f"{seconds:.3f}"
    )
    properties = ET.SubElement(case, "properties")
    for check in row["checks"]:
        for rank, said in check["by_rank"].items():
            name = f"{check['id']} [{check['ranks']} ranks] rank {rank}"
            ET.SubElement(properties, "property", name=_safe(name), value=said)
        for item in check["evidence"]:
            ET.SubElement(properties, "property", name=_safe(item["what"]), value=_safe(str(item["value"])))
    if row["status"] in LEFT_OUT:
        ET.SubElement(case, "skipped", message=row["status"])
    elif row["status"] != "VERIFIED":
        ET.SubElement(case, "failure", message=row["status"]).text = _safe("\n".join(row["reasons"]))


def _safe(text: str) -> str:
    return NOT_XML.sub("?", text)
