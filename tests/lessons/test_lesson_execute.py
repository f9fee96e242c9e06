"""Stored outputs: only changed code is executed, the same run gives the same bytes, no trace of the machine."""

import pytest
from nbformat.v4 import new_output

from course_lib.lessons.build import build, read_notebook
from course_lib.lessons.drift import check_all
from course_lib.lessons.execute import execute
from course_lib.lessons.outputs import normalise_outputs

BODY = """\
# %%
import os, sys
print("one", PRESET)
print("real data:", os.environ.get("COURSE_DATA"))

# %%
from IPython.display import Image, display
from tqdm.auto import tqdm
for i in tqdm(range(3)):
    print("bar 100%|####|", file=sys.stderr)
data = {"image/png": "iVBORw0KGgo=", "text/plain": f"Figure {object()}"}
display(data, metadata={"image/png": {"alt": "A dot"}}, raw=True)

# %% tags=["nbval-check-output"]
6 * 7
"""


@pytest.mark.notebook
def test_execute_stores_outputs_once_and_reproducibly(project, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DATA", str(project.root))
    path = project.add("01", BODY)
    target = project.notebook("01_tiny")
    assert execute(project.root) == 0
    first = target.read_bytes()
    notebook = read_notebook(target)
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert outputs[1][0].text == "one cpu\nreal data: None\n", "one stream, and never real data in stored outputs"
    (figure,) = outputs[2]
    assert figure.metadata["image/png"]["alt"] == "A dot" and "0x…" in figure.data["text/plain"]
    assert outputs[3][0].data["text/plain"] == "42"
    assert not any("injected-parameters" in cell.metadata.get("tags", ()) for cell in notebook.cells)
    assert [p for p in check_all(project.root) if "solutions" not in str(p.path) and p.level == "error"] == []
    assert build(project.root, ["01"]) == [project.notebook("01_tiny", solved=True)], "outputs survive a build"

    capsys.readouterr()
    assert execute(project.root) == 0
    assert "stored outputs are current" in capsys.readouterr().out
    assert execute(project.root, force=True) == 0
    assert target.read_bytes() == first, "executed again, byte for byte"

    path.write_text(path.read_text() + "\n# %%\nraise KeyError('later')\n")
    assert execute(project.root) == 1
    assert "KeyError: 'later'" in capsys.readouterr().out
    assert target.read_bytes() == first, "a lesson that fails keeps the outputs it had"


@pytest.mark.notebook
def test_solved_is_strict_and_stores_nothing(project, exercise_cells, capsys):
    project.add("01", exercise_cells(solution="return x - x"))
    assert execute(project.root, solved=True, preset="smoke") == 1
    assert "CheckFailed" in capsys.readouterr().out
    assert not list(project.root.glob("notebooks/**/*.ipynb"))


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


def test_normalising(tmp_path):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "FloatSlider()"}
    widget = new_output("display_data", data=view)
    fallback = new_output("display_data", data={"text/html": "<p>frames</p>"})
    result = new_output("execute_result", data={"text/plain": "<Axes at 0x7f12ab34cd>"}, execution_count=7)

    def texts(outputs):
        return [o.get("text") or o.data["text/plain"] for o in normalise_outputs(outputs, tmp_path)]

    assert texts([stream("a\n"), stream("b\n")]) == ["a\nb\n"]
    assert texts([stream("a\n"), stream("oh\n", "stderr"), stream("b\n")]) == ["a\n", "oh\n", "b\n"]
    assert texts([stream(" 10%|#   | 1/10\r 100%|####| 10/10\n", "stderr")]) == []
    assert texts([stream("half\rwhole\n")]) == ["whole\n"]
    assert texts([stream(f"saved {tmp_path}/x.png\n")]) == ["saved ./x.png\n"]
    assert texts([result]) == ["<Axes at 0x…>"]
    script = new_output("display_data", data={"text/html": "<script>x = 0x6d2b79f5</script>"})
    assert normalise_outputs([script], tmp_path)[0].data["text/html"].endswith("0x6d2b79f5</script>"), "code stays code"
    assert normalise_outputs([result], tmp_path)[0].output_type == "display_data", "no execution count that moves"
    assert texts([widget]) == ["Interactive: run this cell to use it."]
    (kept,) = normalise_outputs([widget, fallback], tmp_path)
    assert kept.data == {"text/html": "<p>frames</p>"}, "a static fallback says enough"
