// A scan as the viewers know it: where its voxels lie in the patient, and where its crosshair is.

const NO_VALUE = -32768;

class Scan {
  constructor(name, geometry, shelf) {
    this.name = name;
    this.geometry = geometry;
    this.shelf = shelf;
    this.findings = [];
    this.cross = geometry.shape.map((n) => (n - 1) / 2);
  }

  inside(index) {
    return index.map((at, axis) => Math.max(0, Math.min(this.geometry.shape[axis] - 1, at)));
  }

  holds(index) {
    return index.every((at, axis) => at >= -0.5 && at <= this.geometry.shape[axis] - 0.5);
  }

  // Index (z, y, x) to LPS mm (x, y, z), and back.
  toLps(index) {
    return timesPoint(this.geometry.affine, index);
  }

  toIndex(lps) {
    return timesPoint(this.geometry.inverse, lps);
  }

  // Way from one index to another in mm: right for voxels of any form, and for oblique scans.
  distanceMm(from, to) {
    const [a, b] = [this.toLps(from), this.toLps(to)];
    return Math.hypot(...a.map((mm, axis) => mm - b[axis]));
  }

  // What the file says of a slice of the stack beside its place in it.
  imageNumber(axis, index) {
    const number = axis === 0 ? this.geometry.numbers[index] : null;
    return number === null || number === undefined ? "" : `image no. ${number}`;
  }
}

function timesPoint(matrix, point) {
  return matrix.slice(0, 3).map((row) => row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3]);
}
