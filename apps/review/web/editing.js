// Drawing a new box and changing one: by pointer, or by keys alone.

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LARGE_STEP = 10;
const FIRST_SHARE = 0.2;

class BoxEditor {
  constructor(viewer) {
    this.viewer = viewer;
    this.stop();
  }

  get isOn() {
    return this.mode !== "off";
  }

  stop() {
    Object.assign(this, { mode: "off", box: null, target: "", grip: null, about: "" });
  }

  // Wait for a box to be drawn.
  draw() {
    this.stop();
    Object.assign(this, { mode: "draw", about: this.viewer.about });
    this.viewer.changed();
  }

  // Take a box up for changing; `target` is empty for a new one.
  edit(box, target) {
    Object.assign(this, { mode: "edit", box, target, grip: null, about: this.viewer.about });
    this.viewer.changed();
  }

  press(point) {
    const at = this.viewer.view.toImage(point);
    if (this.mode === "draw") this.grip = { from: at };
    else {
      const handle = handleAt(this.box, this.viewer.view.layout(), point);
      if (!handle) return false;
      this.grip = { from: at, handle, box: this.box };
    }
    return true;
  }

  drag(point) {
    const { size } = this.viewer.view;
    const at = this.viewer.view.toImage(point);
    const { from, handle, box } = this.grip;
    this.box = handle
      ? wholePixels(changed(box, handle, [at[0] - from[0], at[1] - from[1]], size), size)
      : wholePixels(spanned(from, at), size);
    this.viewer.changed();
  }

  release() {
    const isNew = this.mode === "draw" && this.box;
    this.grip = null;
    if (isNew) this.edit(this.box, "");
  }

  keep(label) {
    if (!this.box) return;
    const token = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.viewer.send("drawn", { about: this.about, target: this.target, box: this.box, label, token });
    this.stop();
    this.viewer.changed();
  }

  // Return whether the key was for the box.
  key(event) {
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") this.stop();
    else if (this.mode === "draw" && event.key === "Enter") this.edit(this.firstBox(), "");
    else if (this.mode === "draw") return event.key in ARROWS;
    else if (event.key === "Enter") this.keep(this.viewer.label);
    else if (arrow) this.nudge(arrow, event);
    else if (!this.target && /^[1-9]$/.test(event.key)) {
      const label = this.viewer.classes[Number(event.key) - 1];
      if (label) this.keep(label);
    } else return false;
    this.viewer.changed();
    return true;
  }

  nudge([x, y], event) {
    const step = event.ctrlKey || event.metaKey ? LARGE_STEP : 1;
    const handle = event.shiftKey ? [x ? "right" : "", y ? "bottom" : ""] : ["", ""];
    this.box = changed(this.box, handle, [x * step, y * step], this.viewer.view.size);
  }

  firstBox() {
    const { view } = this.viewer;
    const [x, y] = view.toImage([view.stage.clientWidth / 2, view.stage.clientHeight / 2]);
    const half = (FIRST_SHARE * Math.min(view.stage.clientWidth, view.stage.clientHeight)) / view.layout().scale / 2;
    const side = Math.min(half, view.size[0] / 2, view.size[1] / 2);
    return wholePixels([x - side, y - side, x + side, y + side], view.size);
  }

  hint() {
    if (this.mode === "draw") return "Drag a box over the defect, or press Enter for one in the middle. Esc stops.";
    const sides = "Drag it or its handles; arrows move, Shift resizes, Ctrl takes 10.";
    if (this.target) return `${sides} Enter saves, Esc drops.`;
    return `${sides} A digit saves it under that class, Enter as ${this.viewer.label}.`;
  }
}
