"""What the README shows runs as it stands there."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_ten_lines_run(capsys):
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("torch.Size([3, 96, 96])") >= 10, "background and two objects, frame by frame"
    assert "J&F" in printed and "all" in printed


def test_the_course_commands_parse(monkeypatch):
    from course_lib import cli

    lines = [line.split("#")[0].split() for block in blocks("bash") for line in block.splitlines()]
    commands = [words[1:] for words in lines if words[:1] == ["course"]]
    assert len(commands) >= 3
    seen = []
    for kind in (cli.Track, cli.Eval):
        monkeypatch.setattr(kind, "__call__", lambda self: seen.append(self) or 0)
    assert [cli.main(words) for words in commands] == [0] * len(commands)
