"""A drawing surface for charts: a white page with text, bars, lines and points, written as SVG. The page is
white and the colours are dark, so that a chart reads the same on a light and on a dark page."""

import html

COLOURS = {
    "ours": "#1f6feb", "ours-plain": "#79a7ef", "floor-send": "#6e7781", "floor-coalesce": "#424a53",
    "nchan": "#bc4c00",
}
INK, FAINT, GRID = "#1f2328", "#57606a", "#d8dee4"


class Page:
    def __init__(self, width, height, title, subtitle=""):
        self.width, self.height, self.parts = width, height, []
        self.title = title
        self.text(16, 26, title, size=16, weight="bold")
        if subtitle:
            self.text(16, 45, subtitle, colour=FAINT)

    def text(self, x, y, text, size=12, anchor="start", colour=INK, weight="normal"):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{html.escape(str(text))}</text>')

    def bar(self, x, y, width, height, colour, opacity=1.0):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" '
            f'fill="{colour}" fill-opacity="{opacity}"/>')

    def line(self, x1, y1, x2, y2, colour=GRID, width=1.0):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')

    def path(self, points, colour):
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')

    def dot(self, x, y, colour, radius=3.5):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def legend(self, x, y, entries):
        """Squares with names; `entries` are (name, colour, opacity)."""
        for name, colour, opacity in entries:
            self.bar(x, y - 10, 11, 11, colour, opacity)
            self.text(x + 16, y, name)
            x += 34 + 6.6 * len(name)

    def save(self, path):
        body = "\n".join(self.parts)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'font-family="system-ui, Helvetica, Arial, sans-serif">\n'
            f'<title>{html.escape(self.title)}</title>\n'
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>\n{body}\n</svg>\n')


def ticks(maximum, count=5):
    """Round numbers from 0 to the first that is not below `maximum`."""
    step = 10.0 ** -9
    factors = [2, 2.5, 2]
    index = 0
    while step * count < maximum:
        step *= factors[index % 3]
        index += 1
    last = next(i for i in range(count + 2) if i * step >= maximum * (1 - 1e-9))
    return [i * step for i in range(last + 1)]


def short(value):
    """1500 as 1.5k, 2000000 as 2M."""
    for size, unit in [(1e6, "M"), (1e3, "k")]:
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
