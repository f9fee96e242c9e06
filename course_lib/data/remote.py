"""The data sets that `data_scripts/download.py` can fetch: addresses, sizes, hashes, licences, and where they end up.

Folder names are those that `course_lib.data.roots` looks for, so what was fetched is found. Where a publisher gives no
hash, `hash_from` says who recorded the one used; where nobody did, the first download records it (see `transfer`).
"""

from dataclasses import dataclass

from course_lib.errors import InputError


@dataclass(frozen=True)
class Unpack:
    """What becomes of an archive: its folder `top` becomes the folder in which the file's data belongs.

    markers  paths in `top` without which the data is not whole
    size     bytes once unpacked, about; for the check of free space before the download
    """

    top: str
    markers: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch.

    urls    tried in this order; none for a file that only a registered user can fetch
    size    bytes; `exact` is False where the publisher gives a rounded number only
    sha256  expected hash, or None where it was never published
    inside  folder within the data set's own where the file, or what is unpacked from it, belongs
    """

    name: str
    urls: tuple[str, ...]
    size: int
    exact: bool = True
    sha256: str | None = None
    hash_from: str = ""
    inside: str = ""
    unpack: Unpack | None = None


@dataclass(frozen=True)
class RemoteDataset:
    """A data set: its files, its terms, its folder below the root, and for a manual one the steps to get it."""

    name: str
    title: str
    folder: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    page: str
    manual: str = ""

    @property
    def size(self) -> int:
        """Bytes to download, about."""
        return sum(file.size for file in self.files)

    @property
    def unpacked_size(self) -> int:
        """Bytes that archives take once unpacked, about."""
        return sum(file.unpack.size for file in self.files if file.unpack)


def _digit_files(mirrors: tuple[str, ...], origin: str, *known: tuple[str, int, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            name, tuple(mirror + name for mirror in mirrors), size, sha256=sha256, hash_from=origin, inside="raw"
        )
        for name, size, sha256 in known
    )


_TFDS = "recorded by TensorFlow Datasets; the publisher gives none"
_TFDS_MD5 = "recorded by TensorFlow Datasets; the publisher gives MD5 only"

DATASETS = (
    RemoteDataset(
        "davis2017",
        "DAVIS 2017, train and val, 480p (90 videos, several objects each)",
        "DAVIS-2017",
        (
            RemoteFile(
                "DAVIS-2017-trainval-480p.zip",
                ("https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-trainval-480p.zip",),
                832_766_765,
                sha256="e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492",
                hash_from=_TFDS,
                unpack=Unpack(
                    "DAVIS",
                    ("ImageSets/2017/train.txt", "JPEGImages/480p", "Annotations/480p"),
                    850_000_000,
                ),
            ),
        ),
        "CC BY-NC 4.0 (attribution, non-commercial)",
        "J. Pont-Tuset et al., The 2017 DAVIS Challenge on Video Object Segmentation, arXiv:1704.00675, 2017",
        "https://davischallenge.org/davis2017/code.html",
    ),
    RemoteDataset(
        "davis2016",
        "DAVIS 2016, 480p and 1080p (50 videos, one object each)",
        "DAVIS-2016",
        (
            RemoteFile(
                "DAVIS-data.zip",
                (
                    "https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip",
                    "https://cgl.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip",
                ),
                2_000_000_000,
                exact=False,
                unpack=Unpack("DAVIS", ("ImageSets/480p", "JPEGImages/480p", "Annotations/480p"), 2_050_000_000),
            ),
        ),
        "CC BY-NC 4.0 (attribution, non-commercial)",
        "F. Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation, CVPR 2016",
        "https://davischallenge.org/davis2016/code.html",
    ),
    RemoteDataset(
        "youtube_vos",
        "YouTube-VOS, train and valid (about 3,950 videos)",
        "YouTubeVOS",
        (
            RemoteFile(
                "train.zip",
                (),
                5_900_000_000,
                exact=False,
                inside="train",
                unpack=Unpack("train", ("meta.json", "JPEGImages", "Annotations"), 6_000_000_000),
            ),
            RemoteFile(
                "valid.zip",
                (),
                1_100_000_000,
                exact=False,
                inside="valid",
                unpack=Unpack("valid", ("meta.json", "JPEGImages", "Annotations"), 1_150_000_000),
            ),
        ),
        "annotations CC BY 4.0; videos remain their owners'; for non-commercial research, terms as at registration",
        "N. Xu et al., YouTube-VOS: Sequence-to-Sequence Video Object Segmentation, ECCV 2018",
        "https://youtube-vos.org/dataset/vos/",
        manual="""YouTube-VOS is given to registered users only, so these steps are yours:
  1. Open https://youtube-vos.org/dataset/vos/ and follow the link to the competition server of the version you want
     (2018 or 2019). Register there and accept the terms of use.
  2. In its section Participate / Get Data, download train.zip and valid.zip (several GB). The parts with "all
     frames" are not needed.
  3. Put both files into {archives}
     and run this command again, or name them:
     python data_scripts/download.py youtube_vos --root {root} --archive PATH/train.zip PATH/valid.zip
They are checked, unpacked to {folder}, and the archives are left where they are.""",
    ),
    RemoteDataset(
        "mnist",
        "MNIST, 70,000 handwritten digits, 28x28",
        "MNIST",
        _digit_files(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "http://yann.lecun.com/exdb/mnist/",
            ),
            _TFDS,
            ("train-images-idx3-ubyte.gz", 9_912_422,
             "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            ("train-labels-idx1-ubyte.gz", 28_881,
             "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            ("t10k-images-idx3-ubyte.gz", 1_648_877,
             "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            ("t10k-labels-idx1-ubyte.gz", 4_542,
             "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        "CC BY-SA 3.0",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document Recognition, 1998",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    RemoteDataset(
        "fashion_mnist",
        "Fashion-MNIST, 70,000 pieces of clothing, 28x28",
        "FashionMNIST",
        _digit_files(
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            _TFDS_MD5,
            ("train-images-idx3-ubyte.gz", 26_421_880,
             "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            ("train-labels-idx1-ubyte.gz", 29_515,
             "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            ("t10k-images-idx3-ubyte.gz", 4_422_102,
             "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            ("t10k-labels-idx1-ubyte.gz", 5_148,
             "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        "MIT",
        "H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017",
        "https://github.com/zalandoresearch/fashion-mnist",
    ),
    RemoteDataset(
        "voc2007",
        "PASCAL VOC 2007, train and val",
        "VOCdevkit/VOC2007",
        (
            RemoteFile(
                "VOCtrainval_06-Nov-2007.tar",
                (
                    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtrainval_06-Nov-2007.tar",
                    "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/VOCtrainval_06-Nov-2007.tar",
                ),
                460_032_000,
                sha256="7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
                hash_from=_TFDS,
                unpack=Unpack(
                    "VOCdevkit/VOC2007", ("JPEGImages", "Annotations", "ImageSets/Main/train.txt"), 470_000_000
                ),
            ),
        ),
        "images from Flickr, under its terms of use; annotations free for research",
        "M. Everingham et al., The PASCAL Visual Object Classes Challenge 2007",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
    ),
    RemoteDataset(
        "voc2012",
        "PASCAL VOC 2012, train and val",
        "VOCdevkit/VOC2012",
        (
            RemoteFile(
                "VOCtrainval_11-May-2012.tar",
                (
                    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                ),
                1_999_639_040,
                sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
                hash_from=_TFDS,
                unpack=Unpack(
                    "VOCdevkit/VOC2012",
                    ("SegmentationClass", "JPEGImages", "Annotations", "ImageSets"),
                    2_000_000_000,
                ),
            ),
        ),
        "images from Flickr, under its terms of use; annotations free for research",
        "M. Everingham et al., The PASCAL Visual Object Classes Challenge 2012",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    ),
)  # fmt: skip


def remote_dataset(name: str) -> RemoteDataset:
    """The data set called `name`. Raises `InputError` that lists the known ones."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    raise InputError(f"unknown data set {name!r}; known are {', '.join(dataset.name for dataset in DATASETS)}")
