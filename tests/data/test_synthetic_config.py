"""The dials refuse what they cannot mean, and say why."""

import pytest

from course_lib.data.synthetic import SCENARIOS, World, WorldConfig, scenario
from course_lib.errors import InputError


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"n_objects": 0}, "n_objects must lie between 1 and 64; got 0"),
        ({"n_objects": 2.5}, "n_objects must be a whole number; got 2.5"),
        ({"size": 0}, "size must lie between 0.02 and 1.5; got 0"),
        ({"size": "big"}, "size must be a number; got 'big'"),
        ({"speed": float("nan")}, "speed must lie between 0 and 20; got nan"),
        ({"occlusion": 1.2}, "occlusion must lie between 0 and 1; got 1.2"),
        ({"occlusion": 1.0, "length": 4}, "occlusion needs a clip of 8 frames or more"),
        ({"n_objects": 2, "lookalikes": 2}, r"lookalikes must lie between 0 and 1 \(one less than n_objects\); got 2"),
        ({"length": 0}, "length must lie between 1"),
        ({"corruption": "rain"}, "corruption must be one of none, gaussian_noise, snow, fog, motion_blur; got 'rain'"),
        ({"corruption": "snow"}, "a corruption needs a severity of 1 to 5"),
        ({"severity": 3}, "severity 0 goes with corruption 'none'"),
        ({"corruption": "fog", "severity": 6}, "severity must lie between 0 and 5; got 6"),
        ({"classes": "some"}, "classes must be one of seen, unseen, all; got 'some'"),
        ({"stereo": 1}, "stereo must be True or False; got 1"),
        ({"height": 8}, "height must lie between 16 and 4096; got 8"),
        ({"scene": "street", "occlusion": 0.5}, "occlusion=0.5 has no meaning in a street"),
        ({"scene": "street", "classes": "unseen"}, "classes='unseen' has no meaning in a street"),
    ],
)
def test_values_out_of_range(dials, message):
    with pytest.raises(InputError, match=message):
        WorldConfig(**dials)


def test_dials_that_contradict_each_other():
    with pytest.raises(InputError, match="make it smaller or slower, or the clip longer"):
        World(WorldConfig(occlusion=1.0, size=0.5))
    with pytest.raises(InputError, match="cannot hide for 3 frames"):
        World(WorldConfig(occlusion=1.0, size=0.2, speed=8.0))
    with pytest.raises(InputError, match="not all objects can leave"):
        WorldConfig(occlusion=1.0, size=0.2, leave=1.0)
    with pytest.raises(InputError, match="a street is at most 400 m long"):
        World(scenario("driving", length=5000))


def test_scenarios_by_name():
    wanted = {"easy", "small", "occlusion", "lookalikes", "crowded", "fast", "long", "corrupted", "driving"}
    assert set(SCENARIOS) == wanted
    config = scenario("occlusion", length=40, image_size=(120, 200))
    assert (config.length, config.height, config.width, config.occlusion) == (40, 120, 200, 1.0)
    assert World.scenario("small", image_size=64).config == scenario("small", height=64, width=64)
    with pytest.raises(InputError, match="unknown scenario 'hard'; there are easy, small, occlusion, lookalikes"):
        scenario("hard")
    with pytest.raises(InputError, match="unknown dial colour; the dials are blur, camera"):
        scenario("easy", colour=1)
    with pytest.raises(InputError, match="image_size or height and width, not both"):
        scenario("easy", image_size=64, width=32)
    with pytest.raises(TypeError):
        SCENARIOS["mine"] = WorldConfig()


def test_every_scenario_can_be_shortened_for_a_quick_run():
    for name in SCENARIOS:
        World(scenario(name, length=8, image_size=64))
