"""A written overlay plays where people look at videos: in a browser."""

import pytest
import torch

from course_lib.data.video import VideoWriter

pytestmark = pytest.mark.browser


def test_written_video_plays(window, tmp_path):
    with VideoWriter(tmp_path / "moving.mp4", fps=12) as writer:
        for t in range(24):
            frame = torch.full((3, 64, 96), 40, dtype=torch.uint8)
            frame[0, 20:40, 3 * t : 3 * t + 16] = 255
            writer.write(frame)
    (tmp_path / "page.html").write_text('<video src="moving.mp4" muted playsinline></video>', encoding="utf-8")
    tab = window.page
    tab.goto((tmp_path / "page.html").as_uri())
    if not tab.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.42E01E\"')"):
        pytest.skip("this Chromium was built without H.264")
    tab.evaluate("document.querySelector('video').play()")
    tab.wait_for_function("document.querySelector('video').currentTime > 0.5", timeout=20_000)
    state = tab.evaluate("(v => [v.videoWidth, v.videoHeight, v.duration, v.error])(document.querySelector('video'))")
    assert state[:2] == [96, 64] and state[2] == pytest.approx(2.0, abs=0.1) and state[3] is None
    red = tab.evaluate(
        """() => { const v = document.querySelector('video'), c = document.createElement('canvas');
        c.width = 96; c.height = 64; const g = c.getContext('2d'); v.pause(); g.drawImage(v, 0, 0);
        try { return Array.from(g.getImageData(0, 30, 96, 1).data).filter((x, i) => i % 4 === 0 && x > 150).length; }
        catch (error) { return null; } }"""
    )
    assert red is None or 10 <= red <= 22  # the square is in the picture; None: a file:// page may not read its pixels
