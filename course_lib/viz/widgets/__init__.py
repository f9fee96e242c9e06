"""Widgets to break things with, each with a copy of itself for pages that have no kernel."""

from course_lib.viz.widgets.affinity import AffinityExplorer
from course_lib.viz.widgets.dials import DifficultyDials
from course_lib.viz.widgets.memory import MemoryExplorer, MemoryRun
from course_lib.viz.widgets.microscope import MetricMicroscope

__all__ = ["AffinityExplorer", "DifficultyDials", "MemoryExplorer", "MemoryRun", "MetricMicroscope"]
