"""Training, the same for every method: `fit` a model to a `Task` as a `FitConfig` says.

    result = fit(model, task, FitConfig(steps=2000), "runs/mine", evaluate=score)

The other modules hold what goes into a task, `clips` and `augment` (samples), `losses` and `schedules`, and what comes
out of a run, `cards` and `export` (weights that ship).
"""

from course_lib.training.config import FitConfig, FitResult, Task
from course_lib.training.export import load_best
from course_lib.training.loop import fit
from course_lib.training.schedules import LearningRate

__all__ = ["FitConfig", "FitResult", "LearningRate", "Task", "fit", "load_best"]
