"""Widgets to break things with, each with a copy of itself for pages that have no kernel."""

from course_lib.viz.widgets.affinity import AffinityExplorer
from course_lib.viz.widgets.bandit import BanditExplorer
from course_lib.viz.widgets.curve_dials import CurveDials
from course_lib.viz.widgets.dials import DifficultyDials
from course_lib.viz.widgets.distance_painter import DistanceClassPainter
from course_lib.viz.widgets.episode import EpisodePlayer
from course_lib.viz.widgets.episode_record import EpisodeRecord, PageClassifier
from course_lib.viz.widgets.memory import MemoryExplorer, MemoryRun
from course_lib.viz.widgets.microscope import MetricMicroscope
from course_lib.viz.widgets.sampling_dial import SamplingDial
from course_lib.viz.widgets.schedule_dial import ScheduleDial
from course_lib.viz.widgets.schedules import ScheduleEditor
from course_lib.viz.widgets.window_explorer import WindowExplorer

__all__ = [
    "AffinityExplorer",
    "BanditExplorer",
    "CurveDials",
    "DifficultyDials",
    "DistanceClassPainter",
    "EpisodePlayer",
    "EpisodeRecord",
    "MemoryExplorer",
    "MemoryRun",
    "MetricMicroscope",
    "PageClassifier",
    "SamplingDial",
    "ScheduleDial",
    "ScheduleEditor",
    "WindowExplorer",
]
