// The CT viewer: three linked planes, windows, MIP slabs, findings, measurements, a scan to compare with.

const SLABS_MM = [5, 10, 15, 20, 30];
const TOOLS = [
  ["cross", "Crosshair", "Esc"], ["window", "Window", ""], ["pan", "Move", ""],
  ["length", "Length", "l"], ["diameter", "Diameter", "d"],
];
const STEPS = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

class CtViewer {
  constructor(root, data) {
    this.root = root;
    this.scan = new Scan("", data.geometry, new SliceShelf(data.base, data.ticket));
    this.presets = data.presets;
    this.scan.cross = this.scan.inside(this.take(data) ?? this.scan.cross);
    this.showFindings = true;
    this.slabMm = 0;
    this.tool = "cross";
    this.enlarged = "";
    this.measures = new Measures(this, data.base);
    this.comparison = new Comparison(this);
    this.planes = [];
    this.setTable(this.presets[0].centre, this.presets[0].width);
    this.build();
  }

  build() {
    this.grid = make("div", "mv-planes");
    this.measureBar = new MeasureBar(this);
    const status = make("div", "mv-status");
    this.place = make("span", "mv-place", "");
    this.under = make("span", "mv-under", "");
    this.note = make("span", "mv-hint", "");
    status.append(this.place, this.under, make("span", "mv-space"), this.measureBar.root, this.note);
    this.root.replaceChildren(...this.buildBars(), this.comparison.root, this.grid, status);
    this.arrange();
    this.setWindow(this.window.centre, this.window.width);
  }

  buildBars() {
    const [look, act] = [make("div", "mv-toolbar mv-ct-bar"), make("div", "mv-toolbar mv-ct-bar")];
    this.presetButtons = this.presets.map((preset, i) => {
      const about = `Window ${preset.width}/${preset.centre} HU`;
      return this.button(preset.name, String(i + 1), about, () => this.setWindow(preset.centre, preset.width));
    });
    this.windowText = make("span", "mv-readout", "");
    this.marks = this.button("Findings", "h", "Show or hide the circles", () => this.toggleMarks());
    this.marks.setAttribute("aria-pressed", "true");
    look.append(
      this.group("Window", this.presetButtons), this.windowText, make("span", "mv-space"), this.marks,
      this.button("Fit", "f", "Zoom, place and window as at the start", () => this.reset()),
    );
    this.toolButtons = TOOLS.map(([tool, name, key]) => this.button(name, key, "What dragging does", () => this.setTool(tool)));
    this.compareButton = this.button("Compare", "", "Show another scan beside this one", () => this.comparison.toggle());
    this.compareButton.setAttribute("aria-expanded", "false");
    act.append(
      this.group("Tool", this.toolButtons), this.buildSlab(), make("span", "mv-space"), this.comparison.tools, this.compareButton,
    );
    this.setTool("cross");
    return [look, act];
  }

  buildSlab() {
    this.slab = make("select", "mv-tool");
    this.slab.setAttribute("aria-label", "MIP slab thickness");
    this.slab.append(...[0, ...SLABS_MM].map((mm) => new Option(mm ? `MIP ${mm} mm` : "No MIP", String(mm))));
    this.slab.addEventListener("change", () => this.setSlab(Number(this.slab.value)));
    return this.slab;
  }

  button(name, key, about, act) {
    const button = make("button", "mv-tool", name);
    if (key) button.append(make("kbd", "mv-key", key));
    button.title = key ? `${about} (key ${key})` : about;
    button.addEventListener("click", act);
    return button;
  }

  group(name, buttons) {
    const group = make("span", "mv-tools");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", name);
    group.append(...buttons);
    return group;
  }

  scans() {
    return this.comparison.scan ? [this.scan, this.comparison.scan] : [this.scan];
  }

  // Lay out the planes: all three, one enlarged, or one of each scan side by side.
  arrange() {
    const scans = this.scans();
    const keep = this.planes.filter((view) => scans.includes(view.scan));
    this.planes.filter((view) => !keep.includes(view)).forEach((view) => view.close());
    this.planes = scans.flatMap((scan) => scan.geometry.planes.map(
      (plane) => keep.find((view) => view.scan === scan && view.plane === plane) ?? new PlaneView(this, scan, plane),
    ));
    if (scans.length > 1 && !this.enlarged) this.enlarged = this.planes[0].plane.name;
    if (scans.length === 1 && this.wasCompared) this.enlarged = "";
    this.wasCompared = scans.length > 1;
    for (const view of this.planes) {
      view.root.hidden = Boolean(this.enlarged) && view.plane.name !== this.enlarged;
      view.side = scans.length < 2 ? "" : view.scan === this.scan ? "this scan" : view.scan.title;
      view.root.dataset.side = view.scan === this.scan ? "this" : "other";
    }
    if (this.planes.some((view) => view.root.parentNode !== this.grid) || this.grid.children.length !== this.planes.length) {
      this.grid.replaceChildren(...this.planes.map((view) => view.root));
    }
    this.grid.dataset.layout = scans.length > 1 ? "pair" : this.enlarged ? "one" : "three";
    if (!this.planes.includes(this.active) || this.active.root.hidden) {
      this.active = this.planes.find((view) => !view.root.hidden);
    }
    this.showInTurn(this.planes);
  }

  // The slice of the stack first: it costs least, and is looked at while the others come.
  async showInTurn(views) {
    const first = views.filter((view) => view.plane.axis === 0);
    await Promise.all(first.map((view) => view.show()));
    for (const view of views) {
      if (!first.includes(view) && this.planes.includes(view)) view.show();
    }
  }

  enlarge(view) {
    if (this.wasCompared) {
      const names = this.scan.geometry.planes.map((plane) => plane.name);
      this.enlarged = names[(names.indexOf(view.plane.name) + 1) % names.length];
    } else {
      this.enlarged = this.enlarged ? "" : view.plane.name;
    }
    this.arrange();
  }

  activate(view) {
    this.active = view;
  }

  update(data, send) {
    this.send = send;
    this.canAdd = data.canAdd;
    this.scan.shelf.ticket = data.ticket;
    if (this.comparison.scan) this.comparison.scan.shelf.ticket = data.ticket;
    if (this.asked && data.findings.length > this.scan.findings.length) this.measures.remove(this.asked);
    this.asked = null;
    const place = this.take(data);
    if (place) this.moveTo(this.scan, place);
    else this.drawAll();
  }

  // Take over the findings; return where to go when another one was chosen.
  take(data) {
    const isOther = data.selected !== this.selected || data.jump !== this.jump;
    Object.assign(this, { selected: data.selected, jump: data.jump });
    this.scan.findings = data.findings;
    const chosen = data.findings.find((finding) => finding.id === data.selected);
    return isOther && chosen ? chosen.index : null;
  }

  moveTo(scan, index) {
    scan.cross = scan.inside(index);
    const moved = this.comparison.follow(scan);
    const views = this.planes.filter((view) => moved.includes(view.scan));
    for (const view of views) {
      view.slider.value = view.index() + 1;
      if (view.shown?.index === view.index()) view.draw();
    }
    this.showInTurn(views.filter((view) => view.shown?.index !== view.index()));
  }

  pick(finding) {
    this.selected = finding.id;
    this.moveTo(this.scan, finding.index);
    this.send("picked", finding.id);
  }

  addFinding(item) {
    this.asked = item;
    this.send("added", geometryOfItem(this.scan, item));
  }

  onMeasured(item) {
    this.measureBar.show(item);
    this.note.hidden = Boolean(item);
  }

  setTable(centre, width) {
    this.window = { centre: Math.round(centre), width: Math.max(1, Math.round(width)) };
    this.table = windowTable(this.window.centre, this.window.width);
  }

  setWindow(centre, width) {
    this.setTable(centre, width);
    this.windowText.textContent = `W ${this.window.width}  L ${this.window.centre} HU`;
    this.presets.forEach((preset, i) => {
      const on = preset.centre === this.window.centre && preset.width === this.window.width;
      this.presetButtons[i].setAttribute("aria-pressed", String(on));
    });
    this.root.dataset.window = `${this.window.width}/${this.window.centre}`;
    this.planes.filter((view) => !view.root.hidden).forEach((view) => view.paint());
  }

  setTool(tool) {
    this.tool = tool;
    this.root.dataset.tool = tool;
    TOOLS.forEach(([name], i) => this.toolButtons[i].setAttribute("aria-pressed", String(name === tool)));
  }

  letGo() {
    this.setTool("cross");
    this.measures.changed(null);
    if (!this.comparison.root.hidden) this.comparison.toggle();
  }

  // Planes that keep the same scale and move together: the pair of a comparison.
  partnersOf(view) {
    if (!this.comparison.scan) return [view];
    return this.planes.filter((other) => other.plane.name === view.plane.name);
  }

  // Slices that a slab spans across a plane: an odd number, so that it has one in its middle.
  slabSlices(plane) {
    const half = Math.floor(this.slabMm / plane.normalMm / 2);
    return Math.min(511, 2 * Math.min(half, plane.count) + 1);
  }

  setSlab(mm) {
    if (mm) this.lastSlab = mm;
    this.slabMm = mm;
    this.slab.value = String(mm);
    this.slab.classList.toggle("mv-on", mm > 0);
    this.showInTurn(this.planes);
  }

  toggleMarks() {
    this.showFindings = !this.showFindings;
    this.marks.setAttribute("aria-pressed", String(this.showFindings));
    this.drawAll();
  }

  drawAll() {
    this.planes.filter((view) => !view.root.hidden).forEach((view) => view.draw());
  }

  reset() {
    this.planes.forEach((view) => view.resetView());
    this.setWindow(this.presets[0].centre, this.presets[0].width);
  }

  report() {
    const view = this.planes.find((each) => each.scan === this.scan && !each.root.hidden);
    const hu = view?.shown?.index === view?.index() ? view?.huAt(this.scan.cross) : "";
    const millimetres = this.scan.toLps(this.scan.cross).map((mm) => mm.toFixed(1)).join(", ");
    this.place.textContent = `Crosshair ${hu || "–"}   LPS ${millimetres} mm`;
    this.reportPointer();
    this.note.textContent = [this.scan.geometry.note, this.comparison.note].filter(Boolean).join(" · ");
  }

  hover(view, event) {
    this.pointer = view ? { view, clientX: event.clientX, clientY: event.clientY } : null;
    this.reportPointer();
  }

  // Also when slices move under a pointer that rests.
  reportPointer() {
    const { view } = this.pointer ?? {};
    const index = view ? view.toIndex(this.pointer) : null;
    const hu = index && view.shown?.index === view.index() ? view.huAt(index) : "";
    this.under.textContent = hu ? `Pointer ${hu}` : "";
  }

  onKey(event) {
    if (!isBareKey(event) || document.querySelector("dialog[open]")) return;
    const preset = this.presets[Number(event.key) - 1];
    if (preset) this.setWindow(preset.centre, preset.width);
    else if (event.key in STEPS) {
      if (event.target.type === "range") return;
      this.active.scroll(STEPS[event.key]);
    } else if (!this.act(event.key)) return;
    event.preventDefault();
  }

  act(key) {
    const tool = TOOLS.find(([, , letter]) => letter === key);
    if (tool) this.setTool(tool[0]);
    else if (key === "Escape") this.letGo();
    else if (key === "m") this.setSlab(this.slabMm ? 0 : this.lastSlab ?? 10);
    else if (key === "h") this.toggleMarks();
    else if (key === "f") this.reset();
    else if (key === "e") this.enlarge(this.active);
    else if (["Delete", "Backspace"].includes(key) && this.measures.chosen) this.measures.remove(this.measures.chosen);
    else return false;
    return true;
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
