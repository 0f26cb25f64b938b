"""Every mutant that slither-mutate's mutators make of the contracts, one JSON object in a line, in a fixed order.

slither-mutate itself compiles and tests one mutant after another, and only of the contract named like its file. Here its
mutators only speak; campaign.js compiles and tests. A mutator that fails on a function (ROR does, on assembly) loses
the rest of that function alone.

    generate.py FOLDER      a copy of contracts/ with a foundry.toml that crytic-compile understands
"""

import inspect
import json
import sys
from pathlib import Path

from slither import Slither
from slither.tools.mutator.mutators import all_mutators
from slither.tools.mutator.mutators.abstract_mutator import AbstractMutator


class OneFunction:
    """A contract of which a mutator sees a single function."""

    def __init__(self, contract, function):
        self.contract = contract
        self.functions_and_modifiers_declared = [function]

    def __getattr__(self, name):
        return getattr(self.contract, name)


def main(folder):
    mutators = [
        mutator
        for _, mutator in sorted(inspect.getmembers(all_mutators, inspect.isclass))
        if issubclass(mutator, AbstractMutator) and mutator is not AbstractMutator
    ]
    sources = {}
    found = {}
    for unit in Slither(str(folder)).compilation_units:
        for contract in unit.contracts:
            path = Path(contract.source_mapping.filename.absolute).relative_to(folder)
            if path.parts[0] != "src" or path.parts[1] in ("dev", "interfaces"):
                continue
            source = sources.setdefault(path.as_posix(), (folder / path).read_bytes())
            for function in contract.functions_and_modifiers_declared:
                for mutator in mutators:
                    one = mutator(unit, 0, "", "", OneFunction(contract, function), None, False, folder, [])
                    try:
                        patches = one._mutate().get("patches", {})
                    except Exception as error:
                        print(f"{mutator.NAME} gave up on {contract.name}.{function.name}: {error}", file=sys.stderr)
                        continue
                    for patch in (patch for listed in patches.values() for patch in listed):
                        start, end, new = patch["start"], patch["end"], patch["new_string"]
                        mutated = source[:start] + new.encode() + source[end:]
                        # What two mutators both make counts once; what changes nothing not at all.
                        if mutated == source or mutated in found:
                            continue
                        found[mutated] = {
                            "file": path.as_posix(),
                            "function": function.name,
                            "line": source[:start].count(b"\n") + 1,
                            "mutator": mutator.NAME,
                            "start": start,
                            "end": end,
                            "from": source[start:end].decode(),
                            "to": new,
                        }
    key = lambda mutant: (mutant["file"], mutant["start"], mutant["end"], mutant["mutator"], mutant["to"])
    for mutant in sorted(found.values(), key=key):
        print(json.dumps(mutant, ensure_ascii=False))


main(Path(sys.argv[1]).resolve())
