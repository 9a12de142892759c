// What part of an image is seen: the middle of the window in pixels of the image, and a scale.

const MARGIN_PX = 16;
const LARGEST_SCALE = 40;

class ImageView {
  constructor(stage) {
    Object.assign(this, { stage, size: [1, 1], centre: [0.5, 0.5], scale: null });
  }

  fitScale() {
    const room = (length) => Math.max(8, length - 2 * MARGIN_PX);
    return Math.min(room(this.stage.clientWidth) / this.size[1], room(this.stage.clientHeight) / this.size[0]);
  }

  fit(size = this.size) {
    Object.assign(this, { size, centre: [size[1] / 2, size[0] / 2], scale: null });
  }

  layout() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const scale = this.scale ?? this.fitScale();
    return { width, height, scale, left: width / 2 - this.centre[0] * scale, top: height / 2 - this.centre[1] * scale };
  }

  // Zoom so that the point under the pointer stays under it; nothing is smaller than the fit.
  zoomBy(factor, point = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const before = this.toImage(point);
    const now = this.layout().scale * factor;
    const fit = this.fitScale();
    if (now <= fit * 1.001) return this.fit();
    this.scale = Math.min(now, Math.max(LARGEST_SCALE, fit * 4));
    const after = this.toImage(point);
    this.moveTo([this.centre[0] + before[0] - after[0], this.centre[1] + before[1] - after[1]]);
    return undefined;
  }

  panBy(dx, dy) {
    if (this.scale === null) return;
    this.moveTo([this.centre[0] - dx / this.scale, this.centre[1] - dy / this.scale]);
  }

  moveTo([x, y]) {
    this.centre = [clamp(x, 0, this.size[1]), clamp(y, 0, this.size[0])];
  }

  // Bring a box into sight when it is not.
  show([x0, y0, x1, y1]) {
    const { width, height, scale, left, top } = this.layout();
    const inside = left + x0 * scale >= 0 && top + y0 * scale >= 0 && left + x1 * scale <= width && top + y1 * scale <= height;
    if (!inside) this.moveTo([(x0 + x1) / 2, (y0 + y1) / 2]);
  }

  toImage([x, y]) {
    const { scale, left, top } = this.layout();
    return [(x - left) / scale, (y - top) / scale];
  }

  pixelAt(point) {
    const [x, y] = this.toImage(point);
    return x >= 0 && y >= 0 && x < this.size[1] && y < this.size[0] ? [x, y] : null;
  }

  pointOf(event) {
    const rect = this.stage.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  }
}
