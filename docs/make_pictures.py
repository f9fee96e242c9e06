"""Draws the pictures of the README: `python docs/make_pictures.py`.

Every picture is made by the library from the synthetic world and the packaged film, so it shows what the code does.
"""

from pathlib import Path

import cv2
import numpy as np
import torch

from course_lib import load_model
from course_lib.data.packaged import PACKAGED
from course_lib.data.synthetic import SCENARIOS, World
from course_lib.data.video import read_clip
from course_lib.viz import overlay, save_gif
from course_lib.vos.engine import segment
from course_lib.vos.start_mask import grabcut_labels

FOLDER = Path(__file__).parent / "pictures"
GAP = 6  # pixels between pictures
WHITE = 255


def beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height in a row, with a white gap."""
    gap = np.full((pictures[0].shape[0], GAP, 3), WHITE, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def followed(model, frames, labels) -> list[torch.Tensor]:
    """Label maps of a segmenter, one per frame."""
    run = segment(model, frames, labels)
    return [run.labels(probs) for probs in run]


def occlusion(model) -> None:
    """The truth beside flow, behind a curtain."""
    clip = World.scenario("occlusion", length=40, image_size=128).clip(0)
    masks = followed(model, clip.frames, clip.labels[0])
    rows = zip(clip.frames, clip.labels, masks)
    pictures = [beside([overlay(frame, truth, scale=2), overlay(frame, mask, scale=2)]) for frame, truth, mask in rows]
    save_gif(pictures[::2], FOLDER / "occlusion.gif", fps=6)


def rabbit(model) -> None:
    """Flow on the packaged film."""
    film = PACKAGED["bigbuckbunny"]
    frames = read_clip(film.path, film.start, film.start + 60, max_side=320).frames
    box = [round(edge * frames.shape[3] / film.size[1]) for edge in film.box]
    masks = followed(model, frames, grabcut_labels(frames[0], box))
    save_gif([overlay(frame, mask) for frame, mask in zip(frames[::5], masks[::5])], FOLDER / "rabbit.gif", fps=5)


def scenarios() -> None:
    """One frame of each scenario with its objects coloured."""
    tiles = []
    for number, name in enumerate(SCENARIOS):
        clip = World.scenario(name, length=24, image_size=(128, 256) if name == "driving" else 128).clip(number)
        picture = overlay(clip.frames[3], clip.labels[3])
        cv2.putText(picture, name, (5, 122), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(picture, name, (5, 122), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(picture)
    first, second = beside(tiles[:5]), beside(tiles[5:])
    width = max(first.shape[1], second.shape[1])
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=WHITE) for row in (first, second)]
    sheet = np.concatenate([rows[0], np.full((GAP, width, 3), WHITE, np.uint8), rows[1]])
    cv2.imwrite(str(FOLDER / "scenarios.png"), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    model = load_model("flow", device="cpu")
    occlusion(model)
    rabbit(model)
    scenarios()
    for path in sorted(FOLDER.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
