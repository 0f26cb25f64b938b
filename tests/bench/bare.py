"""The rival of `scripts/bench exec`: plain wasmtime with its own WASI on real files, no fuel, no metering.

Reads one JSON request a line: {"module", "args", "dir", "runs"}. Answers one line each: the nanoseconds of processor time of every run,
from a compiled module to the end of the guest.
"""

import json
import sys
import time

import wasmtime

engine = wasmtime.Engine()
linker = wasmtime.Linker(engine)
linker.define_wasi()
modules = {}


def run(module, request):
    config = wasmtime.WasiConfig()
    config.argv = request["args"]
    if request["dir"]:
        config.preopen_dir(request["dir"], "/")
    config.stdout_file = "/dev/null"
    config.stderr_file = "/dev/null"
    start = time.process_time_ns()
    store = wasmtime.Store(engine)
    store.set_wasi(config)
    instance = linker.instantiate(store, module)
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as ended:
        if ended.code != 0:
            raise
    return time.process_time_ns() - start


for line in sys.stdin:
    request = json.loads(line)
    path = request["module"]
    if path not in modules:
        modules[path] = wasmtime.Module.from_file(engine, path)
    print(json.dumps([run(modules[path], request) for _ in range(request["runs"])]), flush=True)
