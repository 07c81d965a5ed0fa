# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
