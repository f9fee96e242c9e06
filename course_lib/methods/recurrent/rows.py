"""The systems of the chapter, each as what it is made of. Ids in `TABLE` are those of the course's table of systems.

F. Azimi (2024), chapter 6. Unusual: what the thesis leaves open is an argument here with our choice as default: plain
skips are on in every row, so that rows differ in their memory only; matching happens at the bottleneck alone
(`merge_skip` adds it at the skip-memory); a re-implemented S2S with the hybrid's backbone is `s2s(PUBLISHED)`, and with
the hybrid's skip-memory and distance head as well `s2s(PUBLISHED, skip_memories=1, distance=True)`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from course_lib.errors import InputError
from course_lib.methods.recurrent.bidirectional import BidirectionalVOS
from course_lib.methods.recurrent.decoder import Decoder
from course_lib.methods.recurrent.flow_head import FlowHead
from course_lib.methods.recurrent.flow_network import FlowVOS
from course_lib.methods.recurrent.fusion import FusionKind, make_fusion
from course_lib.methods.recurrent.initializer import Initializer
from course_lib.methods.recurrent.masked_encoder import MaskedEncoder
from course_lib.methods.recurrent.matching import REFERENCES, LevelMatching, Matching, Reference
from course_lib.methods.recurrent.memory import Memory
from course_lib.methods.recurrent.network import RecurrentVOS
from course_lib.methods.recurrent.sizes import SMALL, Backbone, Border, CellKind, Size, make_cell, make_encoder

Network = RecurrentVOS | BidirectionalVOS


def s2s(
    size: Size = SMALL,
    skip_memories: int = 0,
    distance: Border | bool = False,
    cell: CellKind = "lstm",
    plain_skips: bool = True,
    imagenet: bool = False,
) -> RecurrentVOS:
    """S2S: an initializer writes the first mask into a recurrent bottleneck; no mask goes in after that.

    skip_memories  further cells, at the levels next to the bottleneck
    distance       also predict border-distance classes; True takes those of the size
    plain_skips    False cuts the skips without memory, an ablation
    imagenet       begin with trained backbones
    """
    encoder = make_encoder(size, guided=False, imagenet=imagenet)
    memory = _memory(size, encoder, skip_memories, cell)
    decoder = Decoder(encoder.channels, memory.channels, size.decoder, _classes(size, distance), plain_skips)
    return RecurrentVOS(encoder, memory, decoder, Initializer(make_encoder(size, True, imagenet), memory))


def s2s_plus_plus(
    size: Size = SMALL,
    skip_memories: int = 2,
    distance: Border | bool = True,
    cell: CellKind = "lstm",
    plain_skips: bool = True,
    imagenet: bool = False,
) -> RecurrentVOS:
    """S2S++: S2S with two skip-memories and border-distance classes."""
    return s2s(size, skip_memories, distance, cell, plain_skips, imagenet)


def mask_guided(size: Size = SMALL, imagenet: bool = False) -> RecurrentVOS:
    """The probe of section 6.3.1: no recurrence, the previous mask goes into the encoder instead."""
    encoder = make_encoder(size, guided=True, imagenet=imagenet)
    memory = Memory(encoder, {})
    return RecurrentVOS(encoder, memory, Decoder(encoder.channels, memory.channels, size.decoder))


def rgmp(size: Size = SMALL, fusion: FusionKind = "global convolution", imagenet: bool = False) -> RecurrentVOS:
    """The matching baseline (Wug Oh et al., CVPR 2018): a siamese encoder, frame 0 as reference, no recurrence."""
    encoder = make_encoder(size, guided=True, imagenet=imagenet)
    memory = Memory(encoder, {})
    matching = Matching({encoder.stride: _level(size, encoder, memory, encoder.stride, ("first",), fusion)}, None)
    decoder = Decoder(encoder.channels, matching.channels, size.decoder)
    return RecurrentVOS(encoder, memory, decoder, matching=matching)


def hs2s(
    size: Size = SMALL,
    references: tuple[Reference, ...] = REFERENCES,
    fusion: FusionKind = "global convolution",
    cell: CellKind = "lstm",
    skip_memories: int = 1,
    distance: Border | bool = True,
    initializer: bool = False,
    guided: bool = True,
    shared: bool = False,
    merge_skip: bool = False,
    imagenet: bool = False,
) -> RecurrentVOS:
    """HS2S: recurrence (which of these is mine) and matching with frame 0 and the previous frame (what it looks like).

    references   one of them alone is an ablation of table 6.8; () leaves a recurrent network guided by masks
    initializer  write the first states with a network; the thesis finds zeros as good
    guided       the encoder sees the previous mask
    shared       references go through the encoder itself; the thesis finds that this hurts
    merge_skip   match at the skip-memories too, not only at the bottleneck
    Others as in `s2s`.
    """
    encoder = make_encoder(size, guided, imagenet)
    memory = _memory(size, encoder, skip_memories, cell)
    channels, matching = memory.channels, None
    if references:
        strides = memory.strides if merge_skip else [encoder.stride]
        reference = None if shared else make_encoder(size, True, imagenet)
        matching = Matching({s: _level(size, encoder, memory, s, references, fusion) for s in strides}, reference)
        channels = channels | matching.channels
    decoder = Decoder(encoder.channels, channels, size.decoder, _classes(size, distance))
    first = Initializer(make_encoder(size, True, imagenet), memory) if initializer else None
    return RecurrentVOS(encoder, memory, decoder, first, matching)


def bi_hs2s(
    size: Size = SMALL, cell: CellKind = "lstm", distance: Border | bool = True, imagenet: bool = False
) -> BidirectionalVOS:
    """Bi-HS2S: HS2S with a second cell that runs back from the end. Needs whole clips: not causal."""
    net = hs2s(size, cell=cell, distance=distance, initializer=True, guided=False, imagenet=imagenet)
    return BidirectionalVOS(net, make_cell(cell, net.encoder.deep, size.memory))


def raft_hs2s(size: Size = SMALL, imagenet: bool = False) -> FlowVOS:
    """RAFT-HS2S: HS2S with a flow head at stride 8, whose photometric loss is one more task in training."""
    net = hs2s(size, imagenet=imagenet)
    assert net.matching is not None and net.matching.encoder is not None
    flow = FlowHead(net.matching.encoder.channels[8], net.encoder.channels[8], 8, size.flow)
    return FlowVOS(net.encoder, net.memory, net.decoder, None, net.matching, flow)


def with_backbone(size: Size, backbone: Backbone) -> Size:
    """The same network on another backbone, for table 6.12."""
    return replace(size, backbone=backbone)


TABLE: Mapping[str, Callable[[Size], Network]] = {
    "A": s2s,
    "A'": mask_guided,
    "B1": lambda size: s2s(size, distance=True),
    "B2": lambda size: s2s(size, skip_memories=1),
    "B3": lambda size: s2s(size, skip_memories=1, distance=True),
    "B4": s2s_plus_plus,
    "C": rgmp,
    "D": hs2s,
    "D1": lambda size: hs2s(size, references=("first",)),
    "D2": lambda size: hs2s(size, references=("previous",)),
    "D3": lambda size: hs2s(size, fusion="cosine"),
    "D4": lambda size: hs2s(size, fusion="axial attention"),
    "E": bi_hs2s,
    "F": raft_hs2s,
    "G1": lambda size: hs2s(size, cell="deep"),
    "G2": lambda size: hs2s(size, cell="tensor train"),
    "G3": lambda size: hs2s(size, cell="gru"),  # not in the thesis
    "H1": lambda size: hs2s(size, fusion="cross attention"),
    "I1": lambda size: hs2s(with_backbone(size, "residual")),
    "I2": lambda size: hs2s(with_backbone(size, "dilated")),
    "I3": lambda size: hs2s(with_backbone(size, "dilated-aspp")),
    "I4": lambda size: hs2s(with_backbone(size, "axial")),
}


def _memory(size: Size, encoder: MaskedEncoder, skip_memories: int, cell: CellKind) -> Memory:
    """The bottleneck's cell and `skip_memories` more at the levels next to it."""
    finer = sorted(encoder.channels, reverse=True)[1:]
    most = min(len(size.skip_memories), len(finer))
    if not 0 <= skip_memories <= most:
        raise InputError(f"this size has up to {most} skip-memories, got {skip_memories}")
    cells = {encoder.stride: make_cell(cell, encoder.deep, size.memory)}
    for stride, cell_size in zip(finer[:skip_memories], size.skip_memories):
        cells[stride] = make_cell(cell, encoder.channels[stride], cell_size)
    return Memory(encoder, cells)


def _level(
    size: Size,
    encoder: MaskedEncoder,
    memory: Memory,
    stride: int,
    references: tuple[Reference, ...],
    fusion: FusionKind,
) -> LevelMatching:
    """Matching at one level. All encoders of a network have the same channels."""
    scale = encoder.stride // stride
    span = (size.span[0] * scale, size.span[1] * scale)
    inputs = encoder.deep if stride == encoder.stride else encoder.channels[stride]
    return LevelMatching(
        {
            r: make_fusion(fusion, inputs, memory.channels[stride], size.fusion, size.fusion_mid, span)
            for r in references
        },
        size.fusion,
    )


def _classes(size: Size, distance: Border | bool) -> int:
    if isinstance(distance, Border):
        return distance.classes
    return size.border.classes if distance else 0
