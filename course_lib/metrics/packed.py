"""Sixty-four pixels in one integer: boundary and dilation of many masks with a handful of word operations.

A row of a mask becomes a row of 64-bit words, pixel x at bit x % 64 of word x // 64, so that a shift by one pixel is
a shift of bits and a shift by one row is a slice. Unusual: a disk is no small kernel slid over pixels here but a
ladder of growing horizontal runs, each laid above and below at the heights where the disk is that wide. The obvious
version is `course_lib.metrics.reference`.
"""

from math import isqrt

import numpy as np
from jaxtyping import Bool, Int, UInt64

WORD = 64
_ONE = np.uint64(1)


def pack(*masks: Bool[np.ndarray, "h w"]) -> UInt64[np.ndarray, "m h n"]:
    """Words of some masks of one size; bits right of the picture are zero."""
    height, width = masks[0].shape
    padded = padded_buffer(len(masks), height, width)
    for row, mask in zip(padded, masks, strict=True):
        row[:, :width] = mask
    return pack_padded(padded)


def padded_buffer(masks: int, height: int, width: int) -> Bool[np.ndarray, "m h w64"]:
    """Room for masks as wide as whole words: write columns up to `width`, the rest is False already."""
    padded = np.empty((masks, height, -(-width // WORD) * WORD), dtype=np.bool_)
    padded[:, :, width:] = False
    return padded


def pack_padded(padded: Bool[np.ndarray, "m h w64"]) -> UInt64[np.ndarray, "m h n"]:
    """Words of the masks in a `padded_buffer`."""
    masks, height, width = padded.shape
    bits = np.packbits(padded.reshape(-1), bitorder="little")  # [M * H * W / 8], as rows end on word borders
    return bits.view("<u8").reshape(masks, height, width // WORD)


def areas(words: UInt64[np.ndarray, "m h n"]) -> Int[np.ndarray, "m"]:
    """Number of pixels of each mask."""
    return np.add.reduce(np.bitwise_count(words), axis=(1, 2), dtype=np.int64)


def crop(words: UInt64[np.ndarray, "m h n"], width: int, margin: int) -> tuple[UInt64[np.ndarray, "m h2 n2"], int]:
    """Cut masks `width` pixels wide down to the rows and words that hold their pixels and contours.

    Each row ends in at least `margin` (and one) zero bits. Returns the masks and the place of the picture's last
    column in them, which lies beyond their words where it was cut off. Empty masks give one empty row.
    """
    masks, height, _ = words.shape
    anywhere = words[0] if masks == 1 else np.bitwise_or.reduce(words, axis=0)  # [H, N]
    column_words = np.bitwise_or.reduce(anywhere, axis=0)  # [N]
    columns = np.flatnonzero(column_words)
    if columns.size == 0:
        return np.zeros((masks, 1, 1), dtype=words.dtype), width - 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    rows = np.flatnonzero(np.bitwise_or.reduce(anywhere, axis=1))
    top, bottom = max(int(rows[0]) - 1, 0), min(int(rows[-1]) + 2, height)  # a contour begins one row above
    if left > 0 and column_words[left] & _ONE:  # and one column to the left
        left -= 1
    spare = max(1, -(-margin // WORD))
    cropped = np.zeros((masks, bottom - top, right - left + spare), dtype=words.dtype)
    cropped[:, :, :-spare] = words[:, top:bottom, left:right]
    return cropped, width - 1 - left * WORD


def boundary(cropped: UInt64[np.ndarray, "m h n"], last_column: int) -> UInt64[np.ndarray, "m h n"]:
    """Contour of masks from `crop`: pixels that differ from their right, lower or lower-right neighbour.

    Neighbours outside the picture count as equal, so an object that fills the frame has no contour.
    """
    masks, height, n = cropped.shape
    flat = cropped.reshape(masks, height * n)
    across = flat ^ (flat >> _ONE)  # differs from the right neighbour,
    across[:, :-1] ^= flat[:, 1:] << np.uint64(WORD - 1)  # which for bit 63 stands in the next word
    across[:, n - 1 :: n] = 0  # the spare word saw the next row
    word, bit = divmod(last_column, WORD)
    if word < n:
        across[:, word::n] &= (_ONE << np.uint64(bit)) - _ONE  # the last column has no right neighbour
    edges = across.copy()
    edges[:, :-n] |= across[:, n:]  # the lower neighbour differs from the lower-right one
    edges[:, :-n] |= flat[:, :-n] ^ flat[:, n:]  # differs from the lower neighbour
    return edges.reshape(masks, height, n)


def half_widths(radius: float) -> list[int]:
    """Half width of the disk x² + y² <= radius² at the heights 0, 1, ... up to its top."""
    square = int(radius * radius)
    return [isqrt(square - dy * dy) for dy in range(isqrt(square) + 1)]


def dilate(words: UInt64[np.ndarray, "m h n"], radius: float) -> UInt64[np.ndarray, "m h n"]:
    """Masks grown by the disk x² + y² <= radius²; needs `radius` zero bits at the end of each row, see `crop`.

    The spare bits come out undefined. Work grows with the radius, not with its square.
    """
    masks, height, n = words.shape
    disk = half_widths(radius)
    apart = np.zeros((masks, height + len(disk) - 1, n), dtype=words.dtype)  # zero rows keep masks from each other
    apart[:, :height] = words
    runs = apart.reshape(-1)  # one long line of pixels; holds all those within `reach` along it
    grown, scratch = np.zeros_like(runs), (np.empty_like(runs), np.empty_like(runs))
    reach = 0
    for dy in reversed(range(len(disk))):  # the top of the disk first: it is narrowest
        while reach < disk[dy]:
            step = min(disk[dy] - reach, 2 * reach + 1, WORD - 1)  # a longer step would leave holes
            _widen(runs, step, scratch)
            reach += step
        if dy == 0:
            grown |= runs
        else:
            grown[dy * n :] |= runs[: -dy * n]
            grown[: -dy * n] |= runs[dy * n :]
    return grown.reshape(apart.shape)[:, :height]


def _widen(runs: UInt64[np.ndarray, "words"], pixels: int, scratch: tuple[np.ndarray, np.ndarray]) -> None:
    """Add to each pixel of a line those `pixels` (1 to 63) to its left and right, in place, without new memory."""
    left, right = scratch
    shift, rest = np.uint64(pixels), np.uint64(WORD - pixels)
    np.right_shift(runs, shift, out=left)
    np.left_shift(runs, shift, out=right)
    left |= right
    left |= runs  # all that stays within a word
    np.left_shift(runs[1:], rest, out=right[1:])
    left[:-1] |= right[1:]  # what comes from the next word
    np.right_shift(runs[:-1], rest, out=right[:-1])
    np.bitwise_or(left[1:], right[:-1], out=runs[1:])  # and from the one before
    runs[0] = left[0]
