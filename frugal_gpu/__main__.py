"""``python -m frugal_gpu``: the command line."""

from frugal_gpu.commands.main import main

if __name__ == "__main__":
    main()
