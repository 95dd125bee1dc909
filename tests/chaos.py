"""`make chaos`: see tests.crash.chaos.py."""

from tests.crash.chaos import main

if __name__ == "__main__":
    main()
