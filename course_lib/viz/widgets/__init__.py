"""Widgets to break things with, each with a copy of itself for pages that have no kernel."""

from course_lib.viz.widgets.dials import DifficultyDials
from course_lib.viz.widgets.microscope import MetricMicroscope

__all__ = ["DifficultyDials", "MetricMicroscope"]
