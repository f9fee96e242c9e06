// One cell of the current frame looks through a window into the frames before it. Scores, temperature and the softmax
// over space and time are computed here, so it works without a kernel; tests hold the weights to local_affinity.
//
// data: {alt, rows, columns, stride, width, height, pictures: [data URI per frame, the one that asks last], names,
//        keys: base64 of int8 [frame, row, column, channel], scales: per channel, origins: base64 of int16
//        [stored frame, row, column, x y] in tenths of a cell or null, widest: largest window, temperatures: [low, high],
//        ramp: [[r, g, b], …], colours: {window, truth}, state: {cell: [row, column], window, memory, temperature}}

function decodeKeys(code, scales) {
  const codes = new Int8Array(bytesOf(code).buffer);
  return Float64Array.from(codes, (value, i) => value * scales[i % scales.length]);
}

// Weight of every stored cell, oldest frame first, for the cell that asks; 0 outside of the windows.
function windowWeights(keys, channels, stored, rows, columns, { cell, window, memory, temperature }) {
  const cells = rows * columns, reach = (window - 1) / 2, asking = (stored * cells + cell[0] * columns + cell[1]) * channels;
  const weights = new Float64Array(stored * cells), seen = [];
  let best = -Infinity, total = 0;
  for (let s = stored - memory; s < stored; s++)
    for (let y = Math.max(0, cell[0] - reach); y <= Math.min(rows - 1, cell[0] + reach); y++)
      for (let x = Math.max(0, cell[1] - reach); x <= Math.min(columns - 1, cell[1] + reach); x++) {
        const i = s * cells + y * columns + x;
        let score = 0;
        for (let c = 0; c < channels; c++) score += keys[asking + c] * keys[i * channels + c];
        weights[i] = score / temperature;
        best = Math.max(best, weights[i]);
        seen.push(i);
      }
  for (const i of seen) total += weights[i] = Math.exp(weights[i] - best);
  for (const i of seen) weights[i] /= total;
  return { weights, seen };
}

function mountWindow(host, data, changed = () => {}) {
  const { rows, columns, stride, width, height, names } = data;
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  const cells = rows * columns, channels = data.scales.length, stored = names.length - 1;
  const keys = decodeKeys(data.keys, data.scales);
  const origins = data.origins ? new Int16Array(bytesOf(data.origins).buffer) : null;
  const pictures = data.pictures.map((uri) => Object.assign(new Image(), { src: uri }));
  const order = Array.from({ length: stored }, (_, i) => stored - 1 - i);  // newest first, as they are shown
  const small = 2 * Math.min(rows, columns) - 1;
  const windows = Array.from({ length: (data.widest + 1) / 2 }, (_, i) => 2 * i + 1).filter((side) => side <= small || side === data.widest);
  const [coldest, hottest] = data.temperatures.map((value) => Math.round(10 * Math.log10(value)));
  let state = { ...data.state };
  let found = null;

  function screen(css, label) {
    const canvas = make("canvas", { role: "img", "aria-label": label, style: "width: 100%" });
    canvas.width = css * ratio;
    canvas.height = Math.round((css * ratio * height) / width);
    return canvas;
  }
  const ask = screen(360, `${data.alt} Point at a cell, or move with the arrow keys.`);
  Object.assign(ask, { tabIndex: 0 });
  Object.assign(ask.style, { cursor: "crosshair", touchAction: "none" });
  const screens = order.map((s) => screen(350, `Weights over ${names[s]}.`));
  const captions = order.map(() => make("figcaption"));

  const dials = [
    ["window", "window", 0, windows.length - 1, () => windows.reduce((best, side, i) => (Math.abs(side - state.window) < Math.abs(windows[best] - state.window) ? i : best), 0), (i) => windows[i], () => (state.window === data.widest ? "all" : `${state.window} × ${state.window}`)],
    ["memory", "frames S", 1, stored, () => state.memory, (i) => i, () => state.memory],
    ["temperature", "temperature", coldest, hottest, () => Math.round(10 * Math.log10(state.temperature)), (i) => +(10 ** (i / 10)).toPrecision(3), () => `${+state.temperature.toPrecision(2)}`],
  ].map(([name, label, min, max, place, value, text]) => {
    const input = make("input", { type: "range", min, max, step: 1, "aria-label": label, "data-dial": name });
    const output = make("output");
    input.addEventListener("input", () => set({ [name]: value(Number(input.value)) }));
    return { row: make("label", { class: "cv-dial", style: "grid-template-columns: 5.6rem 1fr 3.6rem" }, make("span", { text: label }), input, output),
      show: () => { input.value = place(); output.textContent = text(); input.setAttribute("aria-valuetext", text()); } };
  });
  const own = make("button", { type: "button", text: "the network's own temperature" });
  own.addEventListener("click", () => set({ temperature: 1 }));
  const headline = make("div", { class: "cv-result", role: "status", style: "font-size: 16px; margin-top: .5rem" });
  const text = make("p", { class: "cv-status", role: "status" });
  const truth = make("p", { class: "cv-status", role: "status", style: "color: var(--cv-ink)" });
  const help = make("p", { class: "cv-help" });
  help.innerHTML = "Point at a cell, or focus the picture and use <kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd>.";
  const most = make("span");
  const gradient = data.ramp.map((colour) => `rgb(${colour})`).join(", ");
  const legend = make("ul", { class: "cv-key" },
    make("li", {}, "weight 0 ", make("i", { style: `width: 6em; vertical-align: -.1em; margin: 0 .35em; background: linear-gradient(90deg, ${gradient})` }), most),
    make("li", {}, make("i", { style: `background: none; border: 2px solid ${data.colours.window}` }), "the window: it may look here"),
    ...(origins ? [make("li", {}, make("b", { text: "+ ", style: `color: ${data.colours.truth}; font-size: 15px` }), "where it really was")] : []));
  const track = (canvas, caption, css) => make("figure", { class: "cv-track", style: css }, caption, canvas);
  const tracks = order.map((_, i) => track(screens[i], captions[i], "flex: 1 1 19rem; max-width: 22.1rem"));
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Window explorer", "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-split" },
      track(ask, make("figcaption", { text: `${names[stored]} asks` }), "flex: 1 1 20rem; max-width: 26rem"),
      make("div", { class: "cv-panel" }, ...dials.map(({ row }) => row), make("div", { class: "cv-bar", style: "margin: .2rem 0 0" }, own), headline, text, truth)),
    make("div", { class: "cv-tracks", style: "margin-top: .7rem" }, ...tracks), legend, help);
  place(host, box);

  // A canvas with its picture, dimmed; units are canvas pixels. Returns the context and the side of a cell.
  function prepared(canvas, t, veil) {
    const context = canvas.getContext("2d");
    context.fillStyle = "#bbb";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (pictures[t] && pictures[t].complete && pictures[t].naturalWidth) context.drawImage(pictures[t], 0, 0, canvas.width, canvas.height);
    context.fillStyle = `rgba(0, 0, 0, ${veil})`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    return [context, (canvas.width / width) * stride];
  }
  const framed = (x, y, wide, tall) => { const path = new Path2D(); path.rect(x, y, wide, tall); return path; };

  function drawQuery() {
    const [context, side] = prepared(ask, stored, 0);
    const [row, column] = state.cell, x = (column + 0.5) * side, y = (row + 0.5) * side;
    context.globalAlpha = 0.6;
    strokeCased(context, new Path2D(`M0 ${y}H${x - side}M${x + side} ${y}H${ask.width}M${x} 0V${y - side}M${x} ${y + side}V${ask.height}`), "#ffffff", 0.7 * ratio);
    context.globalAlpha = 1;
    strokeCased(context, framed(column * side, row * side, side, side), data.colours.window, 1.6 * ratio);
  }

  // Displacement (x, y) in cells from the cell that asks to where it was in frame s; null where it was not seen.
  function originIn(s) {
    if (!origins) return null;
    const at = 2 * (s * cells + state.cell[0] * columns + state.cell[1]);
    return origins[at] === -32768 ? null : [origins[at] / 10, origins[at + 1] / 10];
  }

  function drawStored(s, i, peak) {
    const used = s >= stored - state.memory, [context, side] = prepared(screens[i], s, used ? 0.45 : 0.8);
    if (used) {
      for (const n of found.seen)
        if (Math.floor(n / cells) === s) {
          const share = found.weights[n] / peak, cell = n % cells;
          context.fillStyle = `rgba(${data.ramp[Math.round(share * (data.ramp.length - 1))]}, ${0.12 + 0.75 * Math.sqrt(share)})`;
          context.fillRect((cell % columns) * side, Math.floor(cell / columns) * side, side, side);
        }
      const reach = (state.window - 1) / 2, top = Math.max(0, state.cell[0] - reach), left = Math.max(0, state.cell[1] - reach);
      const low = Math.min(rows, state.cell[0] + reach + 1), right = Math.min(columns, state.cell[1] + reach + 1);
      strokeCased(context, framed(left * side, top * side, (right - left) * side, (low - top) * side), data.colours.window, 1.1 * ratio);
    }
    const was = originIn(s);
    if (was) {
      const x = (state.cell[1] + 0.5 + was[0]) * side, y = (state.cell[0] + 0.5 + was[1]) * side, arm = 7 * ratio;
      strokeCased(context, new Path2D(`M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`), "#2fe0a8", 1.5 * ratio);
    }
  }

  const percent = (share) => `${share < 0.005 ? "< 1" : share > 0.995 && share < 1 - 1e-9 ? "> 99" : Math.round(100 * share)} %`;
  const signed = (value) => (value > 0 ? `+${value}` : minus(value));

  function update() {
    found = windowWeights(keys, channels, stored, rows, columns, state);
    const shares = order.map((s) => found.weights.subarray(s * cells, (s + 1) * cells).reduce((sum, w) => sum + w, 0));
    const best = found.seen.reduce((a, b) => (found.weights[b] > found.weights[a] ? b : a)), peak = found.weights[best];
    const spread = Math.exp(found.seen.reduce((sum, n) => sum - (found.weights[n] > 0 ? found.weights[n] * Math.log(found.weights[n]) : 0), 0));
    drawQuery();
    order.forEach((s, i) => {
      drawStored(s, i, peak);
      captions[i].textContent = s >= stored - state.memory ? `${names[s]}: ${percent(shares[i])}` : `${names[s]}: not kept`;
      captions[i].style.opacity = s >= stored - state.memory ? 1 : 0.5;
    });
    for (const { show } of dials) show();
    press(own, Math.abs(state.temperature - 1) < 1e-9);
    const frame = Math.floor(best / cells), rest = best % cells, down = Math.floor(rest / columns) - state.cell[0], right = (rest % columns) - state.cell[1];
    headline.textContent = `most: ${names[frame]}, (${signed(right)}, ${signed(down)}) cells, ${percent(peak)}`;
    const few = spread < 1.5 ? "one cell alone" : `as many as ${+spread.toPrecision(spread < 100 ? 2 : 3)} cells with equal say`;
    text.textContent = `It may look at ${found.seen.length} of ${stored * cells} stored cells; the answer comes from ${few}.`;
    const reach = (state.window - 1) / 2, kept = order.filter((s) => s >= stored - state.memory);
    const outside = kept.filter((s) => { const was = originIn(s); return was && Math.max(...was.map((v) => Math.abs(Math.round(v)))) > reach; });
    const hidden = kept.filter((s) => origins && !originIn(s));
    truth.textContent = !origins ? "" : outside.length ? `In ${outside.map((s) => names[s]).join(", ")} it was outside of the window: no score can find it there.`
      : hidden.length ? `In ${hidden.map((s) => names[s]).join(", ")} it was not to be seen: whatever answers there is something else.` : "In every kept frame it was inside the window.";
    most.textContent = peak.toPrecision(2);
    Object.assign(box.dataset, { cell: state.cell.join(","), best, peak, shares: [...shares].reverse().join(","), outside: outside.join(",") });
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    state.cell = [within(state.cell[0], 0, rows - 1), within(state.cell[1], 0, columns - 1)];
    update();
    if (tell) changed({ ...state });
  }

  function point(event) {
    const frame = ask.getBoundingClientRect(), pixel = frame.width / width;
    const cell = [event.clientY - frame.top, event.clientX - frame.left].map((offset) => Math.floor(offset / pixel / stride));
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
  return { set: (values) => set(values, false), remove: () => {} };
}
