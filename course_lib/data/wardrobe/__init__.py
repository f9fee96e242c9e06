"""The parts of the drawn garments; `course_lib.data.garments` puts them together and is what users import."""
