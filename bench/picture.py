"""The table as a picture: bars of CPU per call. SVG by hand, because a plotting library for one picture is more."""

from math import log10
from typing import Any
from xml.sax.saxutils import escape

LEFT, WIDTH, LINE = 330, 620, 24
COLOURS = ("#4f46e5", "#0f766e", "#dc2626", "#b45309")


def draw(rows: list[dict[str, Any]]) -> str:
    """One bar a row, on a logarithmic scale from 1 µs to 10,000 µs, with the first target as a tick."""
    shown = [row for row in rows if row.get("cpu_us")]
    height = LINE * len(shown) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 120}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<text x="10" y="20" font-size="14">CPU per call, µs (logarithmic)</text>',
    ]
    for number, row in enumerate(shown):
        y = 40 + number * LINE
        bar = position(row["cpu_us"])
        parts.append(f'<text x="10" y="{y + 13}">{escape(row["where"])}: {escape(row["what"])}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{bar:.1f}" height="16" fill="#4f46e5"/>')
        parts.append(f'<text x="{LEFT + bar + 6:.1f}" y="{y + 13}">{row["cpu_us"]}</text>')
        if row.get("first"):
            x = LEFT + position(row["first"])
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + 18}" stroke="#dc2626" stroke-width="2"/>'
            )
    return "\n".join([*parts, "</svg>\n"])


def position(cpu_us: float) -> float:
    """Where a value stands on the scale, in pixels."""
    return max(1.0, min(1.0, log10(max(cpu_us, 1.0)) / 4) * WIDTH)


def line_chart(title: str, series: dict[str, list[tuple[float, float]]]) -> str:
    """Each series as a line of its own colour, from 0 to the highest value; the last value stands beside its end."""
    width, height, left, top = 760, 300, 60, 40
    widest = max((x for points in series.values() for x, _ in points), default=1) or 1
    highest = max((y for points in series.values() for _, y in points), default=1) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 260}" height="{height + 90}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
        f'<path d="M{left} {top}V{top + height}H{left + width}" stroke="#94a3b8" fill="none"/>',
        f'<text x="10" y="{top + 8}">{highest:,.0f}</text>',
        f'<text x="{left}" y="{top + height + 20}">0</text>',
        f'<text x="{left + width - 60}" y="{top + height + 20}">{widest:,.0f}</text>',
    ]
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        places = [(left + x / widest * width, top + height - y / highest * height) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        x, y = places[-1]
        parts.append(f'<path d="M{path}" stroke="{colour}" fill="none" stroke-width="2"/>')
        parts.append(
            f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(name)}: {points[-1][1]:,.0f}</text>'
        )
    return "\n".join([*parts, "</svg>\n"])
