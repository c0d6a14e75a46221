"""Causes in words: what a person sees in the images, and what to do about it.

In: a `Cause`. Out: sentences. Read by the verdict and the report.
"""

from typing import NamedTuple

from drift_detector_pipeline.corruptions.faults import levels_of
from drift_detector_pipeline.drift.cause import CONTENT, MIX, UNKNOWN, Cause


class Words(NamedTuple):
    """How people speak of one kind of change."""

    seen: str  # the images are ...
    channel: str  # of phi.CHANNELS, where it shows first
    remedy: str


_SENSOR = "Look at the light, the gain and the exposure of the camera; a shorter cable or a newer sensor may help."
_OPTICS = "Look at the lens: focus, dirt, condensation, what it is mounted on; and at what blurs or denoises behind it."
_MOVING = "Look at the exposure time and at what holds the camera."
_WEATHER = "Nothing may be broken: the model has seen too little of this weather. Collect and label such images."
_EXPOSURE = "Look at the exposure, the light, and at whatever adjusts brightness or contrast before the model."
_CODEC = "Look at the quality setting of every encoder on the way, and store or send images less compressed."
_RESIZING = "Compare how your service resizes images with how training did: filter, antialiasing, size before the crop."
_CROP = "Compare the crop: training resizes the shorter side and takes the middle."
_TURNED = "Apply the EXIF orientation when a file is opened, and look at how the camera hangs."
_RANGE = (
    "Compare the value range step by step: training divides bytes by 255, subtracts the mean, divides by the deviation."
)
_COLOUR = "Look at the white balance and the lamps, and for a colour profile that is ignored."
_WHOLE = "Look at the transfer: files are read before they are complete, or memory is."
_THINGS = "Mask or crop away what is in the picture, or move the camera."

WORDS: dict[str, Words] = {
    "gaussian_noise": Words("grainy", "sharpness", _SENSOR),
    "shot_noise": Words("grainy, as in little light", "sharpness", _SENSOR),
    "impulse_noise": Words("speckled with black and white dots", "sharpness", _SENSOR),
    "defocus_blur": Words("out of focus", "sharpness", _OPTICS),
    "glass_blur": Words("blurred as through frosted glass", "sharpness", _OPTICS),
    "motion_blur": Words("blurred by motion", "sharpness", _MOVING),
    "zoom_blur": Words("blurred towards the edges, as by zooming", "sharpness", _MOVING),
    "snow": Words("full of snow", "brightness", _WEATHER),
    "frost": Words("covered with frost", "contrast", _WEATHER),
    "fog": Words("foggy", "contrast", _WEATHER),
    "brightness": Words("too bright", "brightness", _EXPOSURE),
    "contrast": Words("pale: of low contrast", "contrast", _EXPOSURE),
    "elastic": Words("bent out of shape", "sharpness", _OPTICS),
    "pixelate": Words("pixelated", "sharpness", _RESIZING),
    "jpeg": Words("full of JPEG blocks", "sharpness", _CODEC),
    "swapped_channels": Words(
        "red where they were blue", "colour", "Your service feeds BGR where training fed RGB: convert it, "
        "image[..., ::-1], as images from OpenCV need it."
    ),
    "yuv_as_rgb": Words("shown in YUV as if it were RGB", "colour", "Convert YUV frames to RGB before the model."),
    "rgb_as_yuv": Words("converted from YUV though they are RGB", "colour", "Leave the conversion from YUV out."),
    "red_only": Words("red alone, green and blue are missing", "colour", "Look at how the three channels are joined."),
    "gray": Words("without colour", "colour", "Look at the camera's day and night mode, and at how files are opened."),
    "inverted": Words("inverted, like a negative", "brightness", "Your service feeds 255 - x where training fed x."),
    "warm": Words("tinted warm, towards orange", "colour", _COLOUR),
    "cold": Words("tinted cold, towards blue", "colour", _COLOUR),
    "few_tones": Words("reduced to a few tones", "colour", "Look for a palette, a threshold or a lost bit depth."),
    "not_divided": Words("burnt to white, as values that are not divided by 255", "brightness", _RANGE),
    "divided_twice": Words("nearly black, as values divided by 255 twice", "brightness", _RANGE),
    "normalised_twice": Words("of harsh contrast, as values normalised twice", "contrast", _RANGE),
    "not_normalised": Words("grey and pale, as values that are not normalised", "contrast", _RANGE),
    "dark": Words("too dark", "brightness", _EXPOSURE),
    "over_exposed": Words("over-exposed", "brightness", _EXPOSURE),
    "gamma_dark": Words("dark in the middle tones", "brightness", "Look for a gamma or colour profile applied twice."),
    "gamma_bright": Words("bright in the middle tones", "brightness", "Look for a gamma or colour profile left out."),
    "night": Words("dark and grainy, as at night", "brightness", _SENSOR),
    "vignette": Words("dark in the corners", "brightness", "Look at the lens and its hood; calibrate flat fields."),
    "lens_dirt": Words("seen through a dirty lens", "contrast", "Clean the lens."),
    "sharpened": Words("sharpened too much", "sharpness", "Turn sharpening off in the camera or the resizing."),
    "denoised": Words("smooth, without fine detail", "sharpness", "Turn noise reduction off in the camera."),
    "nearest_filter": Words("jagged, as resized by copying pixels", "sharpness", _RESIZING),
    "thumbnail": Words("enlarged from something small", "sharpness", "Feed the picture itself, not its preview."),
    "gaussian_blur": Words("blurred", "sharpness", _OPTICS),
    "gray_noise": Words("grainy without colour, as film or analogue video", "sharpness", _SENSOR),
    "stretched": Words("squeezed to a different aspect ratio", "sharpness", _CROP),
    "letterbox": Words("framed by bars above and below", "contrast", _CROP),
    "zoomed_in": Words("cropped too tightly", "sharpness", _CROP),
    "zoomed_out": Words("small inside a black frame", "contrast", _CROP),
    "shifted": Words("moved aside, with a black edge", "contrast", _CROP),
    "upside_down": Words("upside down", "labels", "Rows come from below: image[::-1] turns them. " + _TURNED),
    "mirrored": Words("mirrored", "labels", "Look for a selfie mode, or for a flip left over from training."),
    "turned_90": Words("turned a quarter to the left", "labels", _TURNED),
    "turned_180": Words("turned by half", "labels", _TURNED),
    "turned_270": Words("turned a quarter to the right", "labels", _TURNED),
    "double_jpeg": Words("compressed as JPEG twice", "sharpness", _CODEC),
    "low_bitrate": Words("blocky and smeared, as cheap video", "sharpness", _CODEC),
    "interlaced": Words("combed: every other row is late", "sharpness", "Deinterlace the video before taking frames."),
    "truncated": Words("cut off: grey from below", "contrast", _WHOLE),
    "banner": Words("overlaid with text", "contrast", _THINGS),
    "covered": Words("partly covered by something dark", "contrast", _THINGS),
}  # fmt: skip
_OTHERS = {
    MIX: Words("as they were, in a different mix of classes", "labels",
        "Nothing may be broken. If the new mix stays, weigh the answers by it or train with it."),
    CONTENT: Words("of something new", "novelty",
        "Look at the examples in the report: if the model never learned what they show, keep it away or label it."),
    UNKNOWN: Words("different in a way that is not known", "novelty",
        "Look at the examples in the report, and compare what your service does to an image with what training does."),
}  # fmt: skip
_STRENGTHS = (0.34, "slightly"), (0.67, "clearly"), (9.0, "strongly")
_DOUBTFUL = 0.2  # probability of the next likeliest kind from which on it is said, too


def words_for(kind: str) -> Words:
    """The words for a kind of cause."""
    return WORDS.get(kind) or _OTHERS[kind]


def in_words(cause: Cause) -> str:
    """One sentence that names the cause, how strong it is and how sure that is."""
    if cause.kind == UNKNOWN:
        near = " and ".join(f"'{words_for(kind).seen}'" for kind, _ in cause.alternatives[:2])
        return f"The cause is unknown: no change that the reference knows is near{f' (nearest: {near})' * bool(near)}."
    sure = f"probability {100 * cause.probability:.0f} %"
    if cause.kind == MIX:
        shares = "; ".join(f"{name}: {100 * now:.0f} % instead of {100 * then:.0f} %" for name, then, now in cause.mix)
        return f"The mix of classes changed, not the looks ({sure}): about {shares}."
    if cause.kind == CONTENT:
        if not cause.probability:
            return "Some or all of them seem to show something else: a change of looks does not explain them."
        return f"They look as before but show something else ({sure})."
    seen, grade = _strong(cause.kind, cause.severity)
    if cause.second:
        other, its = _strong(cause.second, cause.second_severity)
        return f"They are {seen}{f' ({grade})' * bool(grade)}, and also {other}{f' ({its})' * bool(its)}."
    for kind, chance in cause.alternatives[:1]:
        seen = _in_doubt(seen, words_for(cause.kind).seen, words_for(kind).seen) if chance >= _DOUBTFUL else seen
    return f"They are {seen} ({', '.join(filter(None, (grade, sure)))})."


def remedy(cause: Cause) -> str:
    """What to do about it."""
    both = [words_for(kind).remedy for kind in (cause.kind, cause.second) if kind]
    return " ".join(dict.fromkeys(both))


def _in_doubt(strong: str, seen: str, other: str) -> str:
    """What is seen, as strong as it is, and what it may be instead; what both begin with is said once."""
    if other.startswith(f"{seen} ") or other.startswith(f"{seen}, "):
        return f"{strong}, perhaps {other.removeprefix(seen).lstrip(', ')}"
    if seen.startswith(f"{other} ") or seen.startswith(f"{other}, "):
        rest = seen.removeprefix(other)
        return f"{strong.removesuffix(rest)}, probably {rest.lstrip(', ')}"
    return f"{strong}{',' * (',' in seen)} or {other}"


def _strong(kind: str, severity: float | None) -> tuple[str, str]:
    """What is seen, with an adverb where there are degrees, and the degree."""
    most = max(levels_of(kind))
    if severity is None or most == 1:
        return words_for(kind).seen, ""
    how = next(word for limit, word in _STRENGTHS if severity / most <= limit)
    return f"{how} {words_for(kind).seen}", f"severity {severity:.1f} of {most}"
