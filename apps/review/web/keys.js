// The help overlay of a viewer: what keys and hands do.

const CT_KEYS = [
  ["Scroll", [
    ["Wheel, ↑ ↓, slider", "previous and next slice"],
    ["PageUp, PageDown", "ten slices"],
    ["Home, End", "first and last slice"],
  ]],
  ["Look", [
    ["1 to 5", "window: lung, soft tissue, bone, liver, brain"],
    ["Right drag, Shift and drag", "window: sideways width, up and down level"],
    ["Ctrl and wheel", "zoom; on a Mac ⌘ too"],
    ["Middle drag, Ctrl and drag", "move the picture"],
    ["m", "MIP slab on and off"],
    ["Double click, e", "enlarge this plane, and back"],
    ["f", "fit: zoom, place and window as at the start"],
    ["h", "hide and show findings"],
  ]],
  ["Find", [
    ["Click, drag", "crosshair in all planes; on a circle: choose that finding"],
    ["n, p", "next and previous finding"],
    ["a, x, u, z", "accept, reject, unsure, undo"],
  ]],
  ["Measure", [
    ["l", "length: drag from end to end; ends can be moved"],
    ["d", "diameter: drag from edge to edge, or click for 6 mm; then Add finding"],
    ["Delete", "delete the measurement that is chosen"],
    ["c, Escape", "back to the crosshair"],
  ]],
  ["Touch", [
    ["One finger", "scroll; tap: crosshair or finding; with another tool: that tool"],
    ["Two fingers", "move and zoom"],
  ]],
];

class HelpOverlay {
  constructor(title, sections) {
    this.root = make("dialog", "mv-help");
    this.root.setAttribute("aria-label", title);
    const close = make("button", "mv-tool", "Close");
    close.addEventListener("click", () => this.root.close());
    this.root.addEventListener("click", (event) => {
      if (event.target === this.root) this.root.close();
    });
    const body = make("div", "mv-help-body");
    body.append(...sections.map(([name, rows]) => this.section(name, rows)));
    const head = make("header", "mv-help-head");
    head.append(make("strong", "", title), close);
    this.root.append(head, body);
  }

  section(name, rows) {
    const part = make("section", "mv-help-part");
    const list = make("dl", "mv-help-rows");
    for (const [keys, what] of rows) list.append(make("dt", "", keys), make("dd", "", what));
    part.append(make("h3", "mv-heading", name), list);
    return part;
  }

  toggle() {
    if (this.root.open) this.root.close();
    else this.root.showModal();
  }
}
