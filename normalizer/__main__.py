"""`python -m normalizer`."""

from normalizer.cli import main

if __name__ == "__main__":
    main()
