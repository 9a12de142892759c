// What hands do on a plane: mouse, wheel and touch become scrolling, windowing, panning, drawing.

const DRAG_PX = 4;
const WHEEL_PX = 30;
const TOUCH_SLICE_PX = 14;
const MOST_ZOOM = 24;

function listenTo(view) {
  const { stage, viewer } = view;
  const hand = new Hand(view);
  stage.addEventListener("wheel", (event) => hand.onWheel(event), { passive: false });
  stage.addEventListener("pointerdown", (event) => hand.onDown(event));
  stage.addEventListener("pointermove", (event) => hand.onMove(event));
  stage.addEventListener("pointerup", (event) => hand.onUp(event));
  stage.addEventListener("pointercancel", (event) => hand.onUp(event, true));
  stage.addEventListener("pointerleave", () => viewer.hover(null));
  stage.addEventListener("pointerenter", () => viewer.activate(view));
  stage.addEventListener("focus", () => viewer.activate(view));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("dblclick", () => viewer.enlarge(view));
}

class Hand {
  constructor(view) {
    this.view = view;
    this.fingers = new Map();
    this.drag = null;
    this.wheel = 0;
  }

  onWheel(event) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      this.zoomAt(event.clientX, event.clientY, event.deltaY < 0 ? 1.2 : 1 / 1.2);
      return;
    }
    this.wheel += event.deltaMode === 1 ? event.deltaY * WHEEL_PX : event.deltaY;
    if (Math.abs(this.wheel) < WHEEL_PX) return;
    this.view.scroll(this.wheel > 0 ? 1 : -1);
    this.wheel = 0;
  }

  onDown(event) {
    event.preventDefault();
    this.view.stage.focus({ preventScroll: true });
    this.view.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.fingers.size === 2) this.pinch();
    else if (this.fingers.size === 1) this.begin(event);
  }

  begin(event) {
    const { view } = this;
    this.drag = {
      what: this.meaning(event), x: event.clientX, y: event.clientY, moved: false,
      pan: [...view.pan], window: { ...view.viewer.window }, index: view.index(),
    };
    if (this.isDrawing()) view.viewer.measures.begin(view, this.drag.what, event);
  }

  meaning(event) {
    const { tool } = this.view.viewer;
    if (event.button === 1) return "pan";
    if (event.button === 2 || event.shiftKey) return "window";
    if (event.ctrlKey || event.metaKey) return "pan";
    return event.pointerType === "touch" && tool === "cross" ? "scroll" : tool;
  }

  isDrawing() {
    return this.drag?.what === "length" || this.drag?.what === "diameter";
  }

  onMove(event) {
    if (!this.fingers.has(event.pointerId)) {
      this.view.viewer.hover(this.view, event);
      return;
    }
    this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.two) this.spread();
    else if (this.drag) this.pull(event);
  }

  pull(event) {
    const { drag, view } = this;
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(dx, dy) < DRAG_PX) return;
    drag.moved = true;
    if (this.isDrawing()) view.viewer.measures.pull(view, event);
    else if (drag.what === "pan") this.panTo(drag.pan[0] + dx, drag.pan[1] + dy);
    else if (drag.what === "scroll") view.goTo(drag.index + Math.round(dy / TOUCH_SLICE_PX));
    else if (drag.what === "window") view.viewer.setWindow(drag.window.centre + dy * 2, drag.window.width + dx * 4);
    else this.cross(event);
  }

  onUp(event, isCancelled = false) {
    this.fingers.delete(event.pointerId);
    if (this.two) {
      this.two = this.fingers.size ? this.two : null;
      return;
    }
    const { drag } = this;
    if (!drag) return;
    if (this.isDrawing()) this.view.viewer.measures.end(this.view, event, isCancelled);
    else if (!drag.moved && !isCancelled && ["cross", "scroll"].includes(drag.what)) this.click(event);
    this.drag = null;
  }

  click(event) {
    const { view } = this;
    const hit = view.viewer.showFindings ? circleUnder(view, event) : null;
    if (hit) view.viewer.pick(hit);
    else this.cross(event);
  }

  cross(event) {
    const index = this.view.toIndex(event);
    if (index) this.view.viewer.moveTo(this.view.scan, index);
    this.view.viewer.hover(this.view, event);
  }

  panTo(x, y) {
    this.view.setView(this.view.zoom, [x, y]);
  }

  pinch() {
    if (this.isDrawing()) this.view.viewer.measures.cancel();
    this.drag = null;
    this.two = this.grip();
  }

  grip() {
    const [a, b] = [...this.fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, gap: Math.max(20, Math.hypot(a[0] - b[0], a[1] - b[1])) };
  }

  spread() {
    if (this.fingers.size !== 2) return;
    const now = this.grip();
    const { pan } = this.view;
    this.panTo(pan[0] + now.x - this.two.x, pan[1] + now.y - this.two.y);
    this.zoomAt(now.x, now.y, now.gap / this.two.gap);
    this.two = now;
  }

  zoomAt(clientX, clientY, factor) {
    const { view } = this;
    const rect = view.stage.getBoundingClientRect();
    const next = Math.max(1, Math.min(MOST_ZOOM, view.zoom * factor));
    const grow = next / view.zoom;
    const [x, y] = [clientX - rect.left - rect.width / 2, clientY - rect.top - rect.height / 2];
    view.setView(next, next === 1 ? [0, 0] : [x - (x - view.pan[0]) * grow, y - (y - view.pan[1]) * grow]);
  }
}
