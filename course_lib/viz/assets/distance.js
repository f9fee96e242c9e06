// Border-distance classes drawn live: paint a mask, turn radius and width of the bins, and see which class every pixel
// gets and which classes nobody gets. Computed here, so it works without a kernel; a browser test holds it to
// course_lib.methods.recurrent.distance.
//
// data: {alt, width, height: pixels of the mask, most: {radius, width} of the dials, shapes: [[name, code], …],
//        colours: {outside: [far, near], inside: [near, deep]} as [r, g, b], empty: colour of classes that nobody has,
//        state: {mask_code, radius, width: pixels per bin}}

// The inverse of decodeLabels.
function encodeLabels(labels) {
  const bytes = [];
  for (let i = 0; i < labels.length; ) {
    let end = i;
    while (end < labels.length && labels[end] === labels[i]) end += 1;
    bytes.push(labels[i]);
    let length = end - i;
    for (; length > 127; length >>= 7) bytes.push((length & 127) | 128);
    bytes.push(length);
    i = end;
  }
  return btoa(String.fromCharCode(...bytes));
}

// Squared distance of each pixel to the nearest one whose mask is `value`; infinite where there is none.
function squaredDistances(mask, value, width, height) {
  const column = new Float64Array(mask.length).fill(Infinity);
  for (let x = 0; x < width; x++) {
    for (const [from, to, by] of [[0, height, 1], [height - 1, -1, -1]]) {
      let last = Infinity;
      for (let y = from; y !== to; y += by) {
        const i = y * width + x;
        last = mask[i] === value ? 0 : last + 1;
        column[i] = Math.min(column[i], last);
      }
    }
  }
  const squared = new Float64Array(mask.length).fill(Infinity);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let other = 0; other < width; other++)
        squared[y * width + x] = Math.min(squared[y * width + x], column[y * width + other] ** 2 + (x - other) ** 2);
  return squared;
}

// Class of each pixel, and the squared distance it comes from. bins: k, the whole bins of a side.
function distanceClasses(mask, width, height, radius, step) {
  const bins = Math.floor(radius / step);
  const toObject = squaredDistances(mask, 1, width, height), toBackground = squaredDistances(mask, 0, width, height);
  const squared = Float64Array.from(mask, (inside, i) => (inside ? toBackground[i] : toObject[i]));
  const classes = Uint8Array.from(mask, (inside, i) => {
    let bin = 0;
    while (bin < bins && squared[i] > ((bin + 1) * step) ** 2) bin += 1;
    return inside ? bins + 1 + bin : bins - bin;
  });
  return { bins, count: 2 * bins + 2, classes, squared };
}

function mountDistance(host, data, changed = () => {}) {
  const { width, height } = data;
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  let state = { ...data.state };
  let mask = decodeLabels(state.mask_code, width * height);
  let found = null, room = 0, brush = 3, erase = false, held = null;
  let cursor = [Math.floor(width / 2), Math.floor(height / 2)];  // column and row that is asked about

  function screen(label, focusable) {
    const canvas = make("canvas", { role: "img", "aria-label": label, ...(focusable ? { tabindex: 0 } : {}) });
    canvas.width = width * 5 * ratio;
    canvas.height = height * 5 * ratio;
    canvas.style.width = "100%";
    return canvas;
  }
  const pad = screen(`${data.alt} Paint with the mouse, or move the cursor with the arrow keys and press space.`, true);
  const heat = screen("The class of every pixel: blue outside, orange inside, palest at the edge.", false);
  pad.style.cursor = "crosshair";
  heat.style.cursor = "help";
  const track = (text, canvas) => make("figure", { class: "cv-track", style: "flex: 1 1 15rem" }, make("figcaption", { text }), canvas);

  const button = (text, act, attributes = {}) => {
    const made = make("button", { type: "button", text, ...attributes });
    made.addEventListener("click", act);
    return made;
  };
  const shapes = data.shapes.map(([name, code]) => button(name, () => set({ mask_code: code }), { "data-shape": name }));
  const tools = [["paint", false], ["erase", true]].map(([text, value]) => button(text, () => { erase = value; update(); }, { "data-tool": text }));
  const sizes = [["small", 1], ["medium", 3], ["large", 6]].map(([text, value]) => button(text, () => { brush = value; update(); }, { "data-brush": value, "aria-label": `${text} brush` }));
  const group = (label, ...list) => make("div", { class: "cv-bar", role: "group", "aria-label": label, style: "margin: 0; gap: .3rem" }, ...list);

  const dials = {};
  const rows = [["radius", "radius R", data.most.radius], ["width", "bin width s", data.most.width]].map(([name, label, most]) => {
    const input = make("input", { type: "range", min: 1, max: most, step: 1, "aria-label": label, "data-dial": name });
    const output = make("output");
    dials[name] = (value) => {
      input.value = value;
      output.textContent = `${value} px`;
      input.setAttribute("aria-valuetext", `${value} pixels`);
    };
    input.addEventListener("input", () => {
      const value = Number(input.value);  // a bin is never wider than the band
      set(name === "radius" ? { radius: value, width: Math.min(state.width, value) } : { width: value, radius: Math.max(state.radius, value) });
    });
    return make("label", { class: "cv-dial", style: "grid-template-columns: 5.5rem 1fr 3rem" }, make("span", { text: label }), input, output);
  });
  const number = make("div", { class: "cv-result", "data-number": "classes" });
  const formula = make("div", { class: "cv-status", style: "margin: 0" });
  const verdict = make("p", { class: "cv-status", role: "status", style: "margin: .5rem 0 0; color: var(--cv-ink); min-height: 2.9em" });
  const asked = make("p", { class: "cv-status", "aria-live": "polite" });
  const picture = svgPage("How many pixels each class has");
  const help = make("p", { class: "cv-help" });
  help.innerHTML = "Left: paint. Keyboard: <kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd> move the cursor, <kbd>space</kbd> paints, <kbd>e</kbd> swaps paint and erase.";
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Distance class painter", "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-bar", style: "margin: 0 0 .6rem; gap: .3rem 1.2rem" }, group("start from", ...shapes), group("tool", ...tools), group("brush", ...sizes)),
    make("div", { class: "cv-tracks" }, track("the mask", pad), track("the class of every pixel", heat)), asked,
    make("div", { class: "cv-split", style: "margin-top: .5rem" }, make("div", { class: "cv-panel" }, ...rows), make("div", { class: "cv-panel" }, number, formula)),
    verdict, picture, help);
  place(host, box);

  const mix = (a, b, share) => a.map((value, i) => Math.round(value + share * (b[i] - value)));
  function colourOf(index) {
    const { bins } = found, { outside, inside } = data.colours;
    return index <= bins ? mix(outside[0], outside[1], index / Math.max(1, bins)) : mix(inside[0], inside[1], (index - bins - 1) / Math.max(1, bins));
  }
  const css = (rgb) => `rgb(${rgb.join(",")})`;

  const layer = make("canvas");
  layer.width = width;
  layer.height = height;
  function fill(canvas, colour) {
    const pixels = new ImageData(width, height), context = canvas.getContext("2d");
    for (let i = 0; i < mask.length; i++) pixels.data.set([...colour(i), 255], 4 * i);
    layer.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(layer, 0, 0, canvas.width, canvas.height);
    return context;
  }

  function drawScreens() {
    const zoom = 5 * ratio, edge = outline((i) => mask[i] === 1, width, height, zoom);
    const table = Array.from({ length: found.count }, (_, index) => colourOf(index));
    const left = fill(pad, (i) => (mask[i] ? [0, 158, 115] : [242, 242, 242]));
    strokeCased(left, edge, "#ffffff", ratio);
    const right = fill(heat, (i) => table[found.classes[i]]);
    strokeCased(right, edge, "#ffffff", ratio);
    for (const context of [left, right]) {
      const [x, y] = cursor.map((value) => (value + 0.5) * zoom), reach = 7 * ratio;
      const cross = new Path2D(`M${x - reach} ${y}H${x + reach}M${x} ${y - reach}V${y + reach}`);
      strokeCased(context, cross, "#ffe14d", 1.1 * ratio);
    }
    const [column, row] = cursor, i = row * width + column, far = Math.sqrt(found.squared[i]);
    const distance = Number.isFinite(far) ? `${far.toFixed(1)} pixels from the nearest pixel of the other side` : "no pixel of the other side anywhere";
    asked.textContent = `At the cross: ${mask[i] ? "inside" : "outside"}, ${distance}, so class ${found.classes[i]}.`;
  }

  function drawBars(counts) {
    const x0 = 12, x1 = room - 12, top = 42, bottom = 124, wide = (x1 - x0) / found.count, most = Math.sqrt(Math.max(...counts, 1));
    const { bins } = found, parts = [];
    picture.setAttribute("viewBox", `0 0 ${room} 176`);
    picture.setAttribute("width", room);
    picture.setAttribute("height", 176);
    parts.push(shape("text", { x: x0, y: 16, fill: "var(--cv-ink)", "font-weight": 600 }, room < 520 ? "pixels of each class (root)" : "pixels of each class (height: square root)"));
    counts.forEach((count, index) => {
      const x = x0 + index * wide, gap = Math.min(1.5, wide / 6), tall = (Math.sqrt(count) / most) * (bottom - top);
      const bar = { x: x + gap / 2, width: wide - gap, "data-class": index, "data-count": count };
      const text = shape("title", {}, `class ${index}: ${count} pixels`);
      const drawn = count ? shape("rect", { ...bar, y: bottom - Math.max(tall, 2), height: Math.max(tall, 2), fill: css(colourOf(index)), stroke: "var(--cv-soft)", "stroke-width": 0.6 })
        : shape("rect", { ...bar, y: bottom - 12, height: 12, fill: "none", stroke: data.empty, "stroke-width": 1.4, "stroke-dasharray": "3 2" });
      drawn.append(text);
      parts.push(drawn);
    });
    parts.push(shape("path", { d: `M${x0} ${bottom}H${x1}`, stroke: "var(--cv-soft)" }));
    const middle = x0 + (bins + 1) * wide, narrow = room < 520;
    parts.push(shape("path", { d: `M${middle} ${top - 8}V${bottom + 8}`, stroke: "var(--cv-ink)", "stroke-width": 1.4 }));
    const say = (x, y, anchor, text) => parts.push(shape("text", { x, y, "text-anchor": anchor, fill: "var(--cv-soft)" }, text));
    say(middle, top - 12, "middle", "the edge");
    say(x0, bottom + 17, "start", narrow ? "0: far" : "0: far outside");
    say(middle - 6, bottom + 17, "end", narrow ? `${bins}` : `${bins}: touching, outside`);
    say(middle + 6, bottom + 17, "start", narrow ? `${bins + 1}` : `${bins + 1}: touching, inside`);
    say(x1, bottom + 17, "end", narrow ? `${found.count - 1}: deep` : `${found.count - 1}: deep inside`);
    if (counts.some((count) => !count)) {
      parts.push(shape("rect", { x: x0 + 1, y: bottom + 31, width: 12, height: 12, fill: "none", stroke: data.empty, "stroke-width": 1.4, "stroke-dasharray": "3 2" }));
      say(x0 + 20, bottom + 41, "start", "a class without a pixel: the loss never sees it in this image");
    }
    picture.replaceChildren(...parts);
  }

  // 3, 4, 5, 9 -> "3–5, 9"
  function spans(list) {
    const parts = [];
    for (let i = 0; i < list.length; i++) {
      const from = list[i];
      while (list[i + 1] === list[i] + 1) i += 1;
      parts.push(from === list[i] ? `${from}` : `${from}–${list[i]}`);
    }
    return parts.join(", ");
  }

  function update() {
    found = distanceClasses(mask, width, height, state.radius, state.width);
    const counts = new Array(found.count).fill(0);
    for (const index of found.classes) counts[index] += 1;
    for (const [name, show] of Object.entries(dials)) show(state[name]);
    for (const one of tools) press(one, (one.dataset.tool === "erase") === erase);
    for (const one of sizes) press(one, Number(one.dataset.brush) === brush);
    for (const [i, one] of shapes.entries()) press(one, data.shapes[i][1] === state.mask_code);
    const empty = counts.flatMap((count, index) => (count ? [] : [index]));
    number.textContent = `K = ${found.count} classes`;
    const rest = state.radius - found.bins * state.width;
    formula.textContent = `2·⌊${state.radius} / ${state.width}⌋ + 2: ${found.bins} bin${found.bins > 1 ? "s" : ""} on each side, and far on each side.`
      + (rest ? ` R is no multiple of s: beyond ${found.bins * state.width} px counts as far.` : "");
    const size = mask.reduce((sum, value) => sum + value, 0);
    let deepest = 0;
    mask.forEach((inside, i) => { if (inside) deepest = Math.max(deepest, found.squared[i]); });
    const thin = empty.some((index) => index > found.bins);
    verdict.textContent = !size ? "No object: every pixel is class 0, and nothing is learnt about edges."
      : size === mask.length ? "The object fills the frame: there is no edge, so every pixel is deep inside."
        : !empty.length ? "Every class has pixels."
          : `${empty.length} of ${found.count} classes are empty: ${spans(empty)}.`
            + (thin ? ` The object is nowhere deeper than ${Math.sqrt(deepest).toFixed(1)} px, less than the band of ${found.bins * state.width} px: for an object this thin the deep classes teach nothing.` : "");
    Object.assign(box.dataset, { classes: found.count, empty: empty.join(","), counts: counts.join(","), mask: state.mask_code });
    drawScreens();
    if (room) drawBars(counts);
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    mask = decodeLabels(state.mask_code, width * height);
    update();
    if (tell) changed({ ...state });
  }

  function stroke(from, to) {
    const next = Uint8Array.from(mask), length = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
    for (let step = 0; step <= length; step++) {
      const [cx, cy] = [0, 1].map((axis) => Math.round(from[axis] + ((to[axis] - from[axis]) * step) / length));
      for (let y = Math.max(0, cy - brush); y <= Math.min(height - 1, cy + brush); y++)
        for (let x = Math.max(0, cx - brush); x <= Math.min(width - 1, cx + brush); x++)
          if ((x - cx) ** 2 + (y - cy) ** 2 <= brush * brush) next[y * width + x] = erase ? 0 : 1;
    }
    cursor = to;
    set({ mask_code: encodeLabels(next) });
  }
  const at = (canvas, event) => {
    const frame = canvas.getBoundingClientRect();
    return [within(Math.floor(((event.clientX - frame.left) / frame.width) * width), 0, width - 1),
      within(Math.floor(((event.clientY - frame.top) / frame.height) * height), 0, height - 1)];
  };
  pad.addEventListener("pointerdown", (event) => {
    held = at(pad, event);
    pad.setPointerCapture(event.pointerId);
    stroke(held, held);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!held) return;
    const next = at(pad, event);
    stroke(held, next);
    held = next;
  });
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { held = null; });
  pad.style.touchAction = "none";
  heat.addEventListener("pointermove", (event) => { cursor = at(heat, event); drawScreens(); });
  pad.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== " " && event.key !== "e") return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === " ") return stroke(cursor, cursor);
    if (event.key === "e") { erase = !erase; return update(); }
    cursor = [within(cursor[0] + step[0], 0, width - 1), within(cursor[1] + step[1], 0, height - 1)];
    drawScreens();
  });

  const watcher = followWidth(box, (wide) => { room = wide; update(); });
  return { set: (values) => set(values, false), remove: () => watcher.disconnect() };
}
