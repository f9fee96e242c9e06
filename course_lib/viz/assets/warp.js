// Affine views of an image, in coordinates from -1 to 1 between its outer edges; a matrix [9], row by row, says where in
// the original each pixel of the view comes from. A browser test holds this to
// course_lib.methods.spatial_transformer.geometry.

const IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1];

// The view after one more move: the new matrix multiplies on the right.
function compose(m, a) {
  return IDENTITY.map((_, i) => {
    const row = 3 * Math.floor(i / 3), column = i % 3;
    return m[row] * a[column] + m[row + 1] * a[column + 3] + m[row + 2] * a[column + 6];
  });
}

// Matrices of the views before and after each of a sequence of moves.
function matricesOf(moves, actions) {
  const list = [IDENTITY];
  for (const action of actions) list.push(compose(list[list.length - 1], moves[action]));
  return list;
}

// pixels: [channel, row, column]. Bilinear, black outside of the image.
function sampleView(pixels, channels, height, width, m) {
  const view = new Float32Array(channels * height * width);
  const size = height * width;
  for (let row = 0, at = 0; row < height; row++) {
    const v = (2 * row + 1) / height - 1;
    for (let column = 0; column < width; column++, at++) {
      const u = (2 * column + 1) / width - 1;
      const x = ((m[0] * u + m[1] * v + m[2] + 1) * width - 1) / 2, y = ((m[3] * u + m[4] * v + m[5] + 1) * height - 1) / 2;
      const left = Math.floor(x), top = Math.floor(y);
      for (let j = top; j <= top + 1; j++) {
        for (let i = left; i <= left + 1; i++) {
          if (i < 0 || j < 0 || i >= width || j >= height) continue;
          const weight = (1 - Math.abs(x - i)) * (1 - Math.abs(y - j));
          for (let c = 0; c < channels; c++) view[c * size + at] += weight * pixels[c * size + j * width + i];
        }
      }
    }
  }
  return view;
}

// Corners of the view's frame in pixels of the original: left upper, right upper, right lower, left lower.
function frameCorners(m, height, width) {
  return [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([u, v]) =>
    [((m[0] * u + m[1] * v + m[2] + 1) * width) / 2, ((m[3] * u + m[4] * v + m[5] + 1) * height) / 2]);
}

// A box [x0, y0, x1, y1] of the original in pixels of the view, not clipped to it.
function transportBox([x0, y0, x1, y1], m, height, width) {
  const determinant = m[0] * m[4] - m[1] * m[3];
  const shown = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(([px, py]) => {
    const x = (2 * px) / width - 1 - m[2], y = (2 * py) / height - 1 - m[5];
    return [(((m[4] * x - m[1] * y) / determinant + 1) * width) / 2, (((m[0] * y - m[3] * x) / determinant + 1) * height) / 2];
  });
  const along = (k) => shown.map((point) => point[k]);
  return [Math.min(...along(0)), Math.min(...along(1)), Math.max(...along(0)), Math.max(...along(1))];
}

// How much of the view a box fills: "clipped_share" or "true_iou".
function shareOf([x0, y0, x1, y1], height, width, kind) {
  const inside = (within(x1, 0, width) - within(x0, 0, width)) * (within(y1, 0, height) - within(y0, 0, height));
  return inside / (kind === "clipped_share" ? height * width : (x1 - x0) * (y1 - y0) + height * width - inside);
}

// Values 0 … 255 [channel, row, column] onto a canvas, at any size; grey where there is one channel.
function paint(context, values, channels, height, width, x, y, w, h) {
  const layer = document.createElement("canvas");
  layer.width = width;
  layer.height = height;
  const pixels = new ImageData(width, height), size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = values[(channels === 3 ? c * size : 0) + i];  // rounds and clamps
    pixels.data[4 * i + 3] = 255;
  }
  layer.getContext("2d").putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(layer, x, y, w, h);
}
