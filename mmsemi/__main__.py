# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``python -m mmsemi COMMAND``."""

from mmsemi.cli import main

if __name__ == "__main__":
    main()
