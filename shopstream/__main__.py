"""`python -m shopstream`: the command line."""

from shopstream.cli import main

if __name__ == "__main__":
    main()
