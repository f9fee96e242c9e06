"""Scenes of the synthetic world: boxes hold what differs from the bare backdrop, overlap and visibility as asked."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from course_lib.data.scene_batch import SceneBatch, areas
from course_lib.data.world import arrange as arranging
from course_lib.data.world.arrange import Arrangement, arrange
from course_lib.data.world_scenes import WorldSceneConfig, WorldScenes
from course_lib.errors import InputError


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def apart() -> WorldScenes:
    return WorldScenes(n=80)


@pytest.fixture(scope="module")
def crowded() -> WorldScenes:
    return WorldScenes(WorldSceneConfig(overlap="allowed", overlap_range=(0.2, 0.5)), n=60)


def test_the_fields_belong_together(apart, crowded):
    for scenes in (apart, crowded):
        batch = scenes.batch()
        assert isinstance(batch, SceneBatch) and batch.images.shape == (len(scenes), 3, 64, 64)
        assert batch.images.min() >= 0 and batch.images.max() <= 1 and scenes.images.dtype == torch.uint8
        there = batch.object_labels >= 0
        assert (there.sum(1) >= 2).all() and torch.equal(there, areas(batch.object_boxes) > 0)
        assert (batch.object_boxes >= 0).all() and (batch.object_boxes <= 64).all()
        assert 0 <= batch.labels.min() and batch.labels.max() < len(scenes.class_names) == 14
        assert (areas(batch.object_boxes)[:, 0] > areas(batch.object_boxes)[:, 1]).all()
        assert 0.3**2 * 0.5 < batch.share.min() and batch.share.max() < 0.65**2 * 1.2


def test_overlap_is_none_or_in_its_range(apart, crowded):
    assert (apart.batch().overlap == 0).all()
    overlap = crowded.batch().overlap
    assert overlap.min() >= 0.2 and overlap.max() <= 0.5


def test_boxes_are_around_what_is_seen(monkeypatch):
    # The same scene drawn without its objects differs exactly where the objects are.
    config = WorldSceneConfig()
    world = config.world()
    wanted = Arrangement((3, 7, 5), 30.0, (0.3, 0.7), 2, (0.0, 0.0), True, 0.9)
    drawn = []
    original = arranging._look_at

    def look_twice(scene, world, wanted, objects):
        still = original(scene, world, wanted, objects)
        if still is not None:
            bare = type(scene)(scene.layers[:-objects], False, scene.seconds)
            picture = arranging.paint(
                [bare], arranging.Textures.upload([bare], torch.device("cpu")),
                arranging.look([bare], np.zeros(1)), (world.height, world.width), 0,
            )  # fmt: skip
            drawn.append((picture.frames[0, 0] * 255).round().to(torch.uint8))
        return still

    monkeypatch.setattr(arranging, "_look_at", look_twice)
    for seed in range(10):
        still = arrange(np.random.default_rng(seed), world, wanted)
        change = (still.image.int() - drawn[-1].int()).abs().amax(0)
        differs = change > 0
        held = torch.zeros_like(differs)
        for x0, y0, x1, y1 in still.boxes.int().tolist():
            held[max(y0 - 2, 0) : y1 + 2, max(x0 - 2, 0) : x1 + 2] = True  # half-covered pixels
            inside = differs[y0:y1, x0:x1]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert change[~held].max() < 20  # of 255: a faint rim
        assert still.kinds[0] == 3 and set(still.kinds) <= {3, 7, 5}


def test_sizes_come_out_as_asked(apart):
    # Square roots of areas are uniform from 0.3 to 0.65 of the side, whatever the shape, up to a pixel.
    root = areas(apart.batch().boxes).sqrt() / 64
    assert root.min() > 0.28 and root.max() < 0.67
    assert root.mean() == pytest.approx(0.475, abs=4 * 0.35 / 12**0.5 / 80**0.5)


def test_a_scene_depends_on_its_place_only(apart):
    few = WorldScenes(n=3)
    assert same(few.batch(), apart.batch(range(3)))
    assert same(apart.batch([5, 2]), apart.batch().select(torch.tensor([5, 2])))
    assert not torch.equal(WorldScenes(n=3, seed=1).images, few.images)
    other = apart.with_split("test", 3)
    assert other.config.split == "test" and not torch.equal(other.images, few.images)
    assert not torch.equal(other.images, WorldScenes(n=3, seed=1).images)


def test_items_make_batches_in_a_loader(apart):
    batch = next(iter(DataLoader(apart, batch_size=4)))
    assert isinstance(batch, SceneBatch) and same(batch, apart.batch(range(4)))
    assert same(apart[-1], [part[0] for part in apart.batch([79])])
    with pytest.raises(IndexError, match="scene 80 of a data set of 80"):
        apart[80]


def test_classes_come_with_their_chances():
    config = WorldSceneConfig(dominant=0.5)
    scenes = WorldScenes(config, n=1)
    rng = np.random.default_rng(0)
    kinds = np.array([scenes._arrangement(rng, 14).kinds[0] for _ in range(2000)])
    share = np.bincount(kinds, minlength=14) / 2000
    assert share[0] == pytest.approx(0.5, abs=0.045) and share[1:] == pytest.approx([0.5 / 13] * 13, abs=0.02)


def test_a_cache_is_read_back_and_damage_is_named(tmp_path, apart, monkeypatch):
    first = WorldScenes(n=4, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    assert same(first.batch(), apart.batch(range(4)))
    with monkeypatch.context() as patch:
        patch.setattr(WorldScenes, "_render", lambda *_: pytest.fail("rendered although it was kept"))
        assert same(WorldScenes(n=4, cache=tmp_path).batch(), first.batch())
    WorldScenes(n=3, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # other scenes, another file
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"world_scenes-.* is damaged.*Delete it"):
        WorldScenes(n=4, cache=tmp_path)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"salient_size": (0.6, 0.3)}, "salient_size must be two numbers"),
        ({"n_smaller": (2, 1)}, "n_smaller must be two whole numbers"),
        ({"overlap_range": (0.1, 0.2)}, "with overlap='allowed' only"),
        ({"overlap": "allowed", "overlap_range": (0.7, 0.9)}, r"cover 0\.56 of its box at most"),
        ({"overlap": "allowed", "overlap_range": (0.2, 0.3), "n_smaller": (0, 2)}, "raise n_smaller"),
        ({"visible": 0.0}, "visible must be a share"),
        ({"dominant": 1.0}, "dominant is a share"),
        ({"split": "val"}, "split 'train' or 'test'"),
        ({"height": 4}, "height must lie between"),
    ],
)
def test_dials_that_do_not_go_together_are_explained(dials, message):
    with pytest.raises(InputError, match=message):
        WorldSceneConfig(**dials)


def test_what_cannot_be_arranged_is_explained():
    config = WorldSceneConfig(
        height=32, width=32, overlap="allowed", overlap_range=(0.4, 0.5), smaller_size=(0.7, 0.75), visible=1.0
    )
    with pytest.raises(InputError, match=r"no scene was found.*widen overlap_range, lower visible"):
        WorldScenes(config, n=1)
    with pytest.raises(InputError, match="at least one scene"):
        WorldScenes(n=0)
