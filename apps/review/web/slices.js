// CT slices as int16 HU, fetched one by one, kept up to a number of bytes, and fetched ahead.

const KEPT_BYTES = 192 * 1024 * 1024;
const AHEAD = 6;

class SliceShelf {
  constructor(base, token) {
    this.base = base;
    this.token = token;
    this.kept = new Map();
    this.pending = new Map();
    this.bytes = 0;
  }

  peek(axis, index) {
    const key = `${axis}/${index}`;
    const found = this.kept.get(key);
    if (found) {
      this.kept.delete(key);
      this.kept.set(key, found);
    }
    return found;
  }

  get(axis, index) {
    const key = `${axis}/${index}`;
    const found = this.peek(axis, index);
    if (found) return Promise.resolve(found);
    if (!this.pending.has(key)) {
      const job = this.load(key).finally(() => this.pending.delete(key));
      this.pending.set(key, job);
    }
    return this.pending.get(key);
  }

  async load(key) {
    const response = await fetch(`${this.base}/slices/${key}`, { headers: { "X-Medvit-Token": this.token } });
    if (!response.ok) throw new Error(await failureOf(response));
    const values = new Int16Array(await response.arrayBuffer());
    this.kept.set(key, values);
    this.bytes += values.byteLength;
    for (const [old, slice] of this.kept) {
      if (this.bytes <= KEPT_BYTES) break;
      this.kept.delete(old);
      this.bytes -= slice.byteLength;
    }
    return values;
  }

  fetchAhead(plane, index, step) {
    if (this.pending.size > AHEAD) return;
    for (let i = 1; i <= AHEAD; i += 1) {
      const next = index + i * (step || 1);
      if (next < 0 || next >= plane.count) continue;
      if (!this.peek(plane.axis, next)) this.get(plane.axis, next).catch(() => undefined);
    }
  }
}

function windowTable(centre, width) {
  const table = new Uint8ClampedArray(65536);
  const low = centre - width / 2;
  for (let i = 0; i < 65536; i += 1) table[i] = ((i - 32768 - low) / width) * 255;
  return table;
}

function paintSlice(values, plane, table, canvas) {
  if (canvas.width !== plane.cols || canvas.height !== plane.rows) {
    canvas.width = plane.cols;
    canvas.height = plane.rows;
  }
  const context = canvas.getContext("2d");
  const picture = context.createImageData(plane.cols, plane.rows);
  const words = new Uint32Array(picture.data.buffer);
  for (let i = 0; i < words.length; i += 1) {
    const grey = table[values[i] + 32768];
    words[i] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  context.putImageData(picture, 0, 0);
}
