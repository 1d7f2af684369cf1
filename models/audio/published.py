"""The published checkpoints of the audio networks and where they are kept. No torch here."""

import os
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_cache_path

from models.audio.download import Remote

_RECORD = "https://zenodo.org/records/3987831/files"


def _remote(name: str, md5: str, size: int | None = None, sha256: str | None = None) -> Remote:
    address = f"{_RECORD}/{name.replace('=', '%3D')}?download=1"
    return Remote(address, name, md5, size, sha256)


# MD5 and size are those of the Zenodo record, as several public projects quote them; the SHA-256
# of Cnn14 is what several report of their download. For the other two no SHA-256 is known: the
# first verified download notes it beside the file, and later uses are held to that.
PANNS_FILES: Mapping[str, Remote] = {
    "Cnn14": _remote(
        "Cnn14_mAP=0.431.pth",
        "541141fa2ee191a88f24a3219fff024e",
        327_428_481,
        "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
    ),
    "Wavegram_Cnn14": _remote("Wavegram_Cnn14_mAP=0.389.pth", "1e3506ab640371e0b5a417b15fd66d21"),
    "Wavegram_Logmel_Cnn14": _remote(
        "Wavegram_Logmel_Cnn14_mAP=0.439.pth", "17fa9ab65af3c0eb5ffbc5f65552c4e1", 328_692_198
    ),
}
"""The published checkpoints (Kong et al., Zenodo record 3987831, CC BY 4.0)."""


def weights_folder() -> Path:
    """Where published weights are kept: `AVEMO_WEIGHTS`, else the user's cache folder."""
    chosen = os.environ.get("AVEMO_WEIGHTS")
    return Path(chosen) if chosen else user_cache_path("avemo", appauthor=False)
