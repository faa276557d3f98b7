"""`python -m shopstream`: the command line."""

from shopstream.cli.app import main

if __name__ == "__main__":
    main()
