"""``python -m frugal_theory``: the command line."""

from frugal_theory.commands.main import main

if __name__ == "__main__":
    main()
