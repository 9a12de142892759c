// The image viewer: tiles, zoom and pan, boxes, heat map, light and contrast, comparison.

const ZOOM_STEP = 1.4;
const PAN_PX = 80;
const CLICK_PX = 4;
const KEPT_LOOK = { opacity: 40, light: 100, contrast: 100, boxes: true };

class ImageViewer {
  constructor(root, data) {
    this.root = root;
    this.base = data.base;
    this.ticket = data.ticket;
    root.dataset.shown = "";
    this.look = (window.medvitLook ??= { ...KEPT_LOOK });
    this.findings = [];
    this.pointers = new Map();
    this.wipe = null;
    buildViewer(this, data);
    this.view = new ImageView(this.stage);
    this.editor = new BoxEditor(this);
    this.picture = pictureAt(data.base, data.ticket);
    this.picture.onChange = () => this.changed();
    this.listen();
    this.open(data);
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.onPress(event));
    stage.addEventListener("pointermove", (event) => this.onMove(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.onRelease(event));
    stage.addEventListener("dblclick", () => this.editor.isOn || this.act(() => this.view.fit()));
    new ResizeObserver(() => this.changed()).observe(stage);
  }

  async open(data) {
    await this.picture.opening;
    if (this.picture.failure) return;
    this.view.fit(this.picture.size);
    this.place.textContent = `${this.picture.size[1]} x ${this.picture.size[0]} pixels`;
    this.changed();
    if (data.heat) await this.openHeat(data);
  }

  async openHeat(data) {
    this.heatState.textContent = "computing the heat map…";
    try {
      this.heat = await loadHeat(data.heat, data.ticket);
      this.heatState.textContent = `heat map by ${data.model}`;
    } catch (error) {
      this.heatState.textContent = `No heat map: ${error.message}`;
      this.opacity.disabled = true;
    }
    this.changed();
  }

  update(data, send) {
    Object.assign(this, { send, classes: data.classes, label: data.label, about: data.about, target: data.selected });
    this.ticket = this.picture.ticket = data.ticket;
    if (this.other) this.other.ticket = data.ticket;
    this.findings = data.findings.filter((finding) => finding.box);
    const jumped = data.jump !== this.jump && this.jump !== undefined;
    this.jump = data.jump;
    if (this.editor.isOn && this.editor.about !== data.about) this.editor.stop();
    const chosen = this.chosen();
    this.adjust.disabled = !chosen;
    if (jumped && chosen) this.view.show(chosen.box);
    this.ahead = data.next;
    this.changed();
  }

  chosen() {
    return this.findings.find((finding) => finding.id === this.target) ?? null;
  }

  act(change) {
    change();
    this.changed();
  }

  // Draw once before the next frame, however much changed since the last one.
  changed() {
    const isGone = this.root.viewer && this.root.viewer !== this;
    if (this.isAsked || isGone) return;
    this.isAsked = true;
    requestAnimationFrame(() => {
      this.isAsked = false;
      if (this.root.viewer === this) this.draw();
    });
  }

  startDrawing() {
    this.editor.mode === "draw" ? this.act(() => this.editor.stop()) : this.editor.draw();
  }

  startAdjusting() {
    const chosen = this.chosen();
    if (!chosen) return;
    this.view.show(chosen.box);
    this.editor.edit([...chosen.box], chosen.id);
  }

  toggleBoxes() {
    this.look.boxes = !this.look.boxes;
    this.changed();
  }

  toggleHeat() {
    this.look.opacity = this.look.opacity ? 0 : KEPT_LOOK.opacity;
    this.changed();
  }

  compare(base) {
    this.other = base ? pictureAt(base, this.ticket) : null;
    if (this.other) this.other.onChange = () => this.changed();
    this.wipe = base ? (this.wipe ?? 0.5) : null;
    this.changed();
  }

  onWheel(event) {
    event.preventDefault();
    this.act(() => this.view.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, this.view.pointOf(event)));
  }

  onPress(event) {
    if (event.button > 1) return;
    event.preventDefault();
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    const point = this.view.pointOf(event);
    this.pointers.set(event.pointerId, point);
    const isPan = event.button === 1 || this.pointers.size > 1 || !this.editor.isOn || !this.editor.press(point);
    if (this.pointers.size === 1) this.gesture = { start: point, isPan, moved: false };
    else Object.assign(this.gesture, { isPan: true, moved: true });
  }

  onMove(event) {
    const point = this.view.pointOf(event);
    const before = this.pointers.get(event.pointerId);
    this.showPlace(point);
    if (!before) return;
    this.pointers.set(event.pointerId, point);
    const { gesture } = this;
    gesture.moved ||= Math.hypot(point[0] - gesture.start[0], point[1] - gesture.start[1]) > CLICK_PX;
    if (!gesture.moved) return;
    if (!gesture.isPan) this.editor.drag(point);
    else if (this.pointers.size === 1) this.act(() => this.view.panBy(point[0] - before[0], point[1] - before[1]));
    else this.pinch(event.pointerId, before, point);
  }

  // Two fingers: the distance between them zooms, their middle pans.
  pinch(id, before, point) {
    const other = [...this.pointers].find(([each]) => each !== id)?.[1];
    if (!other) return;
    const span = (at) => Math.max(1, Math.hypot(at[0] - other[0], at[1] - other[1]));
    const middle = [(point[0] + other[0]) / 2, (point[1] + other[1]) / 2];
    this.act(() => {
      this.view.panBy((point[0] - before[0]) / 2, (point[1] - before[1]) / 2);
      this.view.zoomBy(span(point) / span(before), middle);
    });
  }

  onRelease(event) {
    const wasDown = this.pointers.delete(event.pointerId);
    if (!wasDown || this.pointers.size) return;
    if (!this.gesture.isPan) this.editor.release();
    else if (!this.gesture.moved && !this.editor.isOn && event.type === "pointerup") this.onClick(event);
  }

  onClick(event) {
    const at = this.view.pixelAt(this.view.pointOf(event));
    const found = at && this.look.boxes ? smallestAt(this.findings, at) : null;
    if (found) this.send("picked", found.id);
  }

  showPlace(point) {
    const at = this.view.pixelAt(point);
    this.under.textContent = at ? `x ${Math.floor(at[0])}  y ${Math.floor(at[1])}` : "";
  }

  onKey(event) {
    if (isTyping(event) || event.altKey || document.querySelector("dialog[open]")) return;
    const isPlain = !(event.ctrlKey || event.metaKey);
    const isMine = this.editor.isOn ? this.editor.key(event) : isPlain && !isControl(event) && this.viewKey(event.key);
    if (!isMine) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  viewKey(key) {
    const keys = {
      "+": () => this.view.zoomBy(ZOOM_STEP), "=": () => this.view.zoomBy(ZOOM_STEP), "-": () => this.view.zoomBy(1 / ZOOM_STEP),
      0: () => this.view.fit(), b: () => this.toggleBoxes(), h: () => this.toggleHeat(), d: () => this.startDrawing(),
      e: () => this.startAdjusting(), w: () => this.partners?.click(),
    };
    const arrow = ARROWS[key];
    const action = arrow ? () => this.view.panBy(-arrow[0] * PAN_PX, -arrow[1] * PAN_PX) : keys[key.toLowerCase()];
    if (!action) return false;
    this.act(action);
    return true;
  }

  draw() {
    const layout = this.view.layout();
    if (!layout.width || !layout.height) return;
    const ratio = window.devicePixelRatio || 1;
    const [pixels, marks] = [this.pixels, this.marks].map((canvas) => freshContext(canvas, layout, ratio));
    this.pixels.style.filter = `brightness(${this.look.light}%) contrast(${this.look.contrast}%)`;
    this.failure.textContent = this.picture.failure ? `This image cannot be shown: ${this.picture.failure}`
      : this.picture.isPreparing ? "Cutting this large image into tiles, once…" : "";
    const isWhole = this.picture.draw(pixels, layout, ratio);
    if (this.other?.levels.length) this.drawOther(pixels, layout, ratio);
    if (this.heat && this.look.opacity > 0) this.drawHeat(marks, layout);
    if (this.look.boxes) {
      for (const finding of this.findings) {
        if (finding.id !== this.editor.target) drawBox(marks, finding, layout, finding.id === this.target);
      }
    }
    if (this.editor.box) drawEdited(marks, this.editor.box, layout, this.editor.target ? "moving" : "new box");
    if (isWhole) this.fetchAhead(layout);
    showState(this, layout, isWhole);
  }

  drawHeat(context, { left, top, scale }) {
    context.globalAlpha = this.look.opacity / 100;
    context.imageSmoothingEnabled = true;
    context.drawImage(this.heat, left, top, this.picture.size[1] * scale, this.picture.size[0] * scale);
    context.globalAlpha = 1;
  }

  // The other picture of the same part, on the same place, right of the wipe.
  drawOther(context, layout, ratio) {
    const at = layout.width * this.wipe;
    context.save();
    context.beginPath();
    context.rect(at, 0, layout.width - at, layout.height);
    context.clip();
    context.clearRect(at, 0, layout.width - at, layout.height);
    this.other.draw(context, { ...layout, scale: (layout.scale * this.picture.size[1]) / this.other.size[1] }, ratio);
    context.restore();
    context.fillStyle = "#ffffff";
    context.fillRect(at - 1, 0, 2, layout.height);
  }

  fetchAhead({ width, height }) {
    if (!this.ahead) return;
    const next = pictureAt(this.ahead, this.ticket);
    pictureAt(this.picture.base, this.ticket); // stays the newest of those that are kept
    next.opening.then(() => {
      const scale = Math.min((width - 2 * MARGIN_PX) / next.size[1], (height - 2 * MARGIN_PX) / next.size[0]);
      const [w, h] = [next.size[1] * scale, next.size[0] * scale];
      next.want({ width, height, scale, left: (width - w) / 2, top: (height - h) / 2 }, window.devicePixelRatio || 1);
    });
    this.ahead = "";
  }
}

function isControl(event) {
  return event.target.tagName === "INPUT";
}

function freshContext(canvas, { width, height }, ratio) {
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-image");
  if (root.viewer?.base !== data.base) root.viewer = new ImageViewer(root, data);
  root.viewer.update(data, setTriggerValue);
  const onKey = (event) => root.viewer.onKey(event);
  document.addEventListener("keydown", onKey, true);
  return () => document.removeEventListener("keydown", onKey, true);
}
