// CT slices as int16 HU: fetched as they are wanted and some ahead, kept up to a number of bytes.

const KEPT_BYTES = 192 * 1024 * 1024;
const AT_ONCE = 2;
const ASK_AGAIN_MS = 250;

function keyOf(cut) {
  return `${cut.axis}/${cut.index}?level=${cut.level}&slab=${cut.slab}`;
}

class SliceShelf {
  constructor(base, ticket) {
    this.base = base;
    this.ticket = ticket;
    this.kept = new Map();
    this.pending = new Map();
    this.wanted = new Map();
    this.queues = new Map();
    this.bytes = 0;
  }

  peek(cut) {
    const key = keyOf(cut);
    const found = this.kept.get(key);
    if (found) {
      this.kept.delete(key);
      this.kept.set(key, found);
    }
    return found;
  }

  // One asker wants one slice at a time: a request for another one ends the one before.
  want(asker, cut, onShare) {
    const key = keyOf(cut);
    const before = this.wanted.get(asker);
    if (before && before !== key) this.pending.get(before)?.stop.abort();
    this.wanted.set(asker, key);
    const found = this.peek(cut);
    if (found) return Promise.resolve(found);
    const job = this.pending.get(key) ?? this.start(key, asker, false);
    job.isAhead = false;
    job.onShare = onShare;
    return job.answer;
  }

  fetchAhead(asker, cuts) {
    const keys = cuts.map(keyOf);
    for (const [key, job] of this.pending) {
      if (job.isAhead && job.asker === asker && !keys.includes(key)) job.stop.abort();
    }
    this.queues.set(asker, keys.filter((key) => !this.kept.has(key) && !this.pending.has(key)));
    this.advance(asker);
  }

  advance(asker) {
    const queue = this.queues.get(asker) ?? [];
    const isOwn = (job) => job.isAhead && job.asker === asker;
    while (queue.length && [...this.pending.values()].filter(isOwn).length < AT_ONCE) {
      const key = queue.shift();
      if (this.kept.has(key) || this.pending.has(key)) continue;
      // What cannot be had ahead is told when it is wanted.
      this.start(key, asker, true).answer.then(() => this.advance(asker), () => undefined);
    }
  }

  start(key, asker, isAhead) {
    const job = { asker, isAhead, stop: new AbortController(), onShare: null };
    this.pending.set(key, job);
    job.answer = this.load(key, job).finally(() => this.pending.delete(key));
    return job;
  }

  async load(key, job) {
    for (;;) {
      const options = { headers: { "X-Medvit-Ticket": this.ticket }, signal: job.stop.signal };
      const response = await fetch(`${this.base}/slices/${key}`, options);
      if (response.status === 202) {
        job.onShare?.((await response.json()).share);
        await pause(ASK_AGAIN_MS, job.stop.signal);
      } else if (response.ok) {
        return this.keep(key, new Int16Array(await response.arrayBuffer()));
      } else {
        throw new Error(await failureOf(response));
      }
    }
  }

  keep(key, values) {
    this.kept.set(key, values);
    this.bytes += values.byteLength;
    for (const [old, slice] of this.kept) {
      if (this.bytes <= KEPT_BYTES) break;
      this.kept.delete(old);
      this.bytes -= slice.byteLength;
    }
    return values;
  }

  close() {
    this.queues.clear();
    for (const job of this.pending.values()) job.stop.abort();
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("not wanted any more", "AbortError"));
    }, { once: true });
  });
}

// Opaque grey for each of the 65,536 values, by the bits of an int16: one look-up paints a pixel.
function windowTable(centre, width) {
  const table = new Uint32Array(65536);
  const low = centre - width / 2;
  for (let bits = 0; bits < 65536; bits += 1) {
    const hu = bits < 32768 ? bits : bits - 65536;
    const grey = Math.max(0, Math.min(255, Math.round(((hu - low) / width) * 255)));
    table[bits] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return table;
}

function paintSlice(shown, table, canvas) {
  const { values, rows, cols } = shown;
  if (canvas.width !== cols || canvas.height !== rows || !canvas.picture) {
    Object.assign(canvas, { width: cols, height: rows });
    canvas.picture = canvas.getContext("2d").createImageData(cols, rows);
    canvas.words = new Uint32Array(canvas.picture.data.buffer);
  }
  const { words } = canvas;
  const bits = new Uint16Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i += 1) words[i] = table[bits[i]];
  canvas.getContext("2d").putImageData(canvas.picture, 0, 0);
}
