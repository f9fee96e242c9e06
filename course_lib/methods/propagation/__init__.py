"""Propagation: what is known about one frame is carried to the next along optical flow. Lessons 00 and 06."""
