// Another scan beside the one on the desk: chosen, shown, and scrolled along by mm.

class Comparison {
  constructor(viewer) {
    this.viewer = viewer;
    this.scan = null;
    this.offset = [0, 0, 0];
    this.isLinked = true;
    this.build();
  }

  build() {
    this.root = make("div", "mv-compare");
    this.root.hidden = true;
    this.search = make("input", "mv-search");
    Object.assign(this.search, { type: "search", placeholder: "Search all scans by name or id" });
    this.search.setAttribute("aria-label", "Search scans to compare with");
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.list(), 250);
    });
    this.rows = make("ul", "mv-others");
    this.words = make("p", "mv-empty", "");
    this.root.append(this.search, this.words, this.rows);
    this.link = make("button", "mv-tool", "Scroll together");
    this.link.addEventListener("click", () => this.setLinked(!this.isLinked));
    this.leave = make("button", "mv-tool", "End comparison");
    this.leave.addEventListener("click", () => this.end());
    this.tools = make("span", "mv-tools");
    this.tools.hidden = true;
    this.tools.append(this.link, this.leave);
  }

  toggle() {
    this.root.hidden = !this.root.hidden;
    this.viewer.compareButton.setAttribute("aria-expanded", String(!this.root.hidden));
    if (!this.root.hidden) {
      this.list();
      this.search.focus();
    }
  }

  ask(path) {
    const headers = { "X-Medvit-Ticket": this.viewer.scan.shelf.ticket };
    return fetch(path, { headers });
  }

  async list() {
    const text = this.search.value.trim();
    this.words.textContent = "Looking…";
    const response = await this.ask(`${this.viewer.scan.shelf.base}/others?text=${encodeURIComponent(text)}`);
    if (text !== this.search.value.trim()) return;
    if (!response.ok) {
      this.words.textContent = await failureOf(response);
      return;
    }
    const { others } = await response.json();
    this.words.textContent = others.length ? "" : "No other CT scan here. Search for one by its name or id.";
    this.rows.replaceChildren(...others.map((other) => this.row(other)));
  }

  row(other) {
    const item = make("li");
    const button = make("button", "mv-row mv-other");
    button.append(make("span", "mv-row-label", other.name), make("span", "mv-row-where", relationOf(other)));
    button.addEventListener("click", () => this.start(other));
    item.append(button);
    return item;
  }

  async start(other) {
    const base = this.viewer.scan.shelf.base.replace(/[^/]+$/, encodeURIComponent(other.id));
    this.words.textContent = "Opening…";
    const response = await this.ask(`${base}/geometry`);
    if (!response.ok) {
      this.words.textContent = `This scan cannot be shown: ${await failureOf(response)}`;
      return;
    }
    this.end();
    const { geometry, findings } = await response.json();
    this.scan = new Scan(other.name, geometry, new SliceShelf(base, this.viewer.scan.shelf.ticket));
    this.scan.findings = findings;
    this.scan.title = [relationOf(other), other.name].filter(Boolean).join(": ");
    this.root.hidden = true;
    this.viewer.compareButton.setAttribute("aria-expanded", "false");
    this.align();
    this.tools.hidden = false;
    this.viewer.arrange();
  }

  // Places are those of the scanner; where they have nothing in common, the middles are laid together.
  align() {
    const here = this.viewer.scan;
    const place = here.toLps(here.cross);
    this.offset = [0, 0, 0];
    this.note = "";
    if (!this.scan.holds(this.scan.toIndex(place))) {
      const middles = [here, this.scan].map((scan) => scan.toLps(scan.geometry.shape.map((n) => (n - 1) / 2)));
      this.offset = middles[1].map((mm, axis) => mm - middles[0][axis]);
      this.note = "laid middle on middle: scroll the prior alone to match, then scroll together";
    }
    this.setLinked(true, false);
    this.follow(here);
  }

  setLinked(isLinked, isNew = true) {
    this.isLinked = isLinked;
    this.link.setAttribute("aria-pressed", String(isLinked));
    if (isLinked && isNew && this.scan) {
      const [here, there] = [this.viewer.scan, this.scan].map((scan) => scan.toLps(scan.cross));
      this.offset = there.map((mm, axis) => mm - here[axis]);
      this.note = "";
      this.viewer.report();
    }
  }

  // Move the crosshair of the other scan to the same place in mm; return the scans that moved.
  follow(moved) {
    if (!this.scan || !this.isLinked) return [moved];
    const [other, sign] = moved === this.scan ? [this.viewer.scan, -1] : [this.scan, 1];
    const place = moved.toLps(moved.cross).map((mm, axis) => mm + sign * this.offset[axis]);
    other.cross = other.inside(other.toIndex(place));
    return [moved, other];
  }

  end() {
    if (!this.scan) return;
    this.scan.shelf.close();
    this.scan = null;
    this.note = "";
    this.tools.hidden = true;
    this.viewer.arrange();
  }
}

function relationOf(other) {
  if (!other.samePatient) return "";
  if (other.days === null) return "same patient";
  if (other.days === 0) return "same patient, same day";
  const days = Math.abs(other.days);
  return `same patient, ${days} ${days === 1 ? "day" : "days"} ${other.days < 0 ? "earlier" : "later"}`;
}
