"""A figure of a run, and how it is written."""

import typing


class Measure(typing.NamedTuple):
    """How a figure is called and written.

    Attributes:
        title: What it is called.
        scale: What it is multiplied by to be shown.
        digits: Behind the point, as it is shown.
        unit: Of differences as they are shown.
        more_is_better: Whether a higher figure is the better one.
    """

    title: str
    scale: float = 100.0
    digits: int = 2
    unit: str = "points"
    more_is_better: bool = True

    def text(self, value):
        """An `Estimate`, `None` for nothing, as `83.17 ± 0.42`."""
        return "" if value is None else self._with_half(value, "")

    def gain(self, value):
        """An `Estimate` of a difference, bold where it is decided."""
        if value is None:
            return ""
        text = self._with_half(value, "+")
        return f"**{text}**" if value.decided else text

    def _with_half(self, value, sign):
        text = f"{self.scale * value.mean:{sign}.{self.digits}f}"
        if value.half is None:
            return text
        return f"{text} ± {self.scale * value.half:.{self.digits}f}"
