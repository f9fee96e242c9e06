"""The doctor looks at everything, never raises, and says how to fix what is missing."""

import importlib
import json

import pytest

from course_lib.lessons import doctor
from course_lib.lessons.doctor import Finding, diagnose, render


@pytest.fixture(scope="module")
def findings():
    return diagnose()


def test_everything_is_looked_at(findings):
    assert [finding.name for finding in findings] == [name for name, _ in doctor.LOOKS]
    assert {"torch", "device", "OpenCV", "H.264 encoder", "video clips", "browser", "disk"} <= {
        f.name for f in findings
    }


def test_this_machine_can_run_the_course(findings):
    assert [finding for finding in findings if finding.level == "error"] == []


def test_table_and_json(findings):
    table = render([*findings, Finding("example", "error", "nothing there", "put it there")])
    assert "error    example" in table and "-> put it there" in table and table.endswith("warning(s)")
    assert "the course can run here" in render([Finding("a", "ok", "b")])
    assert json.loads(render(findings, as_json=True))[0]["name"] == "Python"


def test_broken_packages_are_reported_not_raised(monkeypatch):
    real = importlib.import_module

    def broken(name, *rest):
        if name in {"torch", "torchvision", "cv2", "av", "psutil"}:
            raise ImportError(f"lib{name}.so: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    found = {finding.name: finding for finding in diagnose()}
    for name in ("torch", "device", "torchvision", "OpenCV", "H.264 encoder", "memory"):
        assert found[name].level == "error" and "cannot open shared object" in found[name].found and found[name].fix
    assert "opencv-python-headless" in found["OpenCV"].fix


def test_missing_packages_files_and_folders(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5e8}))
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    found = {finding.name: finding for finding in diagnose()}
    assert found["video clips"].level == "warning" and "synthetic video" in found["video clips"].found
    assert found["EfficientNet-Lite0"].level == "error"
    assert found["browser"].level == "note" and "skip" in found["browser"].found
    assert found["disk"].level == "warning" and "0.5 GB free" in found["disk"].found
    assert found["real data"].level == "warning" and "no folder" in found["real data"].found
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert "no known data set" in doctor._data().found
    monkeypatch.delenv("COURSE_DATA")
    assert doctor._data().level == "note"


def test_data_sets_are_named(monkeypatch, tmp_path):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert doctor._data() == Finding("real data", "ok", "mnist")
