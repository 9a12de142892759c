// The panel beside a viewer: the chosen finding, the palette, the list, the history.

function factRow(name, value) {
  const row = make("div", "mv-fact");
  row.append(make("dt", "", name), make("dd", "", value));
  return row;
}

function drawCard(data) {
  const card = make("article", "mv-card");
  const { chosen } = data;
  card.dataset.about = chosen.about;
  const head = make("header", "mv-card-head");
  head.append(make("strong", "mv-card-title", chosen.title), stateBadge(chosen.state));
  const facts = make("dl", "mv-facts");
  facts.append(...chosen.facts.map(([name, value]) => factRow(name, value)));
  const saved = make("p", "mv-saved", "");
  if (chosen.saved) {
    saved.textContent = `saved by ${chosen.saved.by} at ${localTime(chosen.saved.at)}`;
    saved.classList.add("mv-on");
  } else {
    saved.textContent = "not decided yet";
  }
  card.append(head, facts, saved);
  return [card];
}

function drawPalette(data, send) {
  if (!data.classes.length) return [];
  const box = make("div", "mv-palette");
  data.classes.forEach((name, i) => {
    const chip = make("button", "mv-chip", name);
    if (i < 9) chip.prepend(make("kbd", "mv-key", i + 1));
    chip.dataset.digit = i < 9 ? String(i + 1) : "";
    chip.setAttribute("aria-pressed", String(name === data.label));
    chip.disabled = !data.allowed;
    chip.addEventListener("click", () => send("relabelled", { target: data.target, label: name, turn: data.turn }));
    box.append(chip);
  });
  return [box];
}

function drawList(data, send) {
  const list = make("ol", "mv-list");
  for (const finding of data.findings) {
    const item = make("li");
    const row = make("button", "mv-row");
    row.dataset.finding = finding.id;
    row.dataset.state = finding.state;
    row.setAttribute("aria-current", String(finding.id === data.selected));
    const middle = make("span", "mv-row-text");
    middle.append(make("span", "mv-row-label", finding.label), make("span", "mv-row-where", finding.where));
    row.append(make("span", "mv-row-number", finding.number), middle,
      make("span", "mv-row-probability", percent(finding.probability)), stateBadge(finding.state));
    row.addEventListener("click", () => send("picked", finding.id));
    item.append(row);
    list.append(item);
  }
  const empty = data.findings.length ? [] : [make("p", "mv-empty", data.empty)];
  return [make("h3", "mv-heading", data.heading), list, ...empty];
}

function drawHistory(data) {
  if (!data.history.length) return [];
  const list = make("ul", "mv-history");
  for (const entry of data.history) {
    const item = make("li");
    item.append(make("span", "mv-when", localTime(entry.at)), make("span", "mv-what", `${entry.what} by ${entry.by}`));
    const pace = [entry.reason, entry.seconds === null ? "" : `${entry.seconds.toFixed(1)} s`].filter(Boolean).join(", ");
    if (pace) item.append(make("span", "mv-pace", pace));
    if (entry.note) item.append(make("q", "mv-note", entry.note));
    list.append(item);
  }
  return [make("h3", "mv-heading", "History"), list];
}

function drawKnown(data) {
  const box = make("details", "mv-known");
  // Whether it is open is the reader's choice, not the finding's.
  box.open = sessionStorage.getItem("medvit.known") === "open";
  box.addEventListener("toggle", () => sessionStorage.setItem("medvit.known", box.open ? "open" : ""));
  const count = data.signals.length;
  box.append(make("summary", "mv-heading", count ? `Why this case, and how sure (${count})` : "Why this case, and how sure"));
  for (const [name, value, reason] of data.signals) {
    const signal = make("p", "mv-signal");
    signal.append(make("strong", "", `${name} ${value}`), make("span", "", reason));
    box.append(signal);
  }
  if (!count) box.append(make("p", "mv-empty", "No queue asked for this case: it comes in the order of the worklist."));
  const facts = make("dl", "mv-facts");
  facts.append(...data.facts.map(([name, value]) => factRow(name, value)));
  facts.append(...data.said.map(([reader, word]) => factRow(reader, word)));
  box.append(facts);
  return [box];
}

const PARTS = { card: drawCard, palette: drawPalette, list: drawList, history: drawHistory, known: drawKnown };

function keepInView(root) {
  const current = root.querySelector(".mv-row[aria-current=true]");
  const list = root.querySelector(".mv-list");
  if (!current || !list) return;
  const [row, box] = [current.getBoundingClientRect(), list.getBoundingClientRect()];
  if (row.top < box.top) list.scrollTop -= box.top - row.top;
  if (row.bottom > box.bottom) list.scrollTop += row.bottom - box.bottom;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-part");
  const scrolled = root.querySelector(".mv-list")?.scrollTop ?? 0;
  root.replaceChildren(...PARTS[data.part](data, setTriggerValue));
  const list = root.querySelector(".mv-list");
  if (list) list.scrollTop = scrolled;
  keepInView(root);
}
