"""Recurrent video object segmentation: S2S, S2S++ with skip-memory, HS2S and its kin that also match. Lessons 04, 05.

Source: F. Azimi (2024), chapter 6. A network is put together from encoders, cells, fusions and a decoder.
"""
