"""Outputs as they are stored in the repository: the same run again gives the same bytes wherever that is possible.

What differs between two runs without meaning anything is taken out: timestamps, addresses of objects, progress bars,
folders of this machine, and the state of widgets, which without a kernel would only show an error.
"""

import re
import sysconfig
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_WIDGET_TEXT = "Interactive: run this cell to use it."
_PROGRESS = re.compile(r"^.*(\d+%\|.*\||\d+it \[).*$")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,16}\b")  # as Python prints objects; a bare 0x… may be code of a widget
_OVERWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)


def normalise_outputs(outputs: list[NotebookNode], root: Path) -> list[NotebookNode]:
    """The outputs of one cell without what changes from run to run; `root`, the project, becomes `.` in paths."""
    kept: list[NotebookNode] = []
    had_widget = False
    for output in outputs:
        if output.output_type == "stream":
            text = _stream_text(output, root)
            if not text:
                continue
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += text
            else:
                kept.append(new_output("stream", name=output.name, text=text))
        elif output.output_type in {"display_data", "execute_result"}:
            if WIDGET_VIEW in output.data:
                had_widget = True
                if "text/html" not in output.data:
                    continue
            data = {mime: _plain(value, root) for mime, value in output.data.items() if mime != WIDGET_VIEW}
            metadata = {mime: value for mime, value in output.get("metadata", {}).items() if mime != WIDGET_VIEW}
            # An execute_result would carry the execution count, which moves when a cell is inserted above.
            kept.append(new_output("display_data", data=data, metadata=metadata))
        else:
            kept.append(output)
    if had_widget and not kept:
        data = {"text/plain": _WIDGET_TEXT, "text/html": f"<p><em>{_WIDGET_TEXT}</em></p>"}
        kept.append(new_output("display_data", data=data))
    return kept


def store_outputs(notebook: NotebookNode, executed: NotebookNode, root: Path) -> None:
    """Copy normalised outputs of `executed` into the cells of `notebook` with the same ids; number its code cells."""
    ran = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.outputs = normalise_outputs(ran[cell.id].outputs, root)
        cell.execution_count = count


def _stream_text(output: NotebookNode, root: Path) -> str:
    text = _OVERWRITTEN.sub("", output.text)
    if output.name == "stderr":
        lines = [line for line in text.splitlines(keepends=True) if not _PROGRESS.match(line.rstrip("\r\n"))]
        text = "".join(lines) if any(line.strip() for line in lines) else ""
    return _plain(text, root)


def _plain(value: Any, root: Path) -> Any:
    if not isinstance(value, str):
        return value
    for folder, name in ((sysconfig.get_paths()["purelib"], "site-packages"), (str(root), ".")):
        value = value.replace(folder, name)
    return _ADDRESS.sub("at 0x…", value) if len(value) < 100_000 else value
