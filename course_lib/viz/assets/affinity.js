// One cell of the query frame asks, cells of the stored frames answer. Similarity, top-k and softmax are computed here,
// so it works without a kernel; a browser test holds the weights to those of course_lib.nn.attention_read.
//
// data: {alt, rows, columns, stride, top, left: padding in pixels, width, height, pictures: [data URI per frame], names,
//        query: index of the frame that asks, keys: base64 of int8 [frame, row, column, channel], scales: per channel,
//        root: of the number of channels, masks: base64 of uint8 [stored frame, row, column] or null,
//        ramp: [[r, g, b], …], stops: values of the top_k slider, state: {cell: [row, column], top_k, metric}}

const bytesOf = (code) => Uint8Array.from(atob(code), (character) => character.charCodeAt(0));

function decodeKeys(code, scales) {
  const codes = new Int8Array(bytesOf(code).buffer);
  return Float64Array.from(codes, (value, i) => value * scales[i % scales.length]);
}

// Weight of every stored cell for the query cell. keys: [cell, channel] of all frames; stored: the cells that may
// answer; query: the cell that asks. l2 is the negative squared distance.
function affinityWeights(keys, channels, root, stored, query, topK, metric) {
  const scores = Float64Array.from(stored, (cell) => {
    let score = 0;
    for (let c = 0; c < channels; c++) {
      const key = keys[cell * channels + c], wanted = keys[query * channels + c];
      score += metric === "l2" ? -((key - wanted) ** 2) : key * wanted;
    }
    return score / root;
  });
  const best = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a]).slice(0, topK);
  const weights = new Float64Array(stored.length);
  let total = 0;
  for (const i of best) total += weights[i] = Math.exp(scores[i] - scores[best[0]]);
  for (const i of best) weights[i] /= total;
  return { weights, best };
}

function mountAffinity(host, data, changed = () => {}) {
  const { rows, columns, stride, width, height, names } = data;
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  const cells = rows * columns, channels = data.scales.length;
  const keys = decodeKeys(data.keys, data.scales);
  const masks = data.masks ? bytesOf(data.masks) : null;
  const frames = names.map((_, t) => t).filter((t) => t !== data.query);
  const stored = frames.flatMap((t) => Array.from({ length: cells }, (_, i) => t * cells + i));
  const pictures = data.pictures.map((uri) => Object.assign(new Image(), { src: uri }));
  let state = { ...data.state };
  let found = null;

  const size = (wanted) => Math.min(wanted, Math.round((wanted * width) / height));  // tall frames are not enlarged
  const askSize = size(300), storedSize = size(210);
  function screen(css, label) {
    const canvas = make("canvas", { role: "img", "aria-label": label });
    canvas.width = css * ratio;
    canvas.height = Math.round((css * ratio * height) / width);
    canvas.style.width = `${css}px`;
    return canvas;
  }
  const ask = screen(askSize, `${data.alt} Point at a cell, or move with the arrow keys.`);
  ask.tabIndex = 0;
  ask.style.cursor = "crosshair";
  ask.style.touchAction = "none";
  const screens = frames.map((t) => screen(storedSize, `Weights over ${names[t]}.`));
  const captions = frames.map(() => make("figcaption"));

  const slider = make("input", { type: "range", min: 0, max: data.stops.length - 1, step: 1, "aria-label": "top_k: cells that may answer", "data-dial": "top_k" });
  const output = make("output");
  slider.addEventListener("input", () => set({ top_k: data.stops[Number(slider.value)] }));
  const buttons = [["l2", "L2 distance"], ["dot", "dot product"]].map(([metric, text]) => {
    const button = make("button", { type: "button", text, "data-metric": metric });
    button.addEventListener("click", () => set({ metric }));
    return button;
  });
  const readout = make("div", { class: "cv-result", role: "status" });
  const text = make("p", { class: "cv-status", role: "status" });
  const help = make("p", { class: "cv-help" });
  help.innerHTML = "Point at a cell, or focus the picture and use <kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd>.";

  const most = make("span");
  const gradient = data.ramp.map((colour) => `rgb(${colour})`).join(", ");
  const legend = make("ul", { class: "cv-key" },
    make("li", {}, "weight 0 ", make("i", { style: `width: 6em; vertical-align: -.1em; margin: 0 .35em; background: linear-gradient(90deg, ${gradient})` }), most),
    make("li", {}, make("i", { style: "background: #fff; border: 2px solid #222" }), "cells that answer"),
    ...(masks ? [make("li", {}, make("i", { style: "background: none; border: 2px dashed #009e73" }), "object")] : []));
  const track = (canvas, caption, css) => make("figure", { class: "cv-track", style: `max-width: ${css}px` }, caption, canvas);
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Affinity explorer", "data-lm-suppress-shortcuts": "true" },
    make("div", { class: "cv-split" },
      track(ask, make("figcaption", { text: `${names[data.query]} asks` }), askSize),
      make("div", { class: "cv-panel" },
        make("label", { class: "cv-dial", style: "grid-template-columns: 3rem 1fr 3.4rem" }, make("span", { text: "top_k" }), slider, output),
        make("div", { class: "cv-bar", style: "margin: .4rem 0 .6rem" }, ...buttons), ...(masks ? [readout] : []), text, help)),
    make("div", { class: "cv-tracks", style: "margin-top: .7rem" }, ...frames.map((_, i) => track(screens[i], captions[i], storedSize))),
    legend);
  host.querySelectorAll(":scope > .cv-box").forEach((old) => old.remove());
  host.append(box);

  // A canvas with its picture, moved so that the grid of cells begins at 0, 0; units are canvas pixels.
  function prepared(canvas, t, veil) {
    const context = canvas.getContext("2d");
    const zoom = canvas.width / width;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#bbb";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (pictures[t].complete && pictures[t].naturalWidth) context.drawImage(pictures[t], 0, 0, canvas.width, canvas.height);
    context.fillStyle = `rgba(0, 0, 0, ${veil})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.translate(-data.left * zoom, -data.top * zoom);
    return [context, zoom * stride];
  }

  function drawQuery() {
    const [context, side] = prepared(ask, data.query, 0);
    const [row, column] = state.cell;
    const x = (column + 0.5) * side, y = (row + 0.5) * side, far = columns * side, low = rows * side;
    const cross = new Path2D(`M0 ${y}H${x - side}M${x + side} ${y}H${far}M${x} 0V${y - side}M${x} ${y + side}V${low}`);
    context.globalAlpha = 0.75;
    strokeCased(context, cross, "#ffffff", 0.7 * ratio);
    context.globalAlpha = 1;
    const frame = new Path2D();
    frame.rect(column * side, row * side, side, side);
    strokeCased(context, frame, "#e69f00", 1.6 * ratio);
  }

  function drawStored(t, i, peak) {
    const [context, side] = prepared(screens[i], t, 0.4);
    const own = found.weights.subarray(i * cells, (i + 1) * cells);
    const members = new Set(found.best.filter((n) => Math.floor(n / cells) === i).map((n) => n % cells));
    for (const cell of members) {
      const share = own[cell] / peak;
      const colour = data.ramp[Math.round(share * (data.ramp.length - 1))];
      context.fillStyle = `rgba(${colour}, ${0.55 + 0.35 * share})`;
      context.fillRect((cell % columns) * side, Math.floor(cell / columns) * side, side, side);
    }
    if (masks) {
      context.setLineDash([5 * ratio, 4 * ratio]);
      strokeCased(context, outline((cell) => masks[i * cells + cell] >= 128, columns, rows, side), "#3fd0a0", 1.2 * ratio);
      context.setLineDash([]);
    }
    strokeCased(context, outline((cell) => members.has(cell), columns, rows, side), "#ffffff", 0.9 * ratio);
  }

  const percent = (share) => `${share < 0.005 ? "< 1" : share > 0.995 && share < 1 - 1e-9 ? "> 99" : Math.round(100 * share)} %`;

  function update() {
    const asking = data.query * cells + state.cell[0] * columns + state.cell[1];
    found = affinityWeights(keys, channels, data.root, stored, asking, state.top_k, state.metric);
    const peak = found.weights[found.best[0]];
    const shares = frames.map((_, i) => found.weights.subarray(i * cells, (i + 1) * cells).reduce((sum, w) => sum + w, 0));
    drawQuery();
    frames.forEach((t, i) => {
      drawStored(t, i, peak);
      captions[i].textContent = `${names[t]}: ${percent(shares[i])}`;
    });
    const nearest = data.stops.reduce((a, b) => (Math.abs(b - state.top_k) < Math.abs(a - state.top_k) ? b : a));
    slider.value = data.stops.indexOf(nearest);
    output.textContent = state.top_k === stored.length ? `all ${stored.length}` : state.top_k;
    slider.setAttribute("aria-valuetext", `${state.top_k} of ${stored.length} cells`);
    for (const button of buttons) {
      const on = button.dataset.metric === state.metric;
      button.setAttribute("aria-pressed", on);
      button.style.cssText = on ? "border-color: var(--cv-accent); box-shadow: inset 0 0 0 1px var(--cv-accent); font-weight: 600" : "";
    }
    text.textContent = `${state.top_k} of ${stored.length} stored cells answer${state.top_k === 1 ? "s" : ""}; the best holds ${percent(peak)} `
      + `of the weight. By frame: ${frames.map((t, i) => `${names[t]} ${percent(shares[i])}`).join(", ")}.`;
    most.textContent = peak.toPrecision(2);
    box.dataset.cell = state.cell.join(",");
    box.dataset.best = peak;
    box.dataset.shares = shares.join(",");
    if (masks) {
      const value = found.best.reduce((sum, n) => sum + (found.weights[n] * masks[n]) / 255, 0);
      readout.textContent = `this cell is object: ${value.toFixed(2)}`;
      box.dataset.readout = value;
    }
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    state.cell = [within(state.cell[0], rows), within(state.cell[1], columns)];
    update();
    if (tell) changed({ ...state });
  }

  function point(event) {
    const place = ask.getBoundingClientRect(), pixel = place.width / width;
    const along = (offset, padding) => Math.floor((offset / pixel + padding) / stride);
    const cell = [along(event.clientY - place.top, data.top), along(event.clientX - place.left, data.left)];
    if (cell.join() !== state.cell.join()) set({ cell });
  }
  let held = false;
  ask.addEventListener("pointerdown", (event) => { held = true; ask.setPointerCapture(event.pointerId); point(event); });
  ask.addEventListener("pointermove", (event) => { if (held) point(event); });
  for (const name of ["pointerup", "pointercancel"]) ask.addEventListener(name, () => { held = false; });
  ask.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set({ cell: [state.cell[0] + step[0], state.cell[1] + step[1]] });
  });
  for (const picture of pictures) picture.addEventListener("load", update, { once: true });
  update();
  return { set: (values) => set(values, false) };
}
