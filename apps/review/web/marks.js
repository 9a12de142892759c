// What is drawn over the pixels: crosshair, finding circles, scale bar.

const CROSS_GAP = 14;
const LEAST_RADIUS_PX = 6;
const HIT_PX = 5;
const SIZES_MM = [1, 2, 5, 10, 20, 50, 100, 200];

function line(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

function drawCross(context, view, box) {
  const [x, y] = view.toScreen(view.scan.cross, box);
  context.beginPath();
  line(context, 0, y, x - CROSS_GAP, y);
  line(context, x + CROSS_GAP, y, box.width, y);
  line(context, x, 0, x, y - CROSS_GAP);
  line(context, x, y + CROSS_GAP, x, box.height);
  context.strokeStyle = "rgba(96, 190, 235, 0.42)";
  context.lineWidth = 1;
  context.stroke();
}

// A finding is a ball: each slice shows the circle that it cuts out of it, smaller towards its ends.
function circlesOf(view, box) {
  const { plane, scan } = view;
  const at = view.index();
  const half = Math.max(plane.normalMm / 2, (view.viewer.slabSlices(plane) * plane.normalMm) / 2);
  return scan.findings.flatMap((finding) => {
    const away = Math.max(0, Math.abs(at - finding.index[plane.axis]) * plane.normalMm - half + plane.normalMm / 2);
    const radius = finding.diameter / 2;
    if (away > Math.max(radius, plane.normalMm / 2)) return [];
    const [x, y] = view.toScreen(finding.index, box);
    const cut = Math.sqrt(Math.max(0, radius * radius - away * away));
    return [{ finding, x, y, r: Math.max(LEAST_RADIUS_PX, cut * box.pxPerMm) }];
  });
}

// Findings of the scan on the desk can be chosen; those of another beside it are there to be seen.
function circleUnder(view, event) {
  if (view.scan !== view.viewer.scan) return null;
  const rect = view.stage.getBoundingClientRect();
  const [x, y] = [event.clientX - rect.left, event.clientY - rect.top];
  const near = circlesOf(view, view.layout())
    .map((circle) => ({ ...circle, gap: Math.hypot(x - circle.x, y - circle.y) - circle.r }))
    .filter((circle) => circle.gap < HIT_PX && circle.finding.id !== view.viewer.selected);
  near.sort((a, b) => a.gap - b.gap);
  return near.length ? near[0].finding : null;
}

function drawCircles(context, circles, selected) {
  context.font = "600 12px system-ui, sans-serif";
  for (const { finding, x, y, r } of circles) {
    const chosen = finding.id === selected;
    const colour = STATE_COLOURS[finding.state] ?? STATE_COLOURS.new;
    context.setLineDash(finding.state === "reject" ? [5, 4] : []);
    if (chosen) ring(context, x, y, r + 4, "rgba(255, 255, 255, 0.55)", 1);
    ring(context, x, y, r, colour, chosen ? 2.25 : 1.5);
    context.setLineDash([]);
    const text = [finding.number, percent(finding.probability)].filter(Boolean).join(" · ");
    markText(context, text, x + r * 0.71 + 5, y - r * 0.71 - 3, colour);
  }
}

function ring(context, x, y, r, colour, width) {
  context.beginPath();
  context.arc(x, y, r, 0, 2 * Math.PI);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function markText(context, text, x, y, colour) {
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawScaleBar(context, box) {
  const mm = SIZES_MM.filter((length) => length * box.pxPerMm <= box.width * 0.28).pop();
  if (!mm) return;
  const [x, y, w] = [box.width - 14 - mm * box.pxPerMm, box.height - 12, mm * box.pxPerMm];
  context.beginPath();
  line(context, x, y - 4, x, y);
  line(context, x, y, x + w, y);
  line(context, x + w, y, x + w, y - 4);
  for (const [colour, width] of [["rgba(0, 0, 0, 0.7)", 3.5], ["rgba(230, 236, 242, 0.9)", 1.25]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  }
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "right";
  markText(context, `${mm} mm`, x + w, y - 7, "rgba(230, 236, 242, 0.9)");
  context.textAlign = "left";
}
