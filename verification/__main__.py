"""`python -m verification`."""

from verification.cli import console

if __name__ == "__main__":
    console()
