// A small classifier that travels with the page: views averaged over squares, then linear layers with ReLU between.
//
// judge: {name, pool, classes: names, layers: [{rows, columns, weights: base64 of float16, biases: base64 of float16}]}

// Half-precision numbers, two bytes each, the low byte first.
function decodeHalf(code) {
  const words = new Uint16Array(bytesOf(code).buffer);
  return Float64Array.from(words, (word) => {
    const exponent = (word >> 10) & 31, fraction = word & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return word & 0x8000 ? -size : size;
  });
}

const decodeJudge = (judge) => ({ ...judge, layers: judge.layers.map((layer) => ({ ...layer, weights: decodeHalf(layer.weights), biases: decodeHalf(layer.biases) })) });

// Log-probabilities of the classes for a view with values 0 … 255.
function judgeView(judge, view, channels, height, width) {
  const { pool } = judge, rows = height / pool, columns = width / pool;
  let values = new Float64Array(channels * rows * columns);
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        values[(c * rows + Math.floor(y / pool)) * columns + Math.floor(x / pool)] += view[(c * height + y) * width + x] / (255 * pool * pool);
  judge.layers.forEach((layer, k) => {
    const out = layer.biases.slice();
    for (let o = 0, at = 0; o < layer.rows; o++)
      for (let i = 0; i < layer.columns; i++, at++) out[o] += layer.weights[at] * values[i];
    values = k + 1 < judge.layers.length ? out.map((value) => Math.max(0, value)) : out;
  });
  const most = Math.max(...values);
  const total = most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
  return values.map((value) => value - total);
}
