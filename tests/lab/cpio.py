# SPDX-License-Identifier: Apache-2.0
"""Initramfs archives (cpio "newc"), written without tools of the host."""

import os
import stat


class Cpio:
    """Collects files by their path in the archive; write() puts them in order."""

    def __init__(self):
        self._entries = {}

    def dir(self, path, mode=0o755):
        path = path.strip('/')
        if not path or path in self._entries:
            return
        self.dir(os.path.dirname(path))
        self._entries[path] = (stat.S_IFDIR | mode, b'', (0, 0))

    def data(self, path, content, mode=0o644):
        path = path.strip('/')
        self.dir(os.path.dirname(path))
        self._entries[path] = (stat.S_IFREG | mode, content, (0, 0))

    def file(self, path, source, mode=None):
        with open(source, 'rb') as f:
            content = f.read()
        self.data(path, content, stat.S_IMODE(os.stat(source).st_mode) if mode is None else mode)

    def link(self, path, target):
        path = path.strip('/')
        self.dir(os.path.dirname(path))
        self._entries[path] = (stat.S_IFLNK | 0o777, target.encode(), (0, 0))

    def char(self, path, major, minor, mode=0o600):
        path = path.strip('/')
        self.dir(os.path.dirname(path))
        self._entries[path] = (stat.S_IFCHR | mode, b'', (major, minor))

    def __contains__(self, path):
        return path.strip('/') in self._entries

    def write(self, target):
        """Atomic: a reader sees the old archive or the whole new one."""
        tmp = target + '.tmp'
        with open(tmp, 'wb') as out:
            for ino, (path, entry) in enumerate(sorted(self._entries.items()), 1):
                self._put(out, ino, path, *entry)
            self._put(out, 0, 'TRAILER!!!', 0, b'', (0, 0))
        os.rename(tmp, target)

    @staticmethod
    def _put(out, ino, path, mode, content, dev):
        name = path.encode() + b'\0'
        fields = (ino, mode, 0, 0, 1, 0, len(content), 0, 0, dev[0], dev[1], len(name), 0)
        head = b'070701' + b''.join(b'%08x' % f for f in fields) + name
        out.write(head + b'\0' * (-len(head) % 4))
        out.write(content + b'\0' * (-len(content) % 4))
