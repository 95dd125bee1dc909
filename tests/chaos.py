"""`make chaos`: see tests/crash/engine.py."""

from tests.crash.engine import main

if __name__ == "__main__":
    main()
