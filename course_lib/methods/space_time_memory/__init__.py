"""Space-time memory networks and their memory: STM, STCN, and banks with a policy (adaptive memory). Lesson 13."""

from course_lib.methods.space_time_memory.banks import MemoryBank, make_bank
from course_lib.methods.space_time_memory.config import SMALL, SMALL_MEMORY, MemoryConfig, StcnConfig
from course_lib.methods.space_time_memory.network import STCN
from course_lib.methods.space_time_memory.session import MemorySession, SpaceTimeSegmenter

__all__ = [
    "SMALL", "SMALL_MEMORY", "STCN", "MemoryBank", "MemoryConfig", "MemorySession", "SpaceTimeSegmenter", "StcnConfig",
    "make_bank",
]  # fmt: skip
