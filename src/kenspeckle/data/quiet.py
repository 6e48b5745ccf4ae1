"""Keeping image libraries from talking past us, in every thread."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_PILLOW = re.compile(r"PIL\.")
_stderr_lock = threading.Lock()


def hush_pillow() -> None:
    """Let no warning of Pillow's (such as "Corrupt EXIF data") through, in any thread.

    `warnings.catch_warnings` swaps a list shared by all threads and would race. One filter for
    Pillow's modules, put first again whenever somebody else has replaced the list, cannot.
    """
    if not warnings.filters or warnings.filters[0][3] != _PILLOW:
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere, for one thread at a time.

    libtiff writes its messages straight to the descriptor, past Python's `sys.stderr`, and Pillow
    offers no way to set its message handler. The descriptor belongs to the whole process, hence
    the lock, and hence compressed TIFFs only.
    """
    with _stderr_lock:
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # no standard error at all: nothing to keep silent
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)
