"""`make audit`: known vulnerabilities of what the lock files pin, and secrets in what git tracks.

Exit code 0: both looked at, nothing found. 1: something was found. 3: nothing was found, but not every dependency
could be looked up, so nothing is known about it; that must never pass for "no vulnerability".
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
SERVICES: Final = ("pypi", "osv")
"""Asked one after the other, until one knows every dependency."""
CLEAN, FOUND, UNKNOWN = 0, 1, 3
LOOK_UP_TIMEOUT_S: Final = 300


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a service says of a lock file.

    Attributes:
        vulnerable: a line each.
        unknown: dependencies that it could not look up.
        trouble: why it gave no answer at all; empty when it did.
    """

    vulnerable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    trouble: str = ""
    known: int = field(default=0)

    @property
    def is_whole(self) -> bool:
        """Whether every dependency was looked up."""
        return not self.unknown and not self.trouble and self.known > 0


def read_report(report: Mapping[str, Any]) -> Lookup:
    """The JSON report of pip-audit."""
    vulnerable, unknown, known = [], [], 0
    for one in report["dependencies"]:
        if "skip_reason" in one:
            unknown.append(str(one["name"]))
            continue
        known += 1
        for fault in one["vulns"]:
            fixed = ", ".join(fault["fix_versions"]) or "no version yet"
            vulnerable.append(f"{one['name']} {one['version']}: {fault['id']}, fixed in {fixed}")
    return Lookup(tuple(vulnerable), tuple(unknown), known=known)


def look_up(lock: Path, service: str) -> Lookup:
    """Asks a service about every dependency of a lock file."""
    tool = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command = [*tool, "--format", "json", "--vulnerability-service", service, "--requirement", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_UP_TIMEOUT_S, check=False)
        return read_report(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Lookup(trouble=f"no answer within {LOOK_UP_TIMEOUT_S} s")
    except ValueError:
        return Lookup(trouble=(done.stderr.strip().splitlines() or ["no answer"])[-1].rpartition("Caused by ")[2][:160])


def audit_dependencies(locks: Iterable[Path]) -> int:
    """Looks every lock file up; returns the exit code and says what was found."""
    code = CLEAN
    for lock in locks:
        answers = []
        for service in SERVICES:
            answers.append(look_up(lock, service))
            if answers[-1].is_whole:
                break
        found = sorted({line for answer in answers for line in answer.vulnerable})
        for line in found:
            say(f"VULNERABLE  {lock.name}: {line}")
        if found:
            code = FOUND
        elif answers[-1].is_whole:
            say(f"ok          {lock.name}: {answers[-1].known} dependencies, no known vulnerability")
        else:
            code = code or UNKNOWN
            for service, answer in zip(SERVICES, answers, strict=True):
                why = answer.trouble or f"{len(answer.unknown)} of {len(answer.unknown) + answer.known} not found"
                say(f"NOT AUDITED {lock.name}: service {service}: {why}")
    if code == UNKNOWN:
        say("The vulnerability services cannot be reached from here: nothing is known. Run this where they can.")
    return code


def scan_secrets() -> int:
    """Looks for secrets in all tracked files that are not in the baseline; returns the exit code."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in tracked.split("\0") if name and name != BASELINE and (ROOT / name).is_file()]
    hook = [sys.executable, "-m", "detect_secrets.pre_commit_hook", "--baseline", BASELINE]
    done = subprocess.run([*hook, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        say(f"ok          {len(files)} tracked files, no secret that {BASELINE} does not know")
        return CLEAN
    say((done.stdout + done.stderr).strip())
    say(f"SECRETS     Take them out; what is none goes into the baseline: detect-secrets scan --baseline {BASELINE}")
    return FOUND


def say(line: str) -> None:
    """A line for people."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Both audits; the worse exit code."""
    secrets = scan_secrets()
    return secrets or audit_dependencies(sorted(ROOT.glob("requirements*.lock")))


if __name__ == "__main__":
    sys.exit(main())
