// A canvas to draw on with mouse, pen, finger or keys.

const SIDE = 320; // pixels of the canvas, however large it is shown
const PEN = SIDE / 26; // about the width of a pen to a letter
const STEP = SIDE / 40; // of an arrow key

export class Pad {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} changed called after every change, and while a line is drawn.
   */
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = [];
    this.cursor = null; // of the keyboard: `{x, y, down}`
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.resize(1);
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => (this.pointer = null));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.paint();
    });
  }

  /** Makes the canvas as wide to its height as the pictures of the bundle. */
  resize(ratio) {
    this.canvas.width = Math.round(SIDE * Math.min(1, ratio));
    this.canvas.height = Math.round(SIDE / Math.max(1, ratio));
    this.canvas.style.aspectRatio = `${this.canvas.width} / ${this.canvas.height}`;
    this.paint();
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  /** The drawing as ImageData, without the cursor of the keyboard. */
  get picture() {
    this.paint(false);
    const { width, height } = this.canvas;
    const picture = this.context.getImageData(0, 0, width, height);
    this.paint();
    return picture;
  }

  clear() {
    this.strokes = [];
    this.paint();
    this.changed();
  }

  undo() {
    this.strokes.pop();
    this.paint();
    this.changed();
  }

  begin(event) {
    if (event.button > 0 || this.pointer != null) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push([this.place(event)]);
    this.paint();
    this.changed();
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    const places = (events.length ? events : [event]).map((some) => this.place(some));
    this.strokes.at(-1).push(...places);
    this.paint();
    this.changed();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.canvas.width,
      ((event.clientY - box.top) / box.height) * this.canvas.height,
    ];
  }

  key(event) {
    const { width, height } = this.canvas;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    this.cursor ??= { x: width / 2, y: height / 2, down: false };
    const cursor = this.cursor;
    if (event.key in moves) {
      const [x, y] = moves[event.key];
      cursor.x = Math.min(width, Math.max(0, cursor.x + x * STEP));
      cursor.y = Math.min(height, Math.max(0, cursor.y + y * STEP));
      if (cursor.down) this.strokes.at(-1).push([cursor.x, cursor.y]);
    } else if (event.key === " ") {
      cursor.down = !cursor.down;
      if (cursor.down) this.strokes.push([[cursor.x, cursor.y]]);
    } else if (event.key === "Backspace" || event.key === "Delete") {
      cursor.down = false;
      this.strokes.pop();
    } else {
      return;
    }
    event.preventDefault();
    this.paint();
    if (cursor.down || event.key !== " ") this.changed();
  }

  paint(withCursor = true) {
    const { context, canvas, cursor } = this;
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(context, { strokeStyle: "black", fillStyle: "black", lineWidth: PEN });
    Object.assign(context, { lineCap: "round", lineJoin: "round" });
    for (const [first, ...others] of this.strokes) {
      // A line without length leaves nothing on a canvas: its first point is a dot.
      context.beginPath();
      context.arc(...first, PEN / 2, 0, 2 * Math.PI);
      context.fill();
      context.beginPath();
      context.moveTo(...first);
      for (const place of others) context.lineTo(...place);
      context.stroke();
    }
    if (!withCursor || !cursor) return;
    context.beginPath();
    context.arc(cursor.x, cursor.y, PEN * 0.75, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: cursor.down ? "#c2410c" : "#2563eb", lineWidth: 3 });
    context.stroke();
  }
}
