"""Compares what slither found with what slither.md answers: a table row per detector, the places in backticks in its
second column, each as often as it is found. A place is contract.function, and what of it, if anything."""

import json
import re
import sys
from collections import Counter


def place(element):
    names = []
    while element:
        if element["type"] not in ("node", "pragma"):
            names.insert(0, element["name"])
        element = (element.get("type_specific_fields") or {}).get("parent")
    # The file's name, where there is one, says nothing that the contract's does not.
    return ".".join(name for name in names if not name.endswith(".sol"))


def main(found_file, answers_file):
    with open(found_file, encoding="utf8") as file:
        report = json.load(file)
    if not report["success"]:
        sys.exit(f"error: slither failed: {report['error']}")
    found = Counter((one["check"], place(one["elements"][0])) for one in report["results"].get("detectors", []))
    answered = Counter()
    with open(answers_file, encoding="utf8") as file:
        for line in file:
            row = re.match(r"\| ([a-z-]+) \| ([^|]*) \|", line)
            if row and row[1] != "detector":
                for name, times in re.findall(r"`([^`]+)`(?: \((\d+) times\))?", row[2]):
                    answered[row[1], name] += int(times or 1)
    for (check, name), times in sorted((found - answered).items()):
        print(f"not answered in slither.md: {check} in {name} ({times} times)")
    for (check, name), times in sorted((answered - found).items()):
        print(f"answered in slither.md and not found: {check} in {name} ({times} times)")
    print(f"{found.total()} findings, {(found & answered).total()} answered")
    return 0 if found == answered and found else 1


sys.exit(main(*sys.argv[1:]))
