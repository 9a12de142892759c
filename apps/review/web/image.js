// The image viewer: zoom and pan, boxes of findings, heat map with opacity.

const HEAT_STOPS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

function heatColour(value) {
  const at = value * (HEAT_STOPS.length - 1);
  const low = Math.min(HEAT_STOPS.length - 2, Math.floor(at));
  return HEAT_STOPS[low].map((channel, i) => channel + (HEAT_STOPS[low + 1][i] - channel) * (at - low));
}

function colourHeat(picture) {
  const canvas = make("canvas");
  Object.assign(canvas, { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const value = pixels.data[i];
    pixels.data.set([...heatColour(value / 255), value], i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

async function loadPicture(url, token) {
  const response = await fetch(url, { headers: { "X-Medvit-Token": token } });
  if (!response.ok) throw new Error(await failureOf(response));
  const picture = await createImageBitmap(await response.blob());
  const side = (name, own) => Number(response.headers.get(name)) || own;
  return { picture, size: [side("X-Image-Height", picture.height), side("X-Image-Width", picture.width)] };
}

class ImageViewer {
  constructor(root, data) {
    this.root = root;
    this.size = [1, 1];
    this.findings = [];
    this.zoom = 1;
    this.pan = [0, 0];
    this.opacity = 0.4;
    this.showBoxes = true;
    this.build(data);
    this.load(data);
  }

  build(data) {
    this.bar = make("div", "mv-toolbar");
    this.slider = make("input", "mv-opacity");
    Object.assign(this.slider, { type: "range", min: 0, max: 100, value: 40, step: 1, disabled: !data.heat });
    this.slider.setAttribute("aria-label", "Heat map opacity");
    this.slider.addEventListener("input", () => this.setOpacity());
    this.heatText = make("span", "mv-readout", data.heat ? "40 %" : "no heat map");
    const boxes = make("button", "mv-tool", "Boxes");
    boxes.setAttribute("aria-pressed", "true");
    boxes.addEventListener("click", () => this.toggleBoxes(boxes));
    const tools = [["−", "Zoom out", () => this.zoomBy(1 / 1.4)], ["+", "Zoom in", () => this.zoomBy(1.4)],
      ["Reset view", "Fit the image", () => this.reset()]];
    const buttons = tools.map(([text, title, action]) => {
      const button = make("button", "mv-tool", text);
      button.title = title;
      button.setAttribute("aria-label", title);
      button.addEventListener("click", action);
      return button;
    });
    this.bar.append(make("label", "mv-caption", "Heat map"), this.slider, this.heatText, make("span", "mv-space"), boxes, ...buttons);
    this.stage = make("section", "mv-stage mv-image-stage");
    this.canvas = make("canvas", "mv-canvas");
    this.failure = make("p", "mv-failure", "");
    this.stage.append(this.canvas, this.failure);
    this.status = make("div", "mv-status");
    this.under = make("span", "mv-under", "");
    this.heatState = make("span", "mv-hint", "");
    this.place = make("span", "mv-place", "");
    this.status.append(this.place, this.under, make("span", "mv-space"), this.heatState);
    this.root.replaceChildren(this.bar, this.stage, this.status);
    this.listen();
  }

  listen() {
    this.stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.onPress(event));
    this.stage.addEventListener("pointermove", (event) => this.hover(event));
    this.stage.addEventListener("dblclick", () => this.reset());
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  async load(data) {
    try {
      const { picture, size } = await loadPicture(data.image, data.token);
      Object.assign(this, { picture, size });
      this.place.textContent = `${size[1]} x ${size[0]} pixels`;
      this.root.dataset.shown = "image";
      this.draw();
    } catch (error) {
      this.failure.textContent = `This image cannot be shown: ${error.message}`;
      return;
    }
    if (data.heat) await this.loadHeat(data);
  }

  async loadHeat(data) {
    this.heatState.textContent = "computing the heat map…";
    try {
      this.heat = colourHeat((await loadPicture(data.heat, data.token)).picture);
      this.root.dataset.shown = "heat";
      this.heatState.textContent = `heat map by ${data.model}`;
    } catch (error) {
      this.heatState.textContent = `No heat map: ${error.message}`;
      this.slider.disabled = true;
    }
    this.draw();
  }

  update(data, send) {
    this.send = send;
    this.findings = data.findings.filter((finding) => finding.box);
    this.selected = data.selected;
    this.draw();
  }

  setOpacity() {
    this.opacity = Number(this.slider.value) / 100;
    this.heatText.textContent = `${this.slider.value} %`;
    this.draw();
  }

  toggleBoxes(button) {
    this.showBoxes = !this.showBoxes;
    button.setAttribute("aria-pressed", String(this.showBoxes));
    this.draw();
  }

  reset() {
    this.zoom = 1;
    this.pan = [0, 0];
    this.draw();
  }

  layout() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const scale = Math.min((width - 32) / this.size[1], (height - 32) / this.size[0]) * this.zoom;
    const [w, h] = [this.size[1] * scale, this.size[0] * scale];
    return { width, height, scale, w, h, left: (width - w) / 2 + this.pan[0], top: (height - h) / 2 + this.pan[1] };
  }

  zoomBy(factor, x = 0, y = 0) {
    const next = Math.max(1, Math.min(64, this.zoom * factor));
    const grow = next / this.zoom;
    this.pan = next === 1 ? [0, 0] : [x - (x - this.pan[0]) * grow, y - (y - this.pan[1]) * grow];
    this.zoom = next;
    this.draw();
  }

  onWheel(event) {
    event.preventDefault();
    const rect = this.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - rect.left - rect.width / 2, event.clientY - rect.top - rect.height / 2];
    this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, x, y);
  }

  onPress(event) {
    if (event.button > 1) return;
    event.preventDefault();
    const start = { x: event.clientX, y: event.clientY, pan: [...this.pan], moved: false };
    const move = (now) => {
      const [dx, dy] = [now.clientX - start.x, now.clientY - start.y];
      start.moved ||= Math.hypot(dx, dy) > 4;
      if (!start.moved) return;
      this.pan = [start.pan[0] + dx, start.pan[1] + dy];
      this.draw();
    };
    const stop = (now) => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", stop);
      if (!start.moved) this.onClick(now);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", stop);
  }

  pixelAt(event) {
    const [box, rect] = [this.layout(), this.stage.getBoundingClientRect()];
    const x = (event.clientX - rect.left - box.left) / box.scale;
    const y = (event.clientY - rect.top - box.top) / box.scale;
    return x >= 0 && y >= 0 && x < this.size[1] && y < this.size[0] ? [x, y] : null;
  }

  hover(event) {
    const at = this.picture ? this.pixelAt(event) : null;
    this.under.textContent = at ? `x ${Math.floor(at[0])}  y ${Math.floor(at[1])}` : "";
  }

  onClick(event) {
    const at = this.pixelAt(event);
    if (!at || !this.showBoxes) return;
    const inside = this.findings.filter(({ box }) => at[0] >= box[0] && at[0] < box[2] && at[1] >= box[1] && at[1] < box[3]);
    inside.sort((a, b) => (a.box[2] - a.box[0]) * (a.box[3] - a.box[1]) - (b.box[2] - b.box[0]) * (b.box[3] - b.box[1]));
    if (inside.length) this.send("picked", inside[0].id);
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
    if (!this.picture) return;
    context.imageSmoothingEnabled = box.scale < 8;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, box.left, box.top, box.w, box.h);
    if (this.heat && this.opacity > 0) {
      context.imageSmoothingEnabled = true;
      context.globalAlpha = this.opacity;
      context.drawImage(this.heat, box.left, box.top, box.w, box.h);
      context.globalAlpha = 1;
    }
    if (this.showBoxes) this.findings.forEach((finding) => this.drawBox(context, finding, box));
  }

  drawBox(context, finding, box) {
    const [x0, y0, x1, y1] = finding.box.map((at, i) => (i % 2 ? box.top : box.left) + at * box.scale);
    const chosen = finding.id === this.selected;
    const colour = STATE_COLOURS[finding.state] ?? STATE_COLOURS.new;
    context.setLineDash(finding.state === "reject" ? [6, 4] : []);
    context.strokeStyle = "rgba(0, 0, 0, 0.6)";
    context.lineWidth = chosen ? 4.5 : 3.5;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.strokeStyle = colour;
    context.lineWidth = chosen ? 2.5 : 1.5;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
    context.font = "600 12px system-ui, sans-serif";
    const text = `${finding.number} ${finding.label} ${percent(finding.probability)}`;
    const wide = context.measureText(text).width + 12;
    const top = Math.max(0, y0 - 20);
    context.fillStyle = "rgba(10, 14, 18, 0.82)";
    context.fillRect(x0 - 1, top, wide, 19);
    context.fillStyle = colour;
    context.fillText(text, x0 + 5, top + 13.5);
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-image");
  root.viewer ??= new ImageViewer(root, data);
  root.viewer.update(data, setTriggerValue);
}
