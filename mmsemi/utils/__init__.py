# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
from ..errors import close_matches
from .config import check_keys
from .seeds import derive_seed

__all__ = ["check_keys", "close_matches", "derive_seed"]
