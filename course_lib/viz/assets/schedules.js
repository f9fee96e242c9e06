// Curricula drawn by hand: difficulty against epoch, what a small batch then looks like, and what accuracy came of the
// schedules that were tried. Views are made here (warp.js), so it works without a kernel.
//
// data: {alt, epochs, steps: T, batch, height, width, channels, pictures: [base64 of bytes], matrices: per picture the
//        T + 1 of its views, 9 numbers each, presets: [{name, kind: "steps" or "processed", values: per epoch, colour}],
//        curves: [{name, epochs, mean, low, high (null for one run)}], places: epochs of the points that can be dragged,
//        state: {preset: name, points: heights of these points, or [] where the preset stands as it is}}

// Whole numbers of each epoch on the lines between points; halves are rounded up.
function scheduleOf(places, points, epochs) {
  return Array.from({ length: epochs }, (_, epoch) => {
    const k = Math.max(1, places.findIndex((p) => p >= epoch));
    const share = (epoch - places[k - 1]) / (places[k] - places[k - 1]);
    return Math.floor(points[k - 1] + share * (points[k] - points[k - 1]) + 0.5);
  });
}

function mountSchedules(host, data, changed = () => {}) {
  const { epochs, places, height, width, channels } = data;
  const pixels = data.pictures.map(bytesOf);
  const thumbnails = new Map();
  let state = { ...data.state };
  let room = 0, held = null, scale = null, focused = null, drawing = false;

  const preset = () => data.presets.find(({ name }) => name === state.preset);
  const most = () => (preset().kind === "steps" ? data.steps : data.batch);
  const own = () => state.points.length > 0;
  const values = () => (own() ? scheduleOf(places, state.points, epochs) : preset().values);
  const heights = () => (own() ? state.points : places.map((epoch) => preset().values[epoch]));

  function thumbnail(image, step) {
    const key = `${image} ${step}`;
    if (!thumbnails.has(key)) {
      const canvas = make("canvas");
      canvas.width = width;
      canvas.height = height;
      paint(canvas.getContext("2d"), sampleView(pixels[image], channels, height, width, data.matrices[image][step]), channels, height, width, 0, 0, width, height);
      thumbnails.set(key, canvas.toDataURL());
    }
    return thumbnails.get(key);
  }

  const buttons = data.presets.map(({ name }) => {
    const button = make("button", { type: "button", text: name, "data-preset": name });
    button.addEventListener("click", () => set({ preset: name, points: [] }));
    return button;
  });
  const reset = make("button", { type: "button", text: "undo my changes" });
  reset.addEventListener("click", () => set({ points: [] }));
  const picture = svgPage(data.alt);
  picture.setAttribute("role", "group");
  const verdict = make("p", { class: "cv-status", role: "status" });
  const legend = make("ul", { class: "cv-key" });
  const help = make("p", { class: "cv-help" });
  help.innerHTML = "Drag a point, or focus it with <kbd>tab</kbd> and use <kbd>↑</kbd> <kbd>↓</kbd>; <kbd>←</kbd> <kbd>→</kbd> go to its neighbours.";
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Schedule editor", "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-bar", style: "margin: 0 0 .4rem; gap: .3rem" }, ...buttons, reset), picture, verdict, legend, help);
  place(host, box);

  function drawStrip(parts, schedule, x, top, side) {
    const shares = preset().kind === "processed";
    const rows = shares ? Math.max(4, pixels.length) : pixels.length;
    places.forEach((epoch, k) => {
      if (k % scale.every) return;
      for (let row = 0; row < rows; row++) {
        const done = shares ? row < Math.round((schedule[epoch] / data.batch) * rows) : true;
        const step = shares ? (done ? data.steps : 0) : schedule[epoch];
        const at = { x: x(epoch) - side / 2, y: top + row * (side + 3), width: side, height: side };
        parts.push(shape("image", { ...at, href: thumbnail(row % pixels.length, step), style: "image-rendering: pixelated", "data-epoch": epoch, "data-step": step }));
        if (shares && done) parts.push(shape("rect", { ...at, fill: "none", stroke: preset().colour, "stroke-width": 2 }));
      }
      const text = shares ? `${schedule[epoch]}/${data.batch}` : schedule[epoch];
      parts.push(shape("text", { x: x(epoch), y: top + rows * (side + 3) + 11, "text-anchor": "middle", fill: "var(--cv-ink)" }, text));
    });
    return top + rows * (side + 3) + 18;
  }

  function drawCurves(parts, edges, top) {
    const bottom = top + 110;
    const all = data.curves.flatMap(({ mean, low, high }) => [...mean, ...(low || []), ...(high || [])]);
    const least = Math.floor(Math.min(...all) * 20) / 20, highest = Math.min(1, Math.ceil(Math.max(...all) * 20 + 1e-9) / 20);
    const { parts: axes, x, y } = panel({ ...edges, top, bottom }, {
      title: "accuracy on original images", low: least, high: Math.max(highest, least + 0.05), left: 0, right: epochs - 1, xLabel: "epoch",
    });
    parts.push(...axes);
    const chosen = ({ name }) => name === state.preset;
    for (const curve of [...data.curves].sort((a, b) => chosen(a) - chosen(b))) {
      const found = data.presets.find(({ name }) => name === curve.name);
      const colour = found ? found.colour : "var(--cv-soft)", bold = chosen(curve) && !own();
      const along = (list) => list.map((value, i) => [x(curve.epochs[i]), y(value)]);
      if (curve.low && bold) parts.push(shape("path", { d: `${line([...along(curve.low), ...along(curve.high).reverse()])}Z`, fill: colour, opacity: 0.2 }));
      parts.push(shape("path", { d: line(along(curve.mean)), fill: "none", stroke: colour, opacity: bold || !found ? 1 : 0.55, "stroke-width": bold ? 2.8 : 1.5, "stroke-dasharray": found ? "none" : "5 3", "data-curve": curve.name }));
    }
    return bottom + 36;
  }

  function draw() {
    const schedule = values(), limit = most(), colour = preset().colour;
    const edges = { x0: 46, x1: room - 30 }, gap = (edges.x1 - edges.x0) / (places.length - 1);
    scale = { every: gap < 34 ? 2 : 1 };
    const side = Math.floor(Math.min(46, gap * scale.every - 4));
    const parts = [];
    const top = panel({ ...edges, top: 32, bottom: 176 }, {
      titleGap: 14, title: preset().kind === "steps" ? "steps of the agent, for every image" : `images of ${data.batch} that the agent has processed to the end`,
      low: 0, high: limit, left: 0, right: epochs - 1, ticks: 4, xTicks: places.filter((_, k) => k % scale.every === 0), xLabel: "epoch",
    });
    parts.push(...top.parts);
    const stairs = (list) => list.map((value, epoch) => (epoch ? `H${top.x(epoch).toFixed(1)}V` : `M${top.x(0).toFixed(1)} `) + top.y(value).toFixed(1)).join("");
    for (const other of data.presets)
      if (other.kind === preset().kind && (other.name !== state.preset || own()))
        parts.push(shape("path", { d: stairs(other.values), fill: "none", stroke: other.colour, opacity: 0.6, "stroke-width": 1.3 }));
    parts.push(shape("path", { d: `${stairs(schedule)}V176H46Z`, fill: colour, opacity: 0.12 }));
    parts.push(shape("path", { d: stairs(schedule), fill: "none", stroke: colour, "stroke-width": 2.6, "data-schedule": "" }));
    const points = heights().map((value, k) => {
      const point = shape("circle", {
        cx: top.x(places[k]), cy: top.y(value), r: 7, fill: "var(--cv-paper)", stroke: colour, "stroke-width": 2.5, tabindex: 0, role: "slider",
        "aria-label": `epoch ${places[k]}`, "aria-valuemin": 0, "aria-valuemax": limit, "aria-valuenow": Math.floor(value + 0.5), "data-point": k,
        style: "cursor: ns-resize; touch-action: none",
      });
      point.addEventListener("focus", () => { focused = k; });
      point.addEventListener("blur", () => { if (!drawing) focused = null; });
      return point;
    });
    parts.push(...points);
    let end = drawStrip(parts, schedule, top.x, 218, side);
    if (data.curves.length) end = drawCurves(parts, edges, end + 34);
    picture.setAttribute("viewBox", `0 0 ${room} ${end}`);
    picture.setAttribute("width", room);
    picture.setAttribute("height", end);
    drawing = true;
    const kept = focused;
    picture.replaceChildren(...parts);
    if (kept !== null) points[kept].focus({ preventScroll: true });
    drawing = false;
    scale = { ...scale, y: (pixel) => within(((176 - pixel) / 144) * limit, 0, limit) };
  }

  function update() {
    const schedule = values(), left = schedule[epochs - 1], steps = preset().kind === "steps";
    for (const button of buttons) press(button, button.dataset.preset === state.preset);
    reset.disabled = !own();
    const mean = schedule.reduce((sum, value) => sum + value, 0) / epochs;
    const first = schedule.findIndex((_, epoch) => schedule.slice(epoch).every((value) => value === 0));
    const average = steps ? `${mean.toFixed(1)} steps on average` : `${((100 * mean) / data.batch).toFixed(0)} % processed images on average`;
    verdict.textContent = `${own() ? `Your own, from ${state.preset}` : state.preset}: ${average}; `
      + (first >= 0 ? `only original images from epoch ${first} on.` : steps ? `the last epoch still shows images after ${left} steps, and a test shows originals.`
        : `the last epoch still has ${left} of ${data.batch} processed images, and a test shows originals.`)
      + (own() && data.curves.length ? " Nobody has measured this one: train it." : "");
    box.dataset.schedule = schedule.join(",");
    const tail = (curve) => curve.mean[curve.mean.length - 1].toFixed(3);
    const colourOf = (name) => (data.presets.find((p) => p.name === name) || { colour: "var(--cv-soft)" }).colour;
    const names = [...new Set([...data.presets.map(({ name }) => name), ...data.curves.map(({ name }) => name)])];
    legend.replaceChildren(...names.map((name) => {
      const curve = data.curves.find((c) => c.name === name);
      return make("li", {}, make("i", { style: `background: ${colourOf(name)}` }), `${name}${curve ? ` ${tail(curve)}` : ""}`);
    }), ...(data.curves.length ? [make("li", { text: "(accuracy at the end)" })] : []));
    if (room) draw();
  }

  function set(changes, tell = true) {
    state = { ...state, ...changes };
    update();
    if (tell) changed({ ...state, points: [...state.points] });
  }

  function move(k, value) {
    const points = [...heights()];
    points[k] = +within(value, 0, most()).toFixed(2);
    set({ points });
  }

  picture.addEventListener("pointerdown", (event) => {
    if (event.target.dataset.point === undefined) return;
    held = Number(event.target.dataset.point);
    picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener("pointermove", (event) => {
    if (held !== null) move(held, Math.round(scale.y(event.clientY - picture.getBoundingClientRect().top)));
  });
  for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => { held = null; });
  picture.addEventListener("keydown", (event) => {
    const k = Number(event.target.dataset.point ?? NaN), step = { ArrowUp: 1, ArrowDown: -1, PageUp: most() / 10, PageDown: -most() / 10 }[event.key];
    const next = { ArrowLeft: k - 1, ArrowRight: k + 1 }[event.key];
    if (Number.isNaN(k) || (step === undefined && next === undefined)) return;
    event.preventDefault();
    event.stopPropagation();
    if (step !== undefined) move(k, Math.round(heights()[k] + step));
    else picture.querySelector(`[data-point="${within(next, 0, places.length - 1)}"]`).focus();
  });

  const watcher = followWidth(box, (wide) => { room = wide; update(); });
  return { set: (changes) => set(changes, false), remove: () => watcher.disconnect() };
}
