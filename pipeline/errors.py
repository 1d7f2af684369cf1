"""Every error a user can cause, as one tree.

    AvemoError
    ├── ParamsError       params.yaml: unknown key, value out of range
    ├── CorpusError       the corpus folder, its index, joins by clip id
    ├── MediaError        one recording cannot be used
    ├── AnnotationError   a VOC file cannot be used
    ├── WeightsError      a checkpoint is missing, damaged or of another network
    ├── TrainingError     a network cannot be trained with these params
    ├── ExportError       a model cannot be written as ONNX
    ├── DamageError       a product is not what its stage wrote
    └── UnforeseenError   the work on one clip failed in a way that nobody foresaw

A message is one line and says where, what was got, what was expected, and the remedy.
Stages catch `AvemoError` at one boundary (`stages.boundary`); anything else is a bug and keeps
its traceback.
"""

LONGEST = 900
"""Characters of a message."""


class AvemoError(Exception):
    """Something the user can put right; `str(error)` is one line of at most `LONGEST`."""

    def __str__(self) -> str:
        text = " ".join(super().__str__().split())
        if len(text) > LONGEST:  # it quotes what a file holds; the remedy stands at the end
            text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 3 :]}"
        return text


class ParamsError(AvemoError):
    """params.yaml holds an unknown key or a value out of range."""


class CorpusError(AvemoError):
    """The corpus cannot be indexed, or clip ids do not join."""


class MediaError(AvemoError):
    """A recording cannot be decoded or lacks what is needed."""


class AnnotationError(AvemoError):
    """A VOC annotation cannot be read as boxes."""


class WeightsError(AvemoError):
    """Published or stored weights cannot be had or do not fit."""


class TrainingError(AvemoError):
    """A network cannot be trained or scored with these params."""


class ExportError(AvemoError):
    """A model cannot be written as ONNX, or answers differently as such."""


class DamageError(AvemoError):
    """A product is not, byte for byte, what its stage wrote."""


class UnforeseenError(AvemoError):
    """The work on one clip raised what it should not; the others go on."""
