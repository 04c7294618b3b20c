"""The small pictures of a catalogue that a bundle carries for those who look at it."""

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.field_checker import FieldChecker

_NUMBERS = ("columns", "rows", "height", "width")
_IN_MEMORY = 8  # sheets: 12 MB each, of 1,024 pictures of 64 x 64 in colour


class Thumbnails:
    """The sheets of thumbnails of a bundle, decoded when they are asked for.

    Args:
        folder: `pathlib.Path` of the bundle.
        manifest: Its manifest, a dictionary with `thumbnails`.
        count: How many images the catalogue has.

    Raises:
        BundleError: If the manifest does not say how they lie, or there are fewer.
    """

    def __init__(self, folder, manifest, count):
        check = FieldChecker(manifest, folder)
        facts = check.section(manifest, "thumbnails")
        for name in _NUMBERS:
            check.is_number(facts, f"thumbnails.{name}", 1, int)
        check.are_names(facts, "thumbnails.sheets")
        if not set(facts["sheets"]) <= set(manifest["files"]):
            check.wrong("thumbnails.sheets", "names of its files", facts["sheets"])
        self._per_sheet = facts["columns"] * facts["rows"]
        if len(facts["sheets"]) * self._per_sheet < count:
            check.wrong("thumbnails.sheets", f"enough for {count}", facts["sheets"])
        self._folder, self._facts, self._count = folder, facts, count
        self._sheets = {}

    def __getitem__(self, row):
        """The thumbnail of an image, uint8 `(height, width)`, or `(..., 3)` of colours.

        Raises:
            IndexError: If there is no such image.
            BundleError: If the sheet is no image of the size that the manifest says.
        """
        if not 0 <= row < self._count:
            raise IndexError(
                f"`row` must be from 0 to {self._count - 1}. Received: row={row}"
            )
        sheet, place = divmod(row, self._per_sheet)
        line, column = divmod(place, self._facts["columns"])
        height, width = self._facts["height"], self._facts["width"]
        top, left = line * height, column * width
        return self._sheet(sheet)[top : top + height, left : left + width]

    def _sheet(self, number):
        if number not in self._sheets:
            from PIL import Image

            while len(self._sheets) >= _IN_MEMORY:
                del self._sheets[next(iter(self._sheets))]

            file = self._folder / self._facts["sheets"][number]
            try:
                with Image.open(file) as image:
                    grey = image.mode == "L"
                    pixels = np.asarray(image if grey else image.convert("RGB"))
            except (OSError, ValueError, SyntaxError) as error:
                raise BundleError(
                    "A sheet of thumbnails must be an image. "
                    f"Received: {file} ({error})"
                ) from error
            lines, columns, height, width = (
                self._facts[name] for name in ("rows", "columns", "height", "width")
            )
            if pixels.shape[:2] != (lines * height, columns * width):
                raise BundleError(
                    f"A sheet of thumbnails must have {lines * height} x "
                    f"{columns * width} pixels. Received: {pixels.shape} of {file}"
                )
            self._sheets[number] = pixels
        return self._sheets[number]
