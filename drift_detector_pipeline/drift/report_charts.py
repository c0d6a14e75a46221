"""The two pictures of a drift report as SVG, so that a service draws them without a plotting library.

In: a `Verdict`. Out: text of `<svg>` elements, in the colour of the page's text. Read by report.py.
"""

from drift_detector_pipeline.drift.verdict import Verdict

_WIDTH, _LEFT, _RIGHT, _ROW = 460, 110, 15, 26  # px; the left part is for names


def channel_chart(verdict: Verdict) -> str:
    """Draw how far each channel moved, in standard deviations of one image; what moved for certain is filled."""
    shown = [channel for channel in verdict.channels if channel.name != "labels"]
    reach = 1.25 * max(0.5, *(abs(channel.shift) for channel in shown))
    zero, bottom = _across(0, -reach, reach), _ROW * len(shown) + 4
    parts = [_line(zero, 0, zero, bottom)]
    for row, channel in enumerate(shown):
        end = _across(channel.shift, -reach, reach)
        fill = 'fill="currentColor"' if channel.moved else 'fill="none"'
        parts += [
            _text(_LEFT - 8, _ROW * row + 18, channel.name, "end"),
            f'<rect x="{min(zero, end):.1f}" y="{_ROW * row + 5}" width="{abs(end - zero):.1f}" height="16" {fill} '
            'stroke="currentColor"/>',
        ]
    parts += _axis(bottom, [-reach / 1.25, 0, reach / 1.25], -reach, reach, "{:+.2g}")
    parts.append(
        _text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 38, "mean of the window - mean of the training world (sd)")
    )
    return _svg(bottom + 46, "How far each channel moved, in standard deviations; filled: for certain", parts)


def accuracy_chart(verdict: Verdict) -> str:
    """Draw the estimated accuracy with its interval, and that of the training world."""
    parts = [_text(_LEFT - 8, 22, "training world", "end"), _text(_LEFT - 8, 52, "estimated", "end")]
    found, before = verdict.accuracy, verdict.reference_accuracy
    if found is not None and before is not None:
        own, low, high = (_across(value, 0, 1) for value in (found.accuracy, found.low, found.high))
        world = _across(before, 0, 1)
        parts += [
            _line(world, 8, world, 27, 4), _line(low, 47, high, 47, 3),
            f'<circle cx="{own:.1f}" cy="47" r="5" fill="currentColor"/>',
        ]  # fmt: skip
    parts += _axis(62, [0, 0.25, 0.5, 0.75, 1], 0, 1, "{:.0%}")
    return _svg(86, "Estimated accuracy with its interval, and that of the training world", parts)


def _across(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _axis(y: float, ticks: list[float], low: float, high: float, form: str) -> list[str]:
    parts = [_line(_LEFT, y, _WIDTH - _RIGHT, y)]
    for tick in ticks:
        x = _across(tick, low, high)
        parts += [_line(x, y, x, y + 4), _text(x, y + 18, form.format(tick))]
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, width: float = 1) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-width="{width}"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _svg(height: float, label: str, parts: list[str]) -> str:
    head = f'viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{label}"'
    style = f'style="max-width: {_WIDTH}px; width: 100%" font-size="12" fill="currentColor"'
    return f"<svg {head} {style}>{''.join(parts)}</svg>"
