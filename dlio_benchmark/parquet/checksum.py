"""The checksum of pages: CRC-32, by the faster of the libraries that are installed; all give the same numbers."""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32
except ImportError:  # there is no wheel for this platform
    from zlib import crc32

__all__ = ["crc32"]
