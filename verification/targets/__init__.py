"""Implementations under verification, seen from outside: what they are asked, and what they leave behind."""

from verification.targets.protocol import Description, Ended, Target

__all__ = ["Description", "Ended", "Target"]
