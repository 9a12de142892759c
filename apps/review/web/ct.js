// The CT viewer: three linked planes, window presets, findings as circles.

class CtViewer {
  constructor(root, data) {
    this.root = root;
    this.shelf = new SliceShelf(data.base, data.token);
    this.geometry = data.geometry;
    this.presets = data.presets;
    this.findings = [];
    this.selected = null;
    this.showFindings = true;
    this.cross = data.geometry.shape.map((n) => (n - 1) / 2);
    this.window = { centre: data.presets[0].centre, width: data.presets[0].width };
    this.table = windowTable(this.window.centre, this.window.width);
    this.build();
  }

  build() {
    this.bar = make("div", "mv-toolbar");
    this.presetButtons = this.presets.map((preset, i) => {
      const button = make("button", "mv-tool", preset.name);
      button.append(make("kbd", "mv-key", i + 1));
      button.title = `Window ${preset.width}/${preset.centre} HU (key ${i + 1})`;
      button.addEventListener("click", () => this.setWindow(preset.centre, preset.width));
      return button;
    });
    this.windowText = make("span", "mv-readout", "");
    this.marks = make("button", "mv-tool", "Circles");
    this.marks.setAttribute("aria-pressed", "true");
    this.marks.addEventListener("click", () => this.toggleMarks());
    const reset = make("button", "mv-tool", "Reset view");
    reset.addEventListener("click", () => this.reset());
    this.bar.append(...this.presetButtons, this.windowText, make("span", "mv-space"), this.marks, reset);
    this.planes = this.geometry.planes.map((plane) => new PlaneView(this, plane));
    const grid = make("div", "mv-planes");
    grid.append(...this.planes.map((view) => view.root));
    this.status = make("div", "mv-status");
    this.place = make("span", "mv-place", "");
    this.under = make("span", "mv-under", "");
    this.status.append(this.place, this.under, make("span", "mv-space"), make("span", "mv-hint", this.geometry.note));
    this.root.replaceChildren(this.bar, grid, this.status);
    this.active = this.planes[0];
    this.setWindow(this.window.centre, this.window.width);
    this.planes.forEach((view) => view.show());
  }

  update(data, send) {
    this.send = send;
    this.findings = data.findings;
    const changed = data.selected !== this.selected || data.jump !== this.jump;
    this.selected = data.selected;
    this.jump = data.jump;
    const chosen = this.findings.find((finding) => finding.id === data.selected);
    if (changed && chosen) this.moveTo(chosen.index);
    else this.planes.forEach((view) => view.draw());
  }

  moveTo(index) {
    this.cross = index.map((at, axis) => Math.max(0, Math.min(this.geometry.shape[axis] - 1, at)));
    for (const view of this.planes) {
      if (view.shown?.index === view.index()) view.draw();
      else view.show();
      view.slider.value = view.index() + 1;
    }
  }

  goTo(axis, at) {
    const next = [...this.cross];
    next[axis] = at;
    this.moveTo(next);
  }

  pick(finding) {
    this.selected = finding.id;
    this.moveTo(finding.index);
    this.send("picked", finding.id);
  }

  setWindow(centre, width) {
    this.window = { centre: Math.round(centre), width: Math.round(width) };
    this.table = windowTable(this.window.centre, this.window.width);
    this.windowText.textContent = `W ${this.window.width}  L ${this.window.centre} HU`;
    this.presets.forEach((preset, i) => {
      const on = preset.centre === this.window.centre && preset.width === this.window.width;
      this.presetButtons[i].setAttribute("aria-pressed", String(on));
    });
    this.root.dataset.window = `${this.window.width}/${this.window.centre}`;
    this.planes.forEach((view) => view.paint());
  }

  toggleMarks() {
    this.showFindings = !this.showFindings;
    this.marks.setAttribute("aria-pressed", String(this.showFindings));
    this.planes.forEach((view) => view.draw());
  }

  reset() {
    this.planes.forEach((view) => view.resetView());
    this.setWindow(this.presets[0].centre, this.presets[0].width);
  }

  report() {
    const [z, y, x] = this.cross;
    const lps = this.geometry.affine.slice(0, 3).map((row) => row[0] * z + row[1] * y + row[2] * x + row[3]);
    const hu = this.planes[0].shown ? this.planes[0].huAt(this.cross) : null;
    const millimetres = lps.map((mm) => mm.toFixed(1)).join(", ");
    this.place.textContent = `Crosshair ${hu === null ? "–" : hu} HU   LPS ${millimetres} mm`;
  }

  hover(view, event) {
    const index = view ? view.toIndex(event) : null;
    const hu = index ? view.huAt(index) : null;
    this.under.textContent = hu === null ? "" : `Pointer ${hu} HU`;
  }

  onKey(event) {
    if (!isBareKey(event)) return;
    const preset = this.presets[Number(event.key) - 1];
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 };
    if (preset) this.setWindow(preset.centre, preset.width);
    else if (steps[event.key] && event.target.type !== "range") this.active.scroll(steps[event.key]);
    else return;
    event.preventDefault();
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-ct");
  root.viewer ??= new CtViewer(root, data);
  root.viewer.update(data, setTriggerValue);
  const onKey = (event) => root.viewer.onKey(event);
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
