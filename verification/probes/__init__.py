"""Measurements that do not believe the code under test, each with a calibration on code that is known to be bad.

A probe can lie: a memory pool that nobody asks, a counter that a memory map goes around.  So a check that rests on a
probe calls its ``calibrate`` in the same run; a probe that does not see the known excess raises `ProbeError`.
"""

from verification.probes.bytes import bytes_read
from verification.probes.child import in_child
from verification.probes.descriptors import open_files
from verification.probes.files import snapshot
from verification.probes.memory import peak_growth

__all__ = ["bytes_read", "in_child", "open_files", "peak_growth", "snapshot"]
