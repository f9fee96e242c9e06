"""What a measurement ran on, so that numbers in `benchmarks/results` can be read later; names no host and no path."""

import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import cv2
import numpy
import psutil
import torch


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def machine_description() -> dict[str, str | int | float]:
    """Processor, cores, how busy they are, memory, accelerator, versions and date."""
    if torch.cuda.is_available():
        accelerator = torch.cuda.get_device_name()
    else:
        accelerator = "Apple GPU" if torch.backends.mps.is_available() else "none"
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count() or 1,
        "load": round(psutil.getloadavg()[0], 1),  # of the last minute; above the cores, times are worth little
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerator": accelerator,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "date": date.today().isoformat(),
    }
