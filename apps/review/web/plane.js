// One plane of the CT viewer: a canvas, its letters, its slice number and slider.

class PlaneView {
  constructor(viewer, plane) {
    this.viewer = viewer;
    this.plane = plane;
    this.zoom = 1;
    this.pan = [0, 0];
    this.shown = null;
    this.step = 1;
    this.wheel = 0;
    this.picture = document.createElement("canvas");
    this.build();
    this.listen();
  }

  build() {
    const { plane } = this;
    this.root = make("section", "mv-plane");
    this.root.dataset.plane = plane.name.toLowerCase();
    this.root.setAttribute("aria-label", `${plane.name} plane`);
    this.stage = make("div", "mv-stage");
    this.canvas = make("canvas", "mv-canvas");
    this.number = make("span", "mv-number", "");
    this.failure = make("p", "mv-failure", "");
    this.slider = make("input", "mv-slider");
    Object.assign(this.slider, { type: "range", min: 1, max: plane.count, step: 1 });
    this.slider.setAttribute("aria-label", `${plane.name} slice`);
    this.stage.append(this.canvas, make("span", "mv-name", plane.name), this.number, this.failure);
    for (const [side, letter] of Object.entries(plane.letters)) {
      this.stage.append(make("span", `mv-letter mv-${side}`, letter));
    }
    this.root.append(this.stage, this.slider);
  }

  listen() {
    this.slider.addEventListener("input", () => this.viewer.goTo(this.plane.axis, Number(this.slider.value) - 1));
    this.stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.onPress(event));
    this.stage.addEventListener("pointermove", (event) => this.viewer.hover(this, event));
    this.stage.addEventListener("pointerleave", () => this.viewer.hover(null));
    this.stage.addEventListener("dblclick", () => this.resetView());
    this.stage.addEventListener("pointerenter", () => { this.viewer.active = this; });
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  resetView() {
    this.zoom = 1;
    this.pan = [0, 0];
    this.draw();
  }

  index() {
    const { plane, viewer } = this;
    return Math.max(0, Math.min(plane.count - 1, Math.round(viewer.cross[plane.axis])));
  }

  layout() {
    const { plane } = this;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const fit = Math.min(width / (plane.cols * plane.colMm), height / (plane.rows * plane.rowMm));
    const pxPerMm = fit * this.zoom;
    const [w, h] = [plane.cols * plane.colMm * pxPerMm, plane.rows * plane.rowMm * pxPerMm];
    return { width, height, pxPerMm, w, h, left: (width - w) / 2 + this.pan[0], top: (height - h) / 2 + this.pan[1] };
  }

  toScreen(index, box) {
    const { plane } = this;
    const col = plane.colFlip ? plane.cols - 1 - index[plane.colAxis] : index[plane.colAxis];
    const row = plane.rowFlip ? plane.rows - 1 - index[plane.rowAxis] : index[plane.rowAxis];
    return [box.left + ((col + 0.5) / plane.cols) * box.w, box.top + ((row + 0.5) / plane.rows) * box.h];
  }

  toIndex(event) {
    const { plane } = this;
    const [box, rect] = [this.layout(), this.stage.getBoundingClientRect()];
    const col = ((event.clientX - rect.left - box.left) / box.w) * plane.cols - 0.5;
    const row = ((event.clientY - rect.top - box.top) / box.h) * plane.rows - 0.5;
    if (col < -0.5 || row < -0.5 || col > plane.cols - 0.5 || row > plane.rows - 0.5) return null;
    const index = [...this.viewer.cross];
    index[plane.axis] = this.index();
    index[plane.colAxis] = plane.colFlip ? plane.cols - 1 - col : col;
    index[plane.rowAxis] = plane.rowFlip ? plane.rows - 1 - row : row;
    return index;
  }

  huAt(index) {
    const { plane, shown } = this;
    if (!shown) return null;
    const col = Math.round(plane.colFlip ? plane.cols - 1 - index[plane.colAxis] : index[plane.colAxis]);
    const row = Math.round(plane.rowFlip ? plane.rows - 1 - index[plane.rowAxis] : index[plane.rowAxis]);
    return shown.values[row * plane.cols + col] ?? null;
  }

  onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      this.zoomAt(event, event.deltaY < 0 ? 1.2 : 1 / 1.2);
      return;
    }
    this.wheel += event.deltaY;
    if (Math.abs(this.wheel) < 30) return;
    this.scroll(this.wheel > 0 ? 1 : -1);
    this.wheel = 0;
  }

  scroll(step) {
    this.viewer.goTo(this.plane.axis, this.index() + step);
  }

  zoomAt(event, factor) {
    const rect = this.stage.getBoundingClientRect();
    const next = Math.max(1, Math.min(16, this.zoom * factor));
    const grow = next / this.zoom;
    const [x, y] = [event.clientX - rect.left - rect.width / 2, event.clientY - rect.top - rect.height / 2];
    this.pan = next === 1 ? [0, 0] : [x - (x - this.pan[0]) * grow, y - (y - this.pan[1]) * grow];
    this.zoom = next;
    this.draw();
  }

  onPress(event) {
    if (event.button > 1) return;
    event.preventDefault();
    const start = { x: event.clientX, y: event.clientY, pan: [...this.pan], window: { ...this.viewer.window }, moved: false };
    const pans = event.shiftKey || event.button === 1;
    const move = (now) => this.onDrag(now, start, pans);
    const stop = (now) => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      if (!start.moved && !pans) this.onClick(now);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
  }

  onDrag(event, start, pans) {
    const [dx, dy] = [event.clientX - start.x, event.clientY - start.y];
    if (!start.moved && Math.hypot(dx, dy) < 5) return;
    start.moved = true;
    if (pans) {
      this.pan = [start.pan[0] + dx, start.pan[1] + dy];
      this.draw();
    } else {
      this.viewer.setWindow(start.window.centre + dy * 2, Math.max(1, start.window.width + dx * 4));
    }
  }

  onClick(event) {
    const index = this.toIndex(event);
    if (!index) return;
    const hit = this.hit(event);
    if (hit) this.viewer.pick(hit);
    else this.viewer.moveTo(index);
  }

  circles(box) {
    const { plane, viewer } = this;
    const at = this.index();
    return viewer.findings.flatMap((finding) => {
      const away = Math.abs(at - finding.index[plane.axis]) * plane.normalMm;
      const radius = finding.diameter / 2;
      if (away > Math.max(radius, plane.normalMm / 2)) return [];
      const [x, y] = this.toScreen(finding.index, box);
      const cut = Math.sqrt(Math.max(0, radius * radius - away * away));
      return [{ finding, x, y, r: Math.max(6, cut * box.pxPerMm) }];
    });
  }

  hit(event) {
    if (!this.viewer.showFindings) return null;
    const rect = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - rect.left, event.clientY - rect.top];
    const near = this.circles(this.layout())
      .map((circle) => ({ ...circle, gap: Math.hypot(x - circle.x, y - circle.y) - circle.r }))
      .filter((circle) => circle.gap < 5 && circle.finding.id !== this.viewer.selected);
    near.sort((a, b) => a.gap - b.gap);
    return near.length ? near[0].finding : null;
  }

  async show() {
    const { plane, viewer } = this;
    const index = this.index();
    this.slider.value = index + 1;
    const shelf = viewer.shelf;
    try {
      const values = shelf.peek(plane.axis, index) ?? (await shelf.get(plane.axis, index));
      if (index !== this.index()) return;
      if (this.shown?.index !== index) this.step = index < (this.shown?.index ?? -1) ? -1 : 1;
      this.shown = { index, values };
      this.failure.textContent = "";
      this.paint();
      shelf.fetchAhead(plane, index, this.step);
    } catch (error) {
      if (index === this.index()) this.fail(error.message);
    }
  }

  fail(message) {
    this.shown = null;
    this.failure.textContent = `This slice cannot be shown: ${message}`;
    this.draw();
  }

  paint() {
    if (this.shown) paintSlice(this.shown.values, this.plane, this.viewer.table, this.picture);
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
      context.imageSmoothingQuality = "high";
      context.drawImage(this.picture, box.left, box.top, box.w, box.h);
      drawCross(context, this, box);
      if (this.viewer.showFindings) drawCircles(context, this.circles(box), this.viewer.selected);
      drawScaleBar(context, box);
    }
    this.label();
  }

  label() {
    const shown = this.shown ? `slice ${this.shown.index + 1} of ${this.plane.count}` : "reading…";
    this.number.textContent = this.failure.textContent ? "" : shown;
    this.root.dataset.slice = this.shown ? String(this.shown.index + 1) : "";
    this.viewer.report();
  }
}
