"""Local memory attention: a network for single frames reads a neighbourhood of its past frames. Lesson 07."""

from course_lib.methods.local_memory.config import LocalMemoryConfig
from course_lib.methods.local_memory.global_read import global_read
from course_lib.methods.local_memory.local_read import local_affinity, local_read
from course_lib.methods.local_memory.memory import MemoryQueue
from course_lib.methods.local_memory.network import LocalMemoryNet
from course_lib.methods.local_memory.session import LocalMemorySession

__all__ = [
    "LocalMemoryConfig", "LocalMemoryNet", "LocalMemorySession", "MemoryQueue", "global_read", "local_affinity",
    "local_read",
]  # fmt: skip
