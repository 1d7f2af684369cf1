"""The geometry of a drawn head: expression and pose in, outlines in pixels and the face box out.

Head coordinates: x to the viewer's right and y down, in units of half a face width, origin between
eyes and nose. A point lies on an ellipsoid, is turned by yaw and pitch about the head's centre,
then by roll, and projected in parallel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.corpora.demo.curve import Points, spline

TURN_RAD = np.deg2rad(12.0)
"""One unit of head pitch, yaw or roll."""

WIDEST_MOUTH = 0.55
"""Gap between the lips of a mouth wide open, in head units."""

BOX_CENTRE = (0.0, 0.275)
BOX_SIDE = 2.02
"""Where dlib frames a face of this build, in head coordinates; see `face_box`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the head does in one frame; angles in units of `TURN_RAD`, shifts in head units."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    mouth: float = 0.0  # 0 closed to 1 wide open, by speaking
    blink: float = 0.0  # 0 open to 1 shut
    gaze: tuple[float, float] = (0.0, 0.0)  # -1 to 1
    accent: float = 0.0  # brows raised with the voice
    strength: float = 1.0  # how much of the take's expression shows

    def expression(self, face: Mapping[str, float]) -> dict[str, float]:
        """The values of `demo_plan.FACE` that show in this frame."""
        return {name: self.strength * value for name, value in face.items()}


@dataclass(frozen=True, slots=True)
class Head:
    """A head in one frame: maps head coordinates to pixels."""

    centre_px: tuple[float, float]
    unit_px: float
    moment: Moment

    def project(self, points: Points, bulge: float | NDArray[np.float64] = 0.0) -> Points:
        """Points on the face to pixels.

        Args:
            points: head coordinates [P, 2].
            bulge: how far they stand out of the ellipsoid (a nose), head units.

        Returns:
            Pixels [P, 2].
        """
        x, y = points[:, 0], points[:, 1]
        depth = 0.85 * np.sqrt(np.maximum(0.0, 1.0 - (x / 1.1) ** 2 - (y / 1.5) ** 2)) + bulge
        yaw, pitch = self.moment.yaw * TURN_RAD, self.moment.pitch * TURN_RAD
        turned = np.column_stack(
            (x * np.cos(yaw) + depth * np.sin(yaw), y * np.cos(pitch) + depth * np.sin(pitch))
        )
        return turned @ self.rotation.T * self.unit_px + self.origin

    def project_all(
        self, shapes: Mapping[str, Points], bulges: Mapping[str, float]
    ) -> dict[str, Points]:
        """`project` for many shapes at once; `bulges` names those that stand out."""
        lengths = [len(points) for points in shapes.values()]
        bulge = np.repeat([bulges.get(name, 0.0) for name in shapes], lengths)
        flat = self.project(np.concatenate(list(shapes.values())), bulge)
        return dict(zip(shapes, np.split(flat, np.cumsum(lengths)[:-1]), strict=True))

    @property
    def rotation(self) -> Points:
        """Roll as a matrix [2, 2] acting on columns."""
        angle = self.moment.roll * TURN_RAD
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    @property
    def origin(self) -> Points:
        """The head's centre in pixels [2]."""
        return np.array(self.centre_px) + self.unit_px * np.array(self.moment.shift)


def face_box(head: Head, width_px: int, height_px: int) -> tuple[float, float, float, float]:
    """The square that a frontal face detector draws, from brows to chin, clipped to the picture.

    It follows the pose alone, neither the mouth nor any detector's output.

    Returns:
        x1, y1, x2, y2 in px, 0-based, half-open.
    """
    x, y = head.project(np.array([BOX_CENTRE]))[0]
    half = BOX_SIDE * head.unit_px / 2.0
    return (
        max(x - half, 0.0),
        max(y - half, 0.0),
        min(x + half, float(width_px)),
        min(y + half, float(height_px)),
    )


def face_shapes(face: Mapping[str, float], moment: Moment, jaw: float) -> dict[str, Points]:
    """Outlines of all parts of a face in head coordinates.

    Args:
        face: values of `demo_plan.FACE`.
        moment: pose, mouth and blink of the frame.
        jaw: relative width of the jaw.

    Returns:
        Closed outlines and open curves by name; pairs end in `_l` and `_r` (as seen).
    """
    gap = WIDEST_MOUTH * mouth_opening(face, moment)
    shapes = {"outline": _outline(jaw, 0.28 * gap), **_mouth(face, gap), **_nose(face)}
    for side, sign in (("l", -1.0), ("r", 1.0)):
        for name, points in {**_brow(face, moment), **_eye(face, moment)}.items():
            shapes[f"{name}_{side}"] = points * (sign, 1.0)
    return shapes


def mouth_opening(face: Mapping[str, float], moment: Moment) -> float:
    """How far the mouth is open by expression and speech together, 0-1."""
    return float(np.clip(0.55 * face["part"] + 0.75 * moment.mouth, 0.0, 1.0))


def _outline(jaw: float, drop: float) -> Points:
    half = np.array(
        [(0.48, -1.22), (0.88, -0.78), (0.99, -0.18), (0.93, 0.38), (0.70 * jaw, 0.90 + drop / 2)]
    )
    chin = np.array([(0.32 * jaw, 1.20 + drop), (0.0, 1.27 + drop)])
    right = np.vstack(([(0.0, -1.32)], half, chin))
    left = (right[1:-1] * (-1.0, 1.0))[::-1]
    return spline(np.vstack((right, left)), closed=True)


def _brow(face: Mapping[str, float], moment: Moment) -> dict[str, Points]:
    raised = 0.10 * moment.accent
    inner = -0.17 * face["brow_inner"] + 0.16 * face["brow_lower"] - raised
    outer = -0.16 * face["brow_outer"] - 0.02 * face["brow_lower"] - raised
    inward = 0.06 * face["brow_lower"]
    line = np.array(
        [
            (0.16 - inward, -0.40 + inner),
            (0.36 - inward / 2, -0.47 + 0.5 * (inner + outer)),
            (0.56, -0.48 + 0.15 * inner + 0.85 * outer),
            (0.74, -0.37 + outer),
        ]
    )
    curve = spline(line)
    thick = np.interp(np.linspace(0, 1, len(curve)), (0.0, 0.15, 0.6, 1.0), (0.8, 1.0, 0.8, 0.15))
    offset = np.column_stack((np.zeros(len(curve)), 0.055 * thick))
    return {"brow": np.vstack((curve - offset, (curve + offset)[::-1]))}


def _eye(face: Mapping[str, float], moment: Moment) -> dict[str, Points]:
    opened = (1.0 + 0.55 * face["eye_open"] - 0.30 * face["squint"]) * (1.0 - moment.blink)
    upper = 0.125 * float(np.clip(opened, 0.04, 1.7))
    lower = 0.075 * float(np.clip(1.0 - 0.7 * face["squint"], 0.15, 1.3)) * (1 - moment.blink)
    t = np.linspace(-1.0, 1.0, 17)
    dome = (1.0 - t**2) ** 0.75
    sad = 0.03 * (face["brow_inner"] - face["brow_outer"])
    x, y = 0.42 + 0.21 * t, -0.13 + sad * t
    lid = np.column_stack((x, y - upper * dome))
    floor = np.column_stack((x, y + lower * dome + 0.05 * moment.blink * dome))
    crease = np.column_stack((x * 1.0, y - (upper + 0.055) * dome - 0.02))
    socket = np.column_stack((x, y - (upper + 0.06) * dome - 0.01))
    bag = np.column_stack((x, y + (lower + 0.075) * dome))[3:-3]
    sight = np.array([(0.42, -0.15)])
    return {
        "eye": np.vstack((lid, floor[::-1])),
        "lid": lid,
        "floor": floor,
        "crease": crease,
        "bag": bag,
        "socket": np.vstack((socket, floor[::-1])),
        "sight": sight,
    }


def _mouth(face: Mapping[str, float], gap: float) -> dict[str, Points]:
    half = 0.39 * (1.0 + 0.28 * face["stretch"] + 0.12 * max(face["corner"], 0.0) - 0.30 * gap)
    corner = -0.15 * face["corner"]
    sneer = 0.07 * max(face["lip_raise"], 0.0)
    t = np.linspace(-1.0, 1.0, 21)
    dome, bend = 1.0 - t**2, corner * np.abs(t) ** 1.7
    x, y = half * t, 0.66 + 0.25 * corner * (-1.0) + bend
    upper = y - (0.30 * gap + sneer) * dome
    lower = y + 0.80 * gap * dome + 0.01
    bow = 0.085 * dome**0.7 - 0.022 * np.exp(-((t / 0.16) ** 2))
    thin = 1.0 - 0.35 * float(np.clip(face["brow_lower"], 0.0, 1.0))
    full = 0.115 * thin * dome**0.8
    crooked = np.column_stack((x, lower + full + 0.09))[6:-6]
    folds = _folds(half, corner, face)
    return {
        "lips": _band(x, upper - bow * thin, lower + full),
        "lip_upper": _band(x, upper - bow * thin, upper + 0.012),
        "inner": _band(x[1:-1], upper[1:-1], np.maximum(lower, upper + 0.012)[1:-1]),
        "teeth": _band(x[3:-3], upper[3:-3], np.minimum(upper + 0.09 * dome**0.6, lower)[3:-3]),
        "tongue": _band(x[5:-5], np.maximum(lower - 0.10, upper + 0.06)[5:-5], lower[5:-5]),
        "under_lip": crooked,
        **folds,
    }


def _folds(half: float, corner: float, face: Mapping[str, float]) -> dict[str, Points]:
    lift = 0.05 * face["wrinkle"]
    line = spline(
        np.array([(0.22, 0.30 - lift), (0.36, 0.44 - lift), (half + 0.13, 0.66 + 0.8 * corner)])
    )
    return {"fold_l": line * (-1.0, 1.0), "fold_r": line}


def _nose(face: Mapping[str, float]) -> dict[str, Points]:
    lift = -0.05 * max(face["wrinkle"], 0.0)
    wing = spline(np.array([(0.15, 0.20), (0.21, 0.30), (0.16, 0.37), (0.08, 0.355)]))
    wing = wing * (1.0 + 0.10 * max(face["wrinkle"], 0.0), 1.0) + (0.0, lift)
    nostril = spline(
        np.array([(0.045, 0.345), (0.10, 0.32), (0.145, 0.345), (0.09, 0.365)]), closed=True
    )
    nostril += (0.0, lift)
    mirror = (-1.0, 1.0)
    return {
        "wing_l": wing * mirror,
        "wing_r": wing,
        "nostril_l": nostril * mirror,
        "nostril_r": nostril,
        "bridge": spline(np.array([(0.10, -0.22), (0.07, 0.0), (0.13, 0.22)])),
    }


def _band(x: NDArray[np.float64], upper: NDArray[np.float64], lower: NDArray[np.float64]) -> Points:
    """The closed strip between two curves over the same x."""
    return np.vstack((np.column_stack((x, upper)), np.column_stack((x, lower))[::-1]))
