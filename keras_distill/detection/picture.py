"""A picture of what a detector finds beside what there is."""

import numpy as np

# One colour a class, told apart by those who see red and green alike.
COLOURS = ["#e69f00", "#56b4e9", "#f0e442", "#009e73", "#cc79a7", "#d55e00", "#0072b2"]
SMALLEST = 320  # Pixels of an image in the picture: smaller ones are enlarged.


def picture(boxes, detections, least_score=0.5, count=6):
    """Draws images in pairs of rows: what there is above, what is found below.

    Args:
        boxes: `data.BoxSet`; the images shown are spread over it.
        detections: What `metrics.detect` found on it.
        least_score: Float; what is found with less is not drawn.
        count: Positive integer, images to show at most.

    Returns:
        A Pillow image. Scores are written at the boxes, in per cent; ignored boxes are
        grey; a line at the bottom says which colour is which class.
    """
    from PIL import Image, ImageDraw

    rows = np.unique(np.linspace(0, len(boxes) - 1, min(count, len(boxes))).astype(int))
    factor = max(1, -(-SMALLEST // max(boxes.image_shape[:2])))
    height, width = (factor * side for side in boxes.image_shape[:2])
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)
    gap, legend = 6, 24
    sheet = Image.new(
        "RGB",
        (columns * (width + gap), lines * 2 * (height + gap) + legend),
        "white",
    )
    for place, row in enumerate(rows):
        image = Image.fromarray(boxes.images.read([row])[0].squeeze()).convert("RGB")
        image = image.resize((width, height))
        there, found = image.copy(), image.copy()
        for box, label, skip in zip(
            boxes.boxes[row], boxes.labels[row], boxes.ignored[row], strict=True
        ):
            colour = "#888888" if skip else COLOURS[label % len(COLOURS)]
            _rectangle(ImageDraw.Draw(there), factor * box, colour)
        order = np.argsort(detections["scores"][row])  # the best on top
        for at in order:
            label, score = detections["labels"][row, at], detections["scores"][row, at]
            if label >= 0 and score >= least_score:
                draw = ImageDraw.Draw(found)
                box = factor * detections["boxes"][row, at]
                colour = COLOURS[label % len(COLOURS)]
                _rectangle(draw, box, colour, f"{100 * score:.0f}")
        left = place % columns * (width + gap)
        top = place // columns * 2 * (height + gap)
        sheet.paste(there, (left, top))
        sheet.paste(found, (left, top + height + 2))
    draw, left = ImageDraw.Draw(sheet), 4
    for label, name in enumerate(boxes.class_names[:20]):
        colour = COLOURS[label % len(COLOURS)]
        draw.rectangle((left, sheet.height - 18, left + 12, sheet.height - 6), colour)
        draw.text((left + 16, sheet.height - 18), name, "black")
        left += 30 + draw.textlength(name)
    return sheet


def _rectangle(draw, box, colour, text=None):
    x1, y1, x2, y2 = (float(number) for number in box)
    draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=2)
    if text is not None:
        draw.rectangle((x1, y1, x1 + draw.textlength(text) + 3, y1 + 11), fill=colour)
        draw.text((x1 + 2, y1), text, "black")
