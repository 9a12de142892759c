// The worklist: one row a case, every row a link.

const COLUMNS = ["Case", "Kind", "Verdict", "Label", "Findings", "Reviewed", "Scanned"];

function countTiles(data) {
  const tiles = make("div", "mv-counts");
  for (const [name, value] of data.counts) {
    const tile = make("div", "mv-count");
    tile.append(make("strong", "", value.toLocaleString("en")), make("span", "", name));
    tiles.append(tile);
  }
  return tiles;
}

function caseCell(row, data, send) {
  const cell = make("td", "mv-case");
  const link = make("a", "mv-link", row.source);
  link.href = `${data.review}?case=${encodeURIComponent(row.id)}`;
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    send("opened", row.id);
  });
  cell.append(link, make("span", "mv-id", row.id));
  if (row.held) cell.append(make("span", "mv-held", row.held));
  if (row.why) cell.append(make("span", "mv-why", row.why));
  if (row.message) cell.append(make("span", "mv-message", row.message));
  return cell;
}

function reviewedCell(row) {
  const cell = make("td", "mv-progress");
  const bar = make("span", "mv-bar");
  const done = make("span", "mv-done");
  done.style.width = row.findings ? `${(100 * row.reviewed) / row.findings}%` : "0";
  bar.append(done);
  cell.append(bar, make("span", "mv-figure", row.findings ? `${row.reviewed} of ${row.findings}` : "–"));
  return cell;
}

function caseRow(row, data, send) {
  const line = make("tr", "mv-line");
  line.dataset.case = row.id;
  const verdict = make("td");
  const badge = make("span", "mv-verdict", row.verdict);
  badge.dataset.verdict = row.verdict;
  verdict.append(badge);
  const label = make("td", "mv-label", row.label ? `${row.label} ${percent(row.probability)}` : "–");
  const when = make("td", "mv-when", localTime(row.scanned).slice(0, 16));
  line.append(caseCell(row, data, send), make("td", "", row.kind === "ct" ? "CT" : "image"), verdict, label,
    make("td", "mv-figure", row.findings), reviewedCell(row), when);
  line.addEventListener("click", (event) => {
    if (!event.target.closest("a")) send("opened", row.id);
  });
  return line;
}

function caseTable(data, send) {
  const table = make("table", "mv-table");
  const head = make("tr");
  head.append(...COLUMNS.map((name) => make("th", "", name)));
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  body.append(...data.rows.map((row) => caseRow(row, data, send)));
  table.append(top, body);
  return table;
}

// A plain table: rows of text, figures to the right.
function plainTable(data) {
  const box = make("section", "mv-plain");
  if (data.heading) box.append(make("h2", "mv-heading", data.heading));
  if (!data.rows.length) return box;
  const table = make("table", "mv-table");
  const head = make("tr");
  head.append(...data.columns.map((name) => make("th", "", name)));
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  for (const row of data.rows) {
    const line = make("tr");
    line.append(...row.map((value, place) => make("td", data.figures.includes(place) ? "mv-figure" : "", cellText(value, data, place))));
    body.append(line);
  }
  table.append(top, body);
  box.append(table);
  return box;
}

function cellText(value, data, place) {
  if (value === null) return "–";
  return data.moments.includes(place) ? localTime(value) : value;
}

function partOf(data, send) {
  if (data.part === "counts") return countTiles(data);
  return data.part === "table" ? plainTable(data) : caseTable(data, send);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-worklist");
  const parts = [partOf(data, setTriggerValue)];
  if (data.empty) parts.push(make("p", "mv-empty", data.empty));
  root.replaceChildren(...parts);
}
