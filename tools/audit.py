"""Finds known vulnerabilities of the locked dependencies and secrets in tracked files for `make audit`.

Exit code 0: no vulnerability and no secret. 1: a vulnerability or a secret. 3: the look-up of a dependency failed; that
must never pass for "no vulnerability".
"""
# ruff: noqa: INP001 - a script of the repository, part of no package

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
BASELINE: Final = ".secrets.baseline"
LOCKS: Final = sorted((ROOT / "requirements").glob("*.lock"))
SERVICES: Final = ("pypi", "osv")
"""Services in the order of the requests; the first one that knows every dependency is the last."""
CLEAN, FOUND, UNKNOWN = 0, 1, 3
LOOK_UP_TIMEOUT_S: Final = 300


@dataclass(frozen=True, slots=True)
class Lookup:
    """Result of a service for a lock file.

    Attributes:
        vulnerable: one line per vulnerability.
        unknown: names of the dependencies that the service could not look up.
        error: reason for no answer; empty after an answer.
        known: number of dependencies that the service looked up.
    """

    vulnerable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    error: str = ""
    known: int = field(default=0)

    @property
    def is_whole(self) -> bool:
        """Whether every dependency was looked up."""
        return not self.unknown and not self.error and self.known > 0


def read_report(report: Mapping[str, Any]) -> Lookup:
    """Convert the JSON report of pip-audit."""
    vulnerable, unknown, known = [], [], 0
    for one in report["dependencies"]:
        if "skip_reason" in one:
            unknown.append(str(one["name"]))
            continue
        known += 1
        for vulnerability in one["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            vulnerable.append(f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in {fixed}")
    return Lookup(tuple(vulnerable), tuple(unknown), known=known)


def look_up(lock: Path, service: str) -> Lookup:
    """Look up every dependency of a lock file with a service."""
    tool = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command = [*tool, "--format", "json", "--vulnerability-service", service, "--requirement", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_UP_TIMEOUT_S, check=False)
        return read_report(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Lookup(error=f"no answer within {LOOK_UP_TIMEOUT_S} s")
    except ValueError:
        return Lookup(error=(done.stderr.strip().splitlines() or ["no answer"])[-1].rpartition("Caused by ")[2][:160])


def audit_dependencies(locks: Iterable[Path]) -> int:
    """Look up every lock file, print the results and return the exit code."""
    code = CLEAN
    for lock in locks:
        answers = []
        for service in SERVICES:
            answers.append(look_up(lock, service))
            if answers[-1].is_whole:
                break
        vulnerable = sorted({line for answer in answers for line in answer.vulnerable})
        for line in vulnerable:
            write_line(f"VULNERABLE  {lock.name}: {line}")
        if vulnerable:
            code = FOUND
        elif answers[-1].is_whole:
            write_line(f"ok          {lock.name}: {answers[-1].known} dependencies, no known vulnerability")
        else:
            code = code or UNKNOWN
            for service, answer in zip(SERVICES, answers, strict=True):
                why = answer.error or f"{len(answer.unknown)} of {len(answer.unknown) + answer.known} not found"
                write_line(f"NOT AUDITED {lock.name}: service {service}: {why}")
    if code == UNKNOWN:
        write_line("The audit is incomplete. Run it on a machine that can reach the vulnerability services.")
    return code


def scan_secrets() -> int:
    """Search all tracked files for secrets that are not in the baseline; return the exit code."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in tracked.split("\0") if name and name != BASELINE and (ROOT / name).is_file()]
    hook = [sys.executable, "-m", "detect_secrets.pre_commit_hook", "--baseline", BASELINE]
    done = subprocess.run([*hook, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        write_line(f"ok          {len(files)} tracked files, no secret outside {BASELINE}")
        return CLEAN
    write_line((done.stdout + done.stderr).strip())
    write_line(
        f"SECRETS     Remove them, or add false alarms to the baseline: detect-secrets scan --baseline {BASELINE}"
    )
    return FOUND


def write_line(line: str) -> None:
    """Print a line immediately."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run both audits and return the exit code."""
    secrets = scan_secrets()
    return secrets or audit_dependencies(LOCKS)


if __name__ == "__main__":
    sys.exit(main())
