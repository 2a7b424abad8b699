"""Checks that no other user can change the files of a folder.

    python3 trust.py FOLDER...

A build loads the libraries in the user's cache, and the tests import its packages, so that whoever can write there can run code.
"""

import os
import stat
import sys
from pathlib import Path


def danger_in(folder):
    """Returns the first reason not to trust the files in `folder`, or None. Folders that do not exist yet are no reason."""
    if not hasattr(os, "getuid"):
        return None
    folder = Path(folder).absolute()
    for place in [*reversed(folder.parents), folder]:
        reason = of_entry(place, is_parent=place != folder)
        if reason:
            return reason
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            reason = of_entry(Path(parent) / name, is_parent=False)
            if reason:
                return reason
    return None


def of_entry(path, is_parent):
    """Returns why another user than root can change the file or folder itself, or None."""
    try:
        entry = path.lstat()
    except FileNotFoundError:
        return None
    if entry.st_uid not in (0, os.getuid()):
        return f"{path} belongs to user {entry.st_uid}"
    if stat.S_ISLNK(entry.st_mode):
        return None
    # A sticky folder, such as /tmp, lets nobody rename the folders of others. A group with the number of the user is the user's.
    if is_parent and entry.st_mode & stat.S_ISVTX:
        return None
    writable = stat.S_IWOTH | (0 if entry.st_gid == os.getuid() else stat.S_IWGRP)
    if entry.st_mode & writable:
        return f"other users can write to {path}, which has the mode {stat.S_IMODE(entry.st_mode):o}"
    return None


if __name__ == "__main__":
    for reason in filter(None, map(danger_in, sys.argv[1:])):
        sys.exit(f"cannot use the cache: {reason}, expected a folder of your own; delete it, or set XDG_CACHE_HOME")
