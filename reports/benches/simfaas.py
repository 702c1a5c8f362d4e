#!/usr/bin/env python3
"""Plain Lambda here against SimFaaS (PyPI) on the same case, in processor time.

    reports/benches/simfaas.py

Both simulate 100 independent requests a second, 0.5 s each, on environments that live for 600 s
after their last, with a cold start of a quarter of a second. Only what simulates is timed: neither
interpreter's start nor compilation.
"""

import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VENV = TARGET / "simfaas"
RATE, SERVICE, INIT, EXPIRY = 100, 0.5, 0.25, 600
GOAL = 200


def theirs():
    """Runs in the environment that has it."""
    from simfaas.ServerlessSimulator import ServerlessSimulator

    simulation = ServerlessSimulator(
        arrival_rate=RATE,
        warm_service_rate=1 / SERVICE,
        cold_service_rate=1 / (INIT + SERVICE),
        expiration_threshold=EXPIRY,
        max_time=700,
    )
    began = time.process_time()
    simulation.generate_trace(debug_print=False, progress=False)
    spent = time.process_time() - began
    requests = simulation.total_req_count
    cold = simulation.total_cold_count / requests * 100
    mean = simulation.get_average_server_count()
    print(requests, spent, f"{cold:.4f} % cold, {mean:.2f} instances", sep="\t")


def main():
    python = VENV / "bin" / "python"
    if not python.exists():
        venv.create(VENV, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "simfaas==0.2.2"]
    subprocess.run(pip, check=True)
    # Isolated, or this file is taken for the module of its name.
    theirs = [python, "-I", __file__, "theirs"]
    said = subprocess.run(theirs, check=True, stdout=subprocess.PIPE, text=True)
    requests, spent, about = said.stdout.strip().split("\t")
    their_rate = int(requests) / float(spent)
    print(f"SimFaaS:     {their_rate:>12,.0f} requests/s ({requests} requests, {about})")

    build = ["cargo", "build", "--quiet", "--release", "-p", "reports", "--example", "serve"]
    subprocess.run(build, check=True, cwd=ROOT)
    serve = TARGET / "release" / "examples" / "serve"
    requests = 20_000_000
    before = os.times()
    said = subprocess.run(
        [serve, "lambda", str(requests), str(RATE), str(int(SERVICE * 1000))],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    our_rate = int(said.stdout.split()[0]) / spent
    print(f"plain Lambda:{our_rate:>12,.0f} requests/s ({said.stdout.strip()})")
    ratio = our_rate / their_rate
    print(f"ratio:       {ratio:>12,.0f} (goal: {GOAL})")
    sys.exit(0 if ratio >= GOAL else 1)


if sys.argv[1:] == ["theirs"]:
    theirs()
else:
    main()
