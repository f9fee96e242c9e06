// A mask over the truth, and what J and F make of it. Everything is computed here, so it works without a kernel;
// a browser test holds the numbers to those of course_lib.metrics.
//
// data: {alt, width, height, scale, truth: code, picture: data URI or null, centre: [row, column] of the hole,
//        state: {dx, dy, grow, hole, tolerance}, limits: {shift, grow, hole, tolerance}}

// Offsets of the disk x² + y² <= radius².
function diskOffsets(radius) {
  const offsets = [];
  for (let y = -radius; y <= radius; y++)
    for (let x = -radius; x <= radius; x++) if (x * x + y * y <= radius * radius) offsets.push([x, y]);
  return offsets;
}

// Mark (or clear) all pixels within `radius` of those in `points`.
function stamp(target, points, radius, value, width, height) {
  const offsets = diskOffsets(radius);
  for (const point of points) {
    const px = point % width, py = Math.floor(point / width);
    for (const [ox, oy] of offsets) {
      const x = px + ox, y = py + oy;
      if (x >= 0 && y >= 0 && x < width && y < height) target[y * width + x] = value;
    }
  }
}

function indices(map) {
  const found = [];
  map.forEach((value, i) => { if (value) found.push(i); });
  return found;
}

// The truth made fatter or thinner, pierced at `centre`, then moved; what leaves the picture is lost.
function alterMask(truth, { dx, dy, grow, hole }, centre, width, height) {
  const mask = Uint8Array.from(truth);
  if (grow > 0) stamp(mask, indices(truth), grow, 1, width, height);
  if (grow < 0) stamp(mask, indices(truth.map((value) => 1 - value)), -grow, 0, width, height);
  if (hole > 0) stamp(mask, [centre[0] * width + centre[1]], hole, 0, width, height);
  const moved = new Uint8Array(width * height);
  for (const i of indices(mask)) {
    const x = (i % width) + dx, y = Math.floor(i / width) + dy;
    if (x >= 0 && y >= 0 && x < width && y < height) moved[y * width + x] = 1;
  }
  return moved;
}

// Pixels whose right, lower or lower-right neighbour differs.
function boundaryMap(mask, width, height) {
  const edges = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x, right = x + 1 < width, below = y + 1 < height;
      edges[i] = (right && mask[i] !== mask[i + 1]) || (below && mask[i] !== mask[i + width])
        || (right && below && mask[i] !== mask[i + width + 1]) ? 1 : 0;
    }
  }
  return edges;
}

// J, F, precision and recall of a mask; tolerance in pixels.
function measure(mask, truth, tolerance, width, height) {
  let both = 0, either = 0;
  mask.forEach((value, i) => { both += value & truth[i]; either += value | truth[i]; });
  const found = boundaryMap(mask, width, height), wanted = boundaryMap(truth, width, height);
  const nearFound = new Uint8Array(mask.length), nearWanted = new Uint8Array(mask.length);
  const foundAt = indices(found), wantedAt = indices(wanted);
  stamp(nearFound, foundAt, tolerance, 1, width, height);
  stamp(nearWanted, wantedAt, tolerance, 1, width, height);
  const share = (points, map) => points.filter((i) => map[i]).length / points.length;
  let precision = 0, recall = 0, contour = 0;
  if (!foundAt.length && !wantedAt.length) precision = recall = contour = 1;
  else if (foundAt.length && wantedAt.length) {
    precision = share(foundAt, nearWanted);
    recall = share(wantedAt, nearFound);
    contour = precision + recall ? (2 * precision * recall) / (precision + recall) : 0;
  }
  return { J: either ? both / either : 1, F: contour, precision, recall, band: nearWanted };
}

function mountMicroscope(host, data, changed = () => {}) {
  const { width, height, scale } = data;
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  const zoom = scale * ratio;
  const truth = decodeLabels(data.truth, width * height);
  const start = { ...data.state };
  let state = { ...data.state };

  const canvas = make("canvas", {
    tabindex: 0, role: "img", "aria-label": `${data.alt} Drag the mask, or move it with the arrow keys.`,
  });
  canvas.width = width * zoom;
  canvas.height = height * zoom;
  canvas.style.width = `${width * scale}px`;
  const layer = make("canvas");
  layer.width = width;
  layer.height = height;
  const backdrop = data.picture ? Object.assign(new Image(), { src: data.picture }) : null;

  const scores = {};
  const scoreRows = [["J", "region similarity", "#0072b2"], ["F", "contour accuracy", "#d55e00"]].map(([name, meaning, colour]) => {
    const bar = make("i", { style: `background: ${colour}` });
    const number = make("span");
    scores[name] = (value) => { bar.style.width = `${100 * value}%`; number.textContent = value.toFixed(3); };
    return make("div", { class: "cv-score", title: meaning }, make("b", { text: name }),
      make("div", { class: "cv-track-bar", "aria-hidden": "true" }, bar), number);
  });
  const detail = make("p", { class: "cv-status", role: "status" });

  const { shift, grow, hole, tolerance } = data.limits;
  const dials = {};
  const dialRows = [
    ["dx", "move right", -shift, shift], ["dy", "move down", -shift, shift], ["grow", "fatter / thinner", -grow, grow],
    ["hole", "hole radius", 0, hole], ["tolerance", "tolerance", 0, tolerance],
  ].map(([name, label, min, max]) => {
    const input = make("input", { type: "range", min, max, step: 1, "aria-label": label, "data-dial": name });
    const output = make("output");
    dials[name] = (value) => {
      input.value = value;
      output.textContent = `${value} px`;
      input.setAttribute("aria-valuetext", `${value} pixels`);
    };
    input.addEventListener("input", () => set({ [name]: Number(input.value) }));
    return make("label", { class: "cv-dial" }, make("span", { text: label }), input, output);
  });

  const presets = [
    ["reset", start], ["too fat", { dx: 0, dy: 0, grow: Math.min(grow, start.tolerance + 1), hole: 0 }],
    ["hole", { dx: 0, dy: 0, grow: 0, hole: Math.round(hole / 2) }], ["moved", { dx: Math.round(shift / 6), dy: 0, grow: 0, hole: 0 }],
  ].map(([text, values]) => {
    const button = make("button", { type: "button", text });
    button.addEventListener("click", () => set(values));
    return button;
  });
  const legend = make("ul", { class: "cv-key" }, ...[
    ["rgb(0,158,115)", "right"], ["rgb(86,180,233)", "missed"], ["rgb(213,94,0)", "wrong"], ["rgb(240,228,66)", "within tolerance of the true outline"],
  ].map(([colour, text]) => make("li", {}, make("i", { style: `background: ${colour}` }), text)));

  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Metric microscope", "data-lm-suppress-shortcuts": "true" },
    make("div", { class: "cv-split" },
      make("div", { style: `max-width: ${width * scale}px` }, make("div", { class: "cv-stage" }, canvas), legend),
      make("div", { class: "cv-panel" }, ...scoreRows, detail, ...dialRows, make("div", { class: "cv-bar" }, ...presets))));
  host.querySelectorAll(":scope > .cv-box").forEach((old) => old.remove());
  host.append(box);

  function draw(mask, band) {
    const context = canvas.getContext("2d");
    context.fillStyle = "#f2f2f2";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    if (backdrop && backdrop.complete && backdrop.naturalWidth) context.drawImage(backdrop, 0, 0, canvas.width, canvas.height);
    const pixels = new ImageData(width, height);
    for (let i = 0; i < mask.length; i++) {
      const colour = mask[i] && truth[i] ? [0, 158, 115, 120] : truth[i] ? [86, 180, 233, 190] : mask[i] ? [213, 94, 0, 190] : null;
      if (colour) pixels.data.set(colour, 4 * i);
      if (band[i]) {
        const [red, green, blue, alpha] = colour || [0, 0, 0, 0];
        pixels.data.set([(red + 240) / 2, (green + 228) / 2, (blue + 66) / 2, Math.max(alpha, 130)].map(Math.round), 4 * i);
        if (!colour) pixels.data.set([240, 228, 66, 140], 4 * i);
      }
    }
    layer.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(layer, 0, 0, canvas.width, canvas.height);
    strokeCased(context, outline((i) => truth[i] === 1, width, height, zoom), "#ffffff", ratio);
    context.setLineDash([6 * ratio, 4 * ratio]);
    strokeCased(context, outline((i) => mask[i] === 1, width, height, zoom), "#ffb347", 1.3 * ratio);
    context.setLineDash([]);
  }

  function update() {
    const mask = alterMask(truth, state, data.centre, width, height);
    const result = measure(mask, truth, state.tolerance, width, height);
    for (const [name, dial] of Object.entries(dials)) dial(state[name]);
    scores.J(result.J);
    scores.F(result.F);
    detail.textContent = `outline: precision ${result.precision.toFixed(2)}, recall ${result.recall.toFixed(2)}`;
    box.dataset.j = result.J;
    box.dataset.f = result.F;
    draw(mask, result.band);
  }

  function set(values, tell = true) {
    const clamp = (value, limit) => Math.max(-limit, Math.min(limit, value));
    state = { ...state, ...values };
    state.dx = clamp(state.dx, shift);
    state.dy = clamp(state.dy, shift);
    update();
    if (tell) changed({ ...state });
  }

  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX - state.dx * pixel(), y: event.clientY - state.dy * pixel() };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held) set({ dx: Math.round((event.clientX - held.x) / pixel()), dy: Math.round((event.clientY - held.y) / pixel()) });
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = null; });
  const pixel = () => canvas.getBoundingClientRect().width / width;
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set({ dx: state.dx + step[0], dy: state.dy + step[1] });
  });
  if (backdrop) backdrop.addEventListener("load", update);
  update();
  return { set: (values) => set(values, false) };
}
