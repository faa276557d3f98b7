"""`python -P -m shopstream.cli.step COMMAND`: runs a command that ends with the process that has started it."""

from shopstream.cli.app import main
from shopstream.runtime.children import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    main()
