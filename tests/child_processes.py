"""The processes that a test has started."""

import psutil


def children_that_run(code):
    """Running children of this process with `code` in their command line. A child that has ended is none."""
    running = []
    for child in psutil.Process().children():
        try:
            if code in " ".join(child.cmdline()):
                running.append(child)
        except (psutil.ZombieProcess, psutil.NoSuchProcess):
            continue
    return running
