// A picture in tiles: only what is seen is fetched, at the resolution it is seen in.

const MOST_TILES = 96; // 512 x 512 x 4 bytes each
const MOST_REQUESTS = 6;
const ASK_AGAIN_MS = 400;
const KEPT_PICTURES = 4;

class TiledPicture {
  constructor(base, ticket) {
    Object.assign(this, { base, ticket, size: [1, 1], levels: [], tiles: new Map(), asked: new Map(), waiting: [] });
    this.onChange = () => {};
    this.failure = "";
    this.opening = this.open();
  }

  get(path, signal) {
    return fetch(`${this.base}/${path}`, { headers: { "X-Medvit-Ticket": this.ticket }, signal });
  }

  async open() {
    try {
      let response = await this.get("image");
      while (response.status === 202) {
        this.isPreparing = true;
        this.onChange();
        await new Promise((go) => setTimeout(go, ASK_AGAIN_MS));
        response = await this.get("image");
      }
      if (!response.ok) throw new Error(await failureOf(response));
      const { tile, levels } = await response.json();
      Object.assign(this, { side: tile, levels, size: levels[0], isPreparing: false });
    } catch (error) {
      this.failure = error.message;
    }
    this.onChange();
  }

  levelFor(scale) {
    const fine = Math.floor(Math.log2(1 / scale) + 1e-6);
    return Math.max(0, Math.min(this.levels.length - 1, fine));
  }

  // Names of the tiles of a level that a layout shows, nearest to the middle first.
  seen(level, { width, height, scale, left, top }) {
    const step = this.side * 2 ** level;
    const [h, w] = this.size;
    const range = (from, length, most) => [Math.max(0, Math.floor(-from / scale / step)),
      Math.min(Math.ceil(most / step), Math.ceil((length - from) / scale / step))];
    const [c0, c1] = range(left, width, w);
    const [r0, r1] = range(top, height, h);
    const found = [];
    for (let r = r0; r < r1; r += 1) for (let c = c0; c < c1; c += 1) found.push({ level, r, c, name: `${level}/${r}/${c}` });
    const far = ({ r, c }) => Math.hypot(r + 0.5 - (r0 + r1) / 2, c + 0.5 - (c0 + c1) / 2);
    return found.sort((a, b) => far(a) - far(b));
  }

  // Fetch what a layout needs and let go of requests that it does not need any more.
  want(layout, ratio = 1) {
    if (!this.levels.length) return [];
    const level = this.levelFor(layout.scale * ratio);
    const coarsest = this.levels.length - 1;
    const tiles = this.seen(level, layout);
    const names = new Set([...tiles.map((tile) => tile.name), `${coarsest}/0/0`]);
    for (const [name, control] of this.asked) if (!names.has(name)) control.abort();
    this.waiting = [...(level === coarsest ? [] : [`${coarsest}/0/0`]), ...tiles.map((tile) => tile.name)]
      .filter((name) => !this.tiles.has(name) && !this.asked.has(name));
    this.next();
    return tiles;
  }

  next() {
    while (this.asked.size < MOST_REQUESTS && this.waiting.length) this.fetchTile(this.waiting.shift());
  }

  async fetchTile(name) {
    const control = new AbortController();
    this.asked.set(name, control);
    try {
      const response = await this.get(`image/${name}`, control.signal);
      if (!response.ok) throw new Error(await failureOf(response));
      this.tiles.set(name, await createImageBitmap(await response.blob()));
      this.forget();
    } catch (error) {
      if (error.name !== "AbortError") this.failure = error.message;
    }
    this.asked.delete(name);
    this.onChange();
    this.next();
  }

  forget() {
    const coarsest = `${this.levels.length - 1}/0/0`;
    for (const name of this.tiles.keys()) {
      if (this.tiles.size <= MOST_TILES) return;
      if (name === coarsest) continue;
      this.tiles.get(name).close();
      this.tiles.delete(name);
    }
  }

  // Draw what is there, coarse below fine; return whether all of it is.
  draw(context, layout, ratio) {
    const wanted = this.want(layout, ratio);
    if (!wanted.length) return false;
    context.save();
    context.beginPath();
    context.rect(layout.left, layout.top, this.size[1] * layout.scale, this.size[0] * layout.scale);
    context.clip();
    context.imageSmoothingEnabled = layout.scale < 8;
    context.imageSmoothingQuality = "high";
    const isWhole = wanted.every(({ name }) => this.tiles.has(name));
    const coarsest = this.levels.length - 1;
    if (!isWhole) {
      for (let level = coarsest; level > wanted[0].level; level -= 1) {
        for (const tile of this.seen(level, layout)) this.drawTile(context, tile, layout);
      }
    }
    for (const tile of wanted) this.drawTile(context, tile, layout);
    context.restore();
    return isWhole;
  }

  drawTile(context, { level, r, c, name }, { scale, left, top }) {
    const bitmap = this.tiles.get(name);
    if (!bitmap) return;
    // Used last, forgotten last.
    this.tiles.delete(name);
    this.tiles.set(name, bitmap);
    const factor = 2 ** level;
    const edge = (from, at) => Math.round(from + at * factor * scale);
    const [x0, y0] = [edge(left, c * this.side), edge(top, r * this.side)];
    const [x1, y1] = [edge(left, c * this.side + bitmap.width), edge(top, r * this.side + bitmap.height)];
    context.drawImage(bitmap, x0, y0, x1 - x0, y1 - y0);
  }
}

// The pictures of the last cases, so that the one that was fetched ahead is there at once.
function pictureAt(base, ticket) {
  const kept = (window.medvitPictures ??= new Map());
  const held = kept.get(base);
  const picture = held && !held.failure && held.ticket === ticket ? held : new TiledPicture(base, ticket);
  kept.delete(base);
  kept.set(base, picture);
  while (kept.size > KEPT_PICTURES) kept.delete(kept.keys().next().value);
  return picture;
}
