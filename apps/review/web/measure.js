// Lengths and diameters in mm, drawn on a slice; a diameter can become a finding.

const GRAB_PX = 10;
const LEAST_MM = 0.2;
const CLICK_MM = 6;
const RULER = "#7ee0c6";

class Measures {
  constructor(viewer, name) {
    this.viewer = viewer;
    this.key = `medvit.measures.${name}`;
    this.items = this.restore();
    this.chosen = null;
    this.draft = null;
  }

  // Kept in this tab, so that a reload loses nothing.
  restore() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  changed(chosen) {
    this.chosen = chosen;
    sessionStorage.setItem(this.key, JSON.stringify(this.items));
    this.viewer.onMeasured(chosen);
    this.viewer.drawAll();
  }

  begin(view, kind, event) {
    const at = view.toIndex(event);
    if (!at) return;
    const end = this.endUnder(view, event);
    if (end) this.draft = { ...end, moved: false };
    else {
      const item = { kind, scan: view.scan.shelf.base, axis: view.plane.axis, index: view.index(), a: at, b: at };
      this.draft = { item, end: "b", isNew: true };
    }
  }

  pull(view, event) {
    const at = view.toIndex(event);
    if (!at || !this.draft) return;
    this.draft.item[this.draft.end] = at;
    this.draft.moved = true;
    this.viewer.drawAll();
  }

  end(view, event, isCancelled) {
    const { draft } = this;
    this.draft = null;
    if (!draft || isCancelled) return;
    const { item } = draft;
    if (draft.isNew && item.kind === "diameter" && this.lengthOf(item) < LEAST_MM) setDiameter(view.scan, view.plane, item);
    if (draft.isNew && this.lengthOf(item) < LEAST_MM) this.viewer.drawAll();
    else {
      if (draft.isNew) this.items.push(item);
      this.changed(item);
    }
  }

  cancel() {
    this.draft = null;
    this.viewer.drawAll();
  }

  remove(item) {
    this.items = this.items.filter((other) => other !== item);
    this.changed(null);
  }

  scanOf(item) {
    return this.viewer.scans().find((scan) => scan.shelf.base === item.scan);
  }

  lengthOf(item) {
    return this.scanOf(item)?.distanceMm(item.a, item.b) ?? 0;
  }

  resize(item, mm) {
    const scan = this.scanOf(item);
    const plane = scan?.geometry.planes.find((each) => each.axis === item.axis);
    if (plane) setDiameter(scan, plane, item, mm);
    this.changed(item);
  }

  on(view) {
    const drawn = this.draft?.isNew ? [...this.items, this.draft.item] : this.items;
    const [axis, index, scan] = [view.plane.axis, view.index(), view.scan.shelf.base];
    return drawn.filter((item) => item.axis === axis && item.index === index && item.scan === scan);
  }

  endUnder(view, event) {
    const [box, rect] = [view.layout(), view.stage.getBoundingClientRect()];
    for (const item of this.on(view)) {
      for (const end of ["a", "b"]) {
        const [x, y] = view.toScreen(item[end], box);
        if (Math.hypot(event.clientX - rect.left - x, event.clientY - rect.top - y) < GRAB_PX) return { item, end };
      }
    }
    return null;
  }

  draw(context, view, box) {
    for (const item of this.on(view)) {
      const [[ax, ay], [bx, by]] = [view.toScreen(item.a, box), view.toScreen(item.b, box)];
      const mm = this.lengthOf(item);
      const width = item === this.chosen ? 2.25 : 1.5;
      context.beginPath();
      line(context, ax, ay, bx, by);
      context.strokeStyle = RULER;
      context.lineWidth = item.kind === "length" ? width : 0.75;
      context.stroke();
      for (const [x, y] of [[ax, ay], [bx, by]]) ring(context, x, y, 2.5, RULER, 1.5);
      if (item.kind === "diameter") ring(context, (ax + bx) / 2, (ay + by) / 2, (mm / 2) * box.pxPerMm, RULER, width);
      context.font = "600 12px system-ui, sans-serif";
      markText(context, wordsFor(item.kind, mm), Math.max(ax, bx) + 8, (ay + by) / 2 + 4, RULER);
    }
  }
}

function wordsFor(kind, mm) {
  return `${kind === "diameter" ? "⌀ " : ""}${mm.toFixed(1)} mm`;
}

// Give an item a diameter about its middle: along its line, or across the picture when it has none.
function setDiameter(scan, plane, item, mm = CLICK_MM) {
  const middle = item.a.map((at, axis) => (at + item.b[axis]) / 2);
  const long = scan.distanceMm(item.a, item.b);
  const across = middle.map((_, axis) => (axis === plane.colAxis ? mm / 2 / plane.colMm : 0));
  const half = long < LEAST_MM ? across : item.b.map((at, axis) => ((at - middle[axis]) * mm) / long);
  item.a = middle.map((at, axis) => at - half[axis]);
  item.b = middle.map((at, axis) => at + half[axis]);
}

// Place and size of a finding drawn as a diameter, as a decision holds them.
function geometryOfItem(scan, item) {
  const middle = item.a.map((at, axis) => (at + item.b[axis]) / 2);
  const [x, y, z] = scan.toLps(middle);
  const [k, j, i] = scan.inside(middle).map(Math.round);
  return {
    x_mm: x, y_mm: y, z_mm: z, diameter_mm: scan.distanceMm(item.a, item.b), index_z: k, index_y: j, index_x: i,
  };
}

// The bar that says what was measured, and offers to make a finding of it.
class MeasureBar {
  constructor(viewer) {
    this.viewer = viewer;
    this.root = make("form", "mv-measured");
    this.root.hidden = true;
    this.words = make("span", "mv-measured-words", "");
    this.size = make("input", "mv-size");
    Object.assign(this.size, { type: "number", min: "0.5", max: "300", step: "any", required: true });
    this.size.setAttribute("aria-label", "Diameter in mm");
    this.unit = make("span", "", "mm");
    this.add = make("button", "mv-tool mv-strong", "Add finding");
    this.remove = make("button", "mv-tool", "Delete measurement");
    this.remove.type = "button";
    this.root.append(this.words, this.size, this.unit, this.add, this.remove);
    this.size.addEventListener("change", () => this.resize());
    this.remove.addEventListener("click", () => viewer.measures.remove(this.item));
    this.root.addEventListener("submit", (event) => this.submit(event));
  }

  show(item) {
    this.item = item;
    this.root.hidden = !item;
    if (!item) return;
    const mm = this.viewer.measures.lengthOf(item);
    const isDiameter = item.kind === "diameter";
    this.words.textContent = isDiameter ? "Diameter" : `Length ${mm.toFixed(1)} mm`;
    this.size.hidden = this.unit.hidden = !isDiameter;
    this.size.disabled = !isDiameter;
    this.size.value = mm.toFixed(1);
    this.add.hidden = !isDiameter || !this.viewer.canAdd || item.scan !== this.viewer.scan.shelf.base;
  }

  resize() {
    if (this.size.checkValidity()) this.viewer.measures.resize(this.item, Number(this.size.value));
  }

  submit(event) {
    event.preventDefault();
    if (this.add.hidden || !this.root.reportValidity()) return;
    if (this.size.value !== this.viewer.measures.lengthOf(this.item).toFixed(1)) this.resize();
    this.size.blur();
    this.viewer.addFinding(this.item);
  }
}
