// One plane of a scan on the screen: a canvas, its letters, its slice number and slider.

const AHEAD = 8;
const BEHIND = 2;
const FINER_MS = 220;
const MOST_SLAB_BYTES = 16 * 1024 * 1024;

class PlaneView {
  constructor(viewer, scan, plane) {
    this.viewer = viewer;
    this.scan = scan;
    this.plane = plane;
    this.zoom = 1;
    this.pan = [0, 0];
    this.shown = null;
    this.waiting = "";
    this.side = "";
    this.step = 1;
    this.picture = document.createElement("canvas");
    this.build();
    listenTo(this);
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.stage);
  }

  build() {
    const { plane } = this;
    this.root = make("section", "mv-plane");
    this.root.dataset.plane = plane.name.toLowerCase();
    this.root.dataset.slice = "";
    this.root.setAttribute("aria-label", `${plane.name} plane${this.scan.name ? ` of ${this.scan.name}` : ""}`);
    this.stage = make("div", "mv-stage");
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "application");
    this.stage.setAttribute("aria-label", `${plane.name} slices; arrow keys scroll`);
    this.canvas = make("canvas", "mv-canvas");
    this.name = make("span", "mv-name", "");
    this.number = make("span", "mv-number", "");
    this.failure = make("p", "mv-failure", "");
    this.slider = make("input", "mv-slider");
    Object.assign(this.slider, { type: "range", min: 1, max: plane.count, step: 1, disabled: plane.count < 2 });
    this.slider.setAttribute("aria-label", `${plane.name} slice`);
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value) - 1));
    this.stage.append(this.canvas, this.name, this.number, this.failure);
    for (const [side, letter] of Object.entries(plane.letters)) {
      this.stage.append(make("span", `mv-letter mv-${side}`, letter));
    }
    this.root.append(this.stage, this.slider);
  }

  close() {
    clearTimeout(this.finer);
    this.watch.disconnect();
  }

  resetView() {
    this.setView(1, [0, 0]);
  }

  setView(zoom, pan) {
    for (const view of this.viewer.partnersOf(this)) {
      Object.assign(view, { zoom, pan });
      view.draw();
    }
  }

  index() {
    const { plane, scan } = this;
    return Math.max(0, Math.min(plane.count - 1, Math.round(scan.cross[plane.axis])));
  }

  goTo(at) {
    const next = [...this.scan.cross];
    next[this.plane.axis] = at;
    this.viewer.moveTo(this.scan, next);
  }

  scroll(step) {
    this.goTo(Math.max(0, Math.min(this.plane.count - 1, this.index() + step)));
  }

  // Screen pixels for 1 mm at which the whole slice can be seen.
  fit() {
    const { plane, stage } = this;
    return Math.min(stage.clientWidth / (plane.cols * plane.colMm), stage.clientHeight / (plane.rows * plane.rowMm));
  }

  layout() {
    const { plane } = this;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const pxPerMm = Math.min(...this.viewer.partnersOf(this).map((view) => view.fit())) * this.zoom;
    const [w, h] = [plane.cols * plane.colMm * pxPerMm, plane.rows * plane.rowMm * pxPerMm];
    return { width, height, pxPerMm, w, h, left: (width - w) / 2 + this.pan[0], top: (height - h) / 2 + this.pan[1] };
  }

  toScreen(index, box) {
    const { plane } = this;
    const col = plane.colFlip ? plane.cols - 1 - index[plane.colAxis] : index[plane.colAxis];
    const row = plane.rowFlip ? plane.rows - 1 - index[plane.rowAxis] : index[plane.rowAxis];
    return [box.left + ((col + 0.5) / plane.cols) * box.w, box.top + ((row + 0.5) / plane.rows) * box.h];
  }

  // Index under a pointer, on the slice that is shown; null beside the picture.
  toIndex(event) {
    const { plane } = this;
    const [box, rect] = [this.layout(), this.stage.getBoundingClientRect()];
    const col = ((event.clientX - rect.left - box.left) / box.w) * plane.cols - 0.5;
    const row = ((event.clientY - rect.top - box.top) / box.h) * plane.rows - 0.5;
    const index = [...this.scan.cross];
    index[plane.axis] = this.index();
    index[plane.colAxis] = plane.colFlip ? plane.cols - 1 - col : col;
    index[plane.rowAxis] = plane.rowFlip ? plane.rows - 1 - row : row;
    return this.scan.holds(index) ? index : null;
  }

  // HU at an index as words; "about" as long as a coarser level, or a slab, is shown.
  huAt(index) {
    const { plane, shown } = this;
    if (!shown) return "";
    const [row, col] = [[plane.rowAxis, plane.rowFlip, shown.rows], [plane.colAxis, plane.colFlip, shown.cols]].map(
      ([axis, isFlipped, length]) => {
        const at = Math.floor(Math.round(index[axis]) / shown.factors[axis]);
        return isFlipped ? length - 1 - at : at;
      },
    );
    const hu = shown.values[row * shown.cols + col];
    if (hu === undefined) return "";
    if (hu === NO_VALUE) return "no value";
    if (shown.slab > 1) return `max ${hu} HU`;
    return `${shown.level ? "about " : ""}${hu} HU`;
  }

  cut(index, level) {
    return { axis: this.plane.axis, index, level, slab: this.viewer.slabSlices(this.plane) };
  }

  quickLevel() {
    const { plane, scan } = this;
    const { levels, quick } = scan.geometry;
    const bytes = 2 * plane.rows * plane.cols * this.viewer.slabSlices(plane);
    const coarse = bytes > MOST_SLAB_BYTES && this.viewer.slabSlices(plane) > 1 ? 1 : 0;
    return Math.min(levels.length - 1, Math.max(quick[plane.axis], coarse));
  }

  async show() {
    clearTimeout(this.finer);
    const index = this.index();
    this.slider.value = index + 1;
    if (this.root.hidden) return;
    const finest = this.scan.geometry.finest[this.plane.axis];
    const [quick, whole] = [Math.max(finest, this.quickLevel()), finest].map((level) => this.cut(index, level));
    const first = this.scan.shelf.peek(whole) ? whole : quick;
    if (!(await this.fetch(first))) return;
    this.scan.shelf.fetchAhead(this, this.neighbours(index, quick.level));
    if (first.level > finest) this.finer = setTimeout(() => this.fetch(whole), FINER_MS);
  }

  neighbours(index, level) {
    const step = this.step || 1;
    const ways = [...Array(AHEAD).keys()].map((i) => (i + 1) * step);
    ways.splice(2, 0, ...[...Array(BEHIND).keys()].map((i) => -(i + 1) * step));
    const places = ways.map((way) => index + way).filter((at) => at >= 0 && at < this.plane.count);
    return places.map((at) => this.cut(at, level));
  }

  // Show a slice once it is there; false when another one is wanted by then, or it cannot be had.
  async fetch(cut) {
    try {
      const values = this.scan.shelf.peek(cut) ?? (await this.scan.shelf.want(this, cut, (share) => this.wait(share)));
      if (cut.index !== this.index() || cut.slab !== this.viewer.slabSlices(this.plane)) return false;
      this.take(cut, values);
      return true;
    } catch (error) {
      if (error.name !== "AbortError" && cut.index === this.index()) this.fail(error.message);
      return false;
    }
  }

  take(cut, values) {
    const { shape, factors } = this.scan.geometry.levels[cut.level];
    const [rows, cols] = [shape[this.plane.rowAxis], shape[this.plane.colAxis]];
    const before = this.shown?.index ?? -1;
    if (before !== cut.index) this.step = cut.index < before ? -1 : 1;
    this.shown = { ...cut, values, rows, cols, factors };
    this.waiting = "";
    this.failure.textContent = "";
    this.paint();
  }

  wait(share) {
    this.waiting = `preparing this plane: ${Math.round(100 * share)} %`;
    this.label();
  }

  fail(message) {
    this.shown = null;
    this.failure.textContent = `This slice cannot be shown: ${message}`;
    this.draw();
  }

  paint() {
    if (this.shown) paintSlice(this.shown, this.viewer.table, this.picture);
    this.draw();
  }

  draw() {
    const box = this.layout();
    if (!box.width || !box.height) return;
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, box.width, box.height);
    if (this.shown) {
      this.drawPicture(context, box);
      drawCross(context, this, box);
      if (this.viewer.showFindings) drawCircles(context, circlesOf(this, box), this.viewer.selected);
      this.viewer.measures.draw(context, this, box);
      drawScaleBar(context, box);
    }
    this.label();
  }

  // The last voxel of a coarser level may reach beyond the volume: that part is cut off.
  drawPicture(context, box) {
    const { plane, shown } = this;
    const [w, h] = [
      ((shown.cols * shown.factors[plane.colAxis]) / plane.cols) * box.w,
      ((shown.rows * shown.factors[plane.rowAxis]) / plane.rows) * box.h,
    ];
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.w, box.h);
    context.clip();
    context.imageSmoothingQuality = "high";
    const [left, top] = [box.left - (plane.colFlip ? w - box.w : 0), box.top - (plane.rowFlip ? h - box.h : 0)];
    context.drawImage(this.picture, left, top, w, h);
    context.restore();
  }

  label() {
    const { shown, plane } = this;
    const slab = shown && shown.slab > 1 ? `MIP ${(shown.slab * plane.normalMm).toFixed(1)} mm` : "";
    this.name.textContent = [plane.name, slab, this.side].filter(Boolean).join(" · ");
    const place = shown ? `slice ${shown.index + 1} of ${plane.count}` : "reading…";
    const words = [place, shown ? this.scan.imageNumber(plane.axis, shown.index) : ""];
    const text = this.waiting || words.filter(Boolean).join(" · ");
    this.number.textContent = this.failure.textContent ? "" : text;
    this.root.dataset.slice = shown ? String(shown.index + 1) : "";
    this.root.dataset.level = shown ? String(shown.level) : "";
    this.viewer.report();
  }
}
