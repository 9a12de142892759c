// What is drawn over the pixels: crosshair, finding circles, scale bar.

const CROSS_GAP = 14;

function line(context, x0, y0, x1, y1) {
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
}

function drawCross(context, view, box) {
  const [x, y] = view.toScreen(view.viewer.cross, box);
  context.beginPath();
  line(context, 0, y, x - CROSS_GAP, y);
  line(context, x + CROSS_GAP, y, box.width, y);
  line(context, x, 0, x, y - CROSS_GAP);
  line(context, x, y + CROSS_GAP, x, box.height);
  context.strokeStyle = "rgba(96, 190, 235, 0.42)";
  context.lineWidth = 1;
  context.stroke();
}

function drawCircles(context, circles, selected) {
  context.font = "600 12px system-ui, sans-serif";
  for (const { finding, x, y, r } of circles) {
    const chosen = finding.id === selected;
    const colour = STATE_COLOURS[finding.state] ?? STATE_COLOURS.new;
    context.setLineDash(finding.state === "reject" ? [5, 4] : []);
    if (chosen) {
      context.beginPath();
      context.arc(x, y, r + 4, 0, 2 * Math.PI);
      context.strokeStyle = "rgba(255, 255, 255, 0.55)";
      context.lineWidth = 1;
      context.stroke();
    }
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.strokeStyle = colour;
    context.lineWidth = chosen ? 2.25 : 1.5;
    context.stroke();
    context.setLineDash([]);
    markText(context, String(finding.number), x + r * 0.71 + 5, y - r * 0.71 - 3, colour);
  }
}

function markText(context, text, x, y, colour) {
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function drawScaleBar(context, box) {
  const lengths = [1, 2, 5, 10, 20, 50, 100, 200];
  const mm = lengths.filter((length) => length * box.pxPerMm <= box.width * 0.28).pop();
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
