"""`python -P -m shopstream.cli.step COMMAND`: runs a command that ends with its parent and leaves Ctrl-C to it."""

import signal

from shopstream.cli.app import main
from shopstream.runtime.children import die_with_parent

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    main()
