"""The parts of the synthetic video world; `course_lib.data.synthetic` puts them together and is what users import."""
