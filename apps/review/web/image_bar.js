// The frame of the image viewer: bar above, line below, pictures beside.

function slider(name, value, [min, max], onInput) {
  const box = make("label", "mv-slide");
  const input = make("input", "mv-opacity");
  Object.assign(input, { type: "range", min, max, step: 1, value });
  input.setAttribute("aria-label", name);
  input.addEventListener("input", () => onInput(Number(input.value)));
  box.append(make("span", "mv-caption", name.split(" ")[0]), input);
  return { box, input };
}

function tool(text, title, key, onClick) {
  const button = make("button", "mv-tool", text);
  button.title = key ? `${title} (${key})` : title;
  button.setAttribute("aria-label", title);
  if (key && text.length > 1) button.append(make("kbd", "mv-key", key));
  button.addEventListener("click", onClick);
  return button;
}

function buildViewer(viewer, data) {
  const { look } = viewer;
  const set = (name) => (value) => viewer.act(() => { look[name] = value; });
  const heat = slider("Heat map opacity", look.opacity, [0, 100], set("opacity"));
  const light = slider("Light", look.light, [20, 300], set("light"));
  const contrast = slider("Contrast", look.contrast, [20, 400], set("contrast"));
  Object.assign(viewer, { opacity: heat.input, light: light.input, contrast: contrast.input });
  heat.input.disabled = !data.heat;
  viewer.boxes = tool("Boxes", "Show the boxes", "b", () => viewer.toggleBoxes());
  viewer.drawing = tool("Draw", "Draw a box that is missing", "d", () => viewer.startDrawing());
  viewer.adjust = tool("Adjust", "Move or resize the chosen box", "e", () => viewer.startAdjusting());
  const zoom = (factor) => () => viewer.act(() => viewer.view.zoomBy(factor));
  const bar = make("div", "mv-toolbar");
  bar.append(heat.box, light.box, contrast.box, make("span", "mv-space"), ...comparison(viewer, data), viewer.boxes, viewer.drawing,
    viewer.adjust, tool("−", "Zoom out", "-", zoom(1 / ZOOM_STEP)), tool("+", "Zoom in", "+", zoom(ZOOM_STEP)),
    tool("Fit", "Fit the image", "0", () => viewer.act(() => resetLook(viewer))));
  viewer.stage = make("section", "mv-stage mv-image-stage");
  viewer.stage.tabIndex = 0;
  viewer.stage.setAttribute("role", "application");
  viewer.stage.setAttribute("aria-label", "Image. Arrows pan, plus and minus zoom, 0 fits, d draws a box, e adjusts the chosen one.");
  [viewer.pixels, viewer.marks] = [make("canvas", "mv-canvas"), make("canvas", "mv-canvas")];
  viewer.failure = make("p", "mv-failure", "");
  viewer.stage.append(viewer.pixels, viewer.marks, viewer.failure);
  viewer.root.replaceChildren(bar, viewer.stage, statusLine(viewer), ...neighbourStrip(data));
}

function resetLook(viewer) {
  viewer.view.fit();
  Object.assign(viewer.look, { light: KEPT_LOOK.light, contrast: KEPT_LOOK.contrast });
}

function statusLine(viewer) {
  const line = make("div", "mv-status");
  viewer.place = make("span", "mv-place", "");
  viewer.zoomText = make("span", "", "");
  viewer.under = make("span", "mv-under", "");
  viewer.heatState = make("span", "mv-hint", "");
  line.append(viewer.place, viewer.zoomText, viewer.under, make("span", "mv-space"), viewer.heatState);
  return line;
}

// A button for each other picture of the part: pressed, it lies right of the wipe.
function comparison(viewer, data) {
  if (!data.partners.length) return [];
  const choice = make("select", "mv-tool");
  choice.setAttribute("aria-label", "Compare with");
  choice.append(...data.partners.map(({ base, source }) => Object.assign(make("option", "", source.split("/").pop()), { value: base })));
  const wipe = slider("Wipe", 50, [0, 100], (value) => viewer.act(() => { viewer.wipe = value / 100; }));
  wipe.box.hidden = true;
  const button = tool("Compare", "Lay another picture of this part over it", "w", () => {
    wipe.box.hidden = Boolean(viewer.other);
    viewer.compare(viewer.other ? "" : choice.value);
  });
  choice.addEventListener("change", () => viewer.other && viewer.compare(choice.value));
  viewer.partners = button;
  return [wipe.box, ...(data.partners.length > 1 ? [choice] : []), button];
}

function neighbourStrip(data) {
  if (!data.neighbours.length) return [];
  const strip = make("div", "mv-strip");
  strip.append(make("span", "mv-caption", "Most alike, labelled"));
  for (const each of data.neighbours) {
    const link = make("a", "mv-alike");
    link.href = `review?case=${encodeURIComponent(each.id)}`;
    link.target = "_blank";
    link.title = each.source;
    const picture = make("img");
    picture.alt = "";
    const text = make("span", "", each.label || "no label");
    link.append(picture, text, make("span", "mv-caption", each.share.toFixed(2)));
    strip.append(link);
    loadThumbnail(picture, each.base, data.ticket);
  }
  return [strip];
}

async function loadThumbnail(picture, base, ticket) {
  const response = await fetch(`${base}/thumbnail`, { headers: { "X-Medvit-Ticket": ticket } });
  if (response.status === 202) setTimeout(() => loadThumbnail(picture, base, ticket), 1000);
  else if (response.ok) picture.src = URL.createObjectURL(await response.blob());
}

function showState(viewer, { scale }, isWhole) {
  const { look, root, editor } = viewer;
  for (const [input, value] of [[viewer.opacity, look.opacity], [viewer.light, look.light], [viewer.contrast, look.contrast]]) input.value = value;
  viewer.boxes.setAttribute("aria-pressed", String(look.boxes));
  viewer.drawing.setAttribute("aria-pressed", String(editor.isOn && !editor.target));
  viewer.adjust.setAttribute("aria-pressed", String(editor.isOn && Boolean(editor.target)));
  viewer.partners?.setAttribute("aria-pressed", String(Boolean(viewer.other)));
  viewer.zoomText.textContent = viewer.picture.levels.length ? `${(100 * scale).toPrecision(3)} %` : "";
  if (editor.isOn) viewer.under.textContent = editor.hint();
  viewer.stage.dataset.editing = editor.mode;
  root.dataset.box = editor.box ? editor.box.join(",") : "";
  root.dataset.shown = isWhole ? (viewer.heat ? "heat" : "image") : "";
  root.dataset.scale = scale.toPrecision(4);
}
