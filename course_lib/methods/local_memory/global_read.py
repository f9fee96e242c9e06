"""Global attention over a memory of frames: each cell of the query frame looks at every cell of every stored frame.

Source: M. Paul (2023), section 4.3.2, equation (4.1), the reader that the local one is compared with. The affinity is
formed as a whole, as in the comparison of table 4.4: S · (h·w)² numbers. Unusual: the published one divides scores by
the root of the key's width, which the published local reader does not, so those two differ in more than the window.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.methods.local_memory.local_read import check_read, raised


def global_read(
    query_key: Float[Tensor, "b d h w"],
    memory_keys: Float[Tensor, "b s d h w"],
    memory_values: Float[Tensor, "b s v h w"],
    scale: float | Float[Tensor, ""] = 1.0,
    no_match: Float[Tensor, "1"] | None = None,
) -> Float[Tensor, "b v h w"]:
    """Average, for each query cell, the values of all memory cells, by how well their keys match.

    Equals `local_read` with window=None, which holds a bounded part of the affinity at a time; here it is one matrix.
    Arguments, dtypes and errors as there. Built in lesson 07.
    """
    check_read(query_key, memory_keys, memory_values, 1)
    batch, height, width = len(query_key), *query_key.shape[-2:]
    keys = memory_keys.transpose(1, 2).flatten(2)  # [B, D, S*h*w]
    values = memory_values.transpose(1, 2).flatten(2)  # [B, V, S*h*w]
    with torch.autocast(query_key.device.type, enabled=False):
        query, keys = raised(query_key, keys)
        scores = (query * scale).flatten(2).mT @ keys  # [B, h*w, S*h*w]
        if no_match is not None:
            empty = no_match.to(scores).view(1, 1, 1).expand(batch, height * width, 1)
            weights = torch.cat([scores, empty], dim=2).softmax(dim=2)[..., :-1]
        else:
            weights = scores.softmax(dim=2)
        return (values @ weights.mT.to(values.dtype)).unflatten(2, (height, width))
