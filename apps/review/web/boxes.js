// Boxes of findings: [x0, y0, x1, y1] in pixels of the image, from 0, the end not included.

const HANDLE_PX = 9;
const REACH_PX = 9;
const HANDLES = [["left", "top"], ["", "top"], ["right", "top"], ["right", ""], ["right", "bottom"], ["", "bottom"], ["left", "bottom"], ["left", ""]];

function onScreen(box, { left, top, scale }) {
  return box.map((at, i) => (i % 2 ? top : left) + at * scale);
}

function handlePlace([across, down], [x0, y0, x1, y1]) {
  const x = { left: x0, right: x1 }[across] ?? (x0 + x1) / 2;
  const y = { top: y0, bottom: y1 }[down] ?? (y0 + y1) / 2;
  return [x, y];
}

// The handle under a point of the screen, ["", ""] for the inside, null outside.
function handleAt(box, layout, [x, y]) {
  const shown = onScreen(box, layout);
  const near = HANDLES.map((handle) => {
    const place = handlePlace(handle, shown);
    return { handle, far: Math.hypot(place[0] - x, place[1] - y) };
  }).sort((a, b) => a.far - b.far)[0];
  if (near.far <= REACH_PX) return near.handle;
  return x >= shown[0] && x < shown[2] && y >= shown[1] && y < shown[3] ? ["", ""] : null;
}

function clamp(at, low, high) {
  return Math.max(low, Math.min(high, at));
}

// Move a box, or the sides that a handle holds; it keeps at least a pixel and stays inside.
function changed(box, [across, down], [dx, dy], [height, width]) {
  const [x0, y0, x1, y1] = box;
  if (!across && !down) {
    const [mx, my] = [clamp(dx, -x0, width - x1), clamp(dy, -y0, height - y1)];
    return [x0 + mx, y0 + my, x1 + mx, y1 + my];
  }
  return [
    across === "left" ? clamp(x0 + dx, 0, x1 - 1) : x0,
    down === "top" ? clamp(y0 + dy, 0, y1 - 1) : y0,
    across === "right" ? clamp(x1 + dx, x0 + 1, width) : x1,
    down === "bottom" ? clamp(y1 + dy, y0 + 1, height) : y1,
  ];
}

function wholePixels(box, [height, width]) {
  const [x0, y0] = [clamp(Math.round(box[0]), 0, width - 1), clamp(Math.round(box[1]), 0, height - 1)];
  return [x0, y0, clamp(Math.round(box[2]), x0 + 1, width), clamp(Math.round(box[3]), y0 + 1, height)];
}

function spanned([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
}

function smallestAt(findings, [x, y]) {
  const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
  const inside = findings.filter(({ box }) => x >= box[0] && x < box[2] && y >= box[1] && y < box[3]);
  return inside.sort((a, b) => area(a) - area(b))[0] ?? null;
}

function outline(context, [x0, y0, x1, y1], colour, width) {
  for (const [style, line] of [["rgba(0, 0, 0, 0.6)", width + 2], [colour, width]]) {
    context.strokeStyle = style;
    context.lineWidth = line;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
}

function drawBox(context, finding, layout, isChosen) {
  const shown = onScreen(finding.box, layout);
  const colour = STATE_COLOURS[finding.state] ?? STATE_COLOURS.new;
  context.setLineDash(finding.state === "reject" ? [6, 4] : []);
  outline(context, shown, colour, isChosen ? 2.5 : 1.5);
  context.setLineDash([]);
  boxText(context, `${finding.number} ${finding.label} ${percent(finding.probability)}`, shown, colour);
}

function boxText(context, text, [x0, y0], colour) {
  context.font = "600 12px system-ui, sans-serif";
  const top = Math.max(0, y0 - 20);
  context.fillStyle = "rgba(10, 14, 18, 0.82)";
  context.fillRect(x0 - 1, top, context.measureText(text).width + 12, 19);
  context.fillStyle = colour;
  context.fillText(text, x0 + 5, top + 13.5);
}

function drawEdited(context, box, layout, text) {
  const shown = onScreen(box, layout);
  outline(context, shown, "#ffffff", 2);
  for (const handle of HANDLES) {
    const [x, y] = handlePlace(handle, shown);
    context.fillStyle = "#ffffff";
    context.strokeStyle = "#0b0e11";
    context.lineWidth = 1.5;
    context.fillRect(x - HANDLE_PX / 2, y - HANDLE_PX / 2, HANDLE_PX, HANDLE_PX);
    context.strokeRect(x - HANDLE_PX / 2, y - HANDLE_PX / 2, HANDLE_PX, HANDLE_PX);
  }
  boxText(context, text, shown, "#ffffff");
}
