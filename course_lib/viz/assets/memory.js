// Recorded runs of memory policies: accuracy, content and bytes over time, two runs at once.
//
// data: {alt, dials: [{name, label, values}], table: index of the run of each combination, last dial fastest,
//        runs: [{length, j: [thousandths or null], mean, rate: frames/s, bytes: [[from frame, bytes], …],
//                hidden: [[start, stop], …], spans: of later births, held: [[from frame, birth span, cells, …], …]}],
//        colours: {run, compare, first, later: […]}, state: {selection: {dial: value}, compare, time}}

function shape(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Value in force at frame t of a list of [from frame, …].
const inForce = (list, t) => list.findLast((entry) => entry[0] <= t);

// Cells held at frame t, by birth span; 0 is the first frame.
function heldAt(run, t) {
  const [, ...pairs] = inForce(run.held, t);
  const cells = new Array(run.spans + 1).fill(0);
  for (let i = 0; i < pairs.length; i += 2) cells[pairs[i]] = pairs[i + 1];
  return cells;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function runOf(data, selection) {
  const at = data.dials.reduce((index, { name, values }) => index * values.length + values.indexOf(selection[name]), 0);
  return data.table[at];
}

function roundUp(value) {  // to a number that reads well
  const unit = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * unit >= value * 0.999) * unit;
}

function mountMemory(host, data, changed = () => {}) {
  const plain = (value) => String(value).replaceAll("_", " ");
  const main = data.dials[0];
  let state = { ...data.state };
  let run = null, other = null, width = 0, scale = null;

  const rows = {};
  const dialRows = data.dials.map(({ name, label, values }) => {
    const text = typeof values[0] === "string";
    const input = text
      ? make("select", { "aria-label": label, "data-dial": name }, ...values.map((v, i) => make("option", { value: i, text: plain(v) })))
      : make("input", { type: "range", min: 0, max: values.length - 1, step: 1, "aria-label": label, "data-dial": name });
    const output = make("output");
    input.addEventListener("input", () => set({ selection: { ...state.selection, [name]: values[Number(input.value)] } }));
    const row = make("label", { class: "cv-dial" }, make("span", { text: label }), input, ...(text ? [] : [output]));
    rows[name] = { values, input, output, row, text };
    return row;
  });
  const against = make("select", { "aria-label": "compare with", "data-dial": "compare" }, ...main.values.map((v, i) => make("option", { value: i, text: plain(v) })));
  against.addEventListener("input", () => set({ compare: main.values[Number(against.value)] }));
  const cursor = make("input", { type: "range", min: 0, step: 1, "aria-label": "frame", "data-dial": "time", style: "width: 100%" });
  cursor.addEventListener("input", () => set({ time: Number(cursor.value) }));
  const count = make("output");

  const picture = shape("svg", { role: "img", "aria-label": data.alt, style: "display: block; touch-action: pan-y; cursor: ew-resize; user-select: none; font: 12px system-ui, sans-serif" });
  const cellStyle = "padding: .1rem .6rem .1rem 0; text-align: right; white-space: nowrap; border: 0; font-size: 13px; font-variant-numeric: tabular-nums; color: var(--cv-ink); background: none";
  const heads = ["", "J here", "bytes", "of frame 0", "mean J", "frames/s"].map((text) => make("th", { text, style: `${cellStyle}; color: var(--cv-soft); font-weight: 400` }));
  const lines = [["run", "4"], ["compare", "2"]].map(([key, thick]) => {
    const stroke = shape("svg", { width: 26, height: 8, style: "margin-right: .45em", "aria-hidden": "true" });
    stroke.append(shape("path", { d: "M0 4H26", stroke: data.colours[key], "stroke-width": thick / 2 + 0.5, "stroke-dasharray": key === "run" ? "none" : "5 3" }));
    const name = make("span");
    const cells = heads.slice(1).map(() => make("td", { style: cellStyle }));
    const head = make("td", { style: `${cellStyle}; text-align: left; font-weight: 600` }, stroke, name);
    return { key, name, cells, row: make("tr", { "data-row": key, style: "background: none" }, head, ...cells) };
  });
  const table = make("table", { style: "border-collapse: collapse; border: 0; margin: .3rem 0 0", "data-readout": "" },
    make("thead", { style: "border: 0" }, make("tr", { style: "background: none" }, ...heads)), make("tbody", {}, ...lines.map((line) => line.row)));
  const born = make("span");
  const legend = make("ul", { class: "cv-key" },
    make("li", {}, make("i", { style: `background: ${data.colours.first}` }), "cells of frame 0"),
    make("li", {}, make("i", { style: `width: 6em; background: linear-gradient(90deg, ${data.colours.later.join(", ")})` }), born),
    ...(data.runs.some((r) => r.hidden.length) ? [make("li", {}, make("i", { style: "background: var(--cv-line)" }), "object hidden")] : []));
  const wide = "grid-template-columns: 6.6rem minmax(0, 1fr) 3.6rem";
  for (const row of dialRows) row.style.cssText = wide;
  const box = make("div", {
    class: "cv-box", role: "group", "aria-label": "Memory explorer", "data-lm-suppress-shortcuts": "true", style: "width: 46rem",
  },
  make("div", { style: "display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0 1.4rem" }, ...dialRows,
    make("label", { class: "cv-dial", style: wide }, make("span", { text: "compare with" }), against)),
  make("div", { style: "overflow-x: auto" }, table), picture,
  make("label", { class: "cv-dial", style: "grid-template-columns: 3rem minmax(0, 1fr) 2.6rem" }, make("span", { text: "frame" }), cursor, count), legend);
  host.querySelectorAll(":scope > .cv-box").forEach((old) => old.remove());
  host.append(box);

  const byteUnit = (most) => (most >= 2 ** 20 ? [2 ** 20, "MiB"] : [1024, "KiB"]);
  const showBytes = (bytes) => {
    const [unit, name] = byteUnit(bytes);
    return `${bytes / unit >= 100 ? Math.round(bytes / unit) : (bytes / unit).toFixed(1)} ${name}`;
  };

  function draw() {
    const left = 44, right = 10, length = Math.max(run.length, other.length);
    const x = (t) => left + (t / (length - 1)) * (width - left - right);
    const fixed = (value) => value.toFixed(1);
    const panels = [["J of the object", 22, 112], [width < 420 ? "cells held, by birth frame" : "cells held, coloured by the frame they were born in", 164, 120], ["", 314, 72]];
    const bottom = 386;
    picture.setAttribute("viewBox", `0 0 ${width} ${bottom + 36}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", bottom + 36);
    const parts = [];
    const ink = { fill: "var(--cv-soft)" };
    const peak = Math.max(...[run, other].flatMap((r) => r.bytes.map((entry) => entry[1])));
    const [unit, unitName] = byteUnit(peak);
    const most = roundUp(peak / unit) * unit;
    const largest = Math.max(1, ...run.held.map(([t]) => sum(heldAt(run, t))));
    panels[2][0] = `bytes of these cells (${unitName})`;
    const tops = [1, largest, most], ticks = [["0", ".5", "1"], ["0", largest], ["0", +(most / unit).toPrecision(3)]];
    const y = panels.map(([, top, tall], i) => (value) => top + tall - (value / tops[i]) * tall);

    const edge = (t) => x(Math.min(length - 1, Math.max(0, t - 0.5)));
    panels.forEach(([title, top, tall], i) => {
      for (const [start, stop] of run.hidden)
        parts.push(shape("rect", { x: edge(start), y: top, width: edge(stop) - edge(start), height: tall, fill: "var(--cv-line)", opacity: 0.7, "data-hidden": i }));
      parts.push(shape("text", { x: left, y: top - 7, fill: "var(--cv-ink)", "font-weight": 600 }, title));
      parts.push(shape("path", { d: `M${left} ${top}V${top + tall}H${width - right}`, stroke: "var(--cv-soft)", fill: "none" }));
      ticks[i].forEach((tick, k) => {
        const at = top + tall - (k / (ticks[i].length - 1)) * tall;
        parts.push(shape("text", { ...ink, x: left - 6, y: at + 4, "text-anchor": "end" }, tick));
        if (k) parts.push(shape("path", { d: `M${left} ${at}H${width - right}`, stroke: "var(--cv-line)" }));
      });
    });

    // What the memory holds: one stepped band per span of births, oldest at the bottom.
    const moments = run.held.map(([t]) => t).concat(run.length - 1);
    const stacks = run.held.map(([t]) => {
      let total = 0;
      return [0, ...heldAt(run, t).map((cells) => (total += cells))];
    });
    for (let b = 0; b <= run.spans; b++) {
      if (stacks.every((stack) => stack[b + 1] === stack[b])) continue;
      let path = "";
      stacks.forEach((stack, e) => {
        if (stack[b + 1] > stack[b]) path += `M${fixed(x(moments[e]))} ${fixed(y[1](stack[b]))}V${fixed(y[1](stack[b + 1]))}H${fixed(x(moments[e + 1]))}V${fixed(y[1](stack[b]))}Z`;
      });
      const fill = b === 0 ? data.colours.first : data.colours.later[Math.round(((b - 1) / Math.max(1, run.spans - 1)) * (data.colours.later.length - 1))];
      parts.push(shape("path", { d: path, fill, stroke: fill, "stroke-width": 0.4, "data-born": b }));
    }

    for (const [r, key] of [[run, "run"], [other, "compare"]]) {
      const pen = { fill: "none", stroke: data.colours[key], "stroke-width": key === "run" ? 2.6 : 1.5, "stroke-dasharray": key === "run" ? "none" : "5 3", "stroke-linejoin": "round" };
      let curve = "";
      r.j.forEach((value, t) => {
        if (value === null) return;
        const alone = r.j[t - 1] == null;
        curve += `${alone ? "M" : "L"}${fixed(x(t))} ${fixed(y[0](value / 1000))}${alone && r.j[t + 1] == null ? "h.1" : ""}`;
      });
      parts.push(shape("path", { ...pen, d: curve, "data-curve": key, "stroke-linecap": "round" }));
      let stairs = "";
      r.bytes.forEach(([t, bytes], i) => { stairs += i ? `H${fixed(x(t))}V${fixed(y[2](bytes))}` : `M${fixed(x(t))} ${fixed(y[2](bytes))}`; });
      parts.push(shape("path", { ...pen, d: `${stairs}H${fixed(x(r.length - 1))}` }));
    }
    const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000].find((s) => (length - 1) / s <= Math.max(3, width / 80)) || length;
    for (let t = 0; t < length; t += step) {
      parts.push(shape("path", { d: `M${x(t)} ${bottom}v4`, stroke: "var(--cv-soft)" }));
      parts.push(shape("text", { ...ink, x: x(t), y: bottom + 17, "text-anchor": "middle" }, t));
    }
    parts.push(shape("text", { ...ink, x: (left + width - right) / 2, y: bottom + 33, "text-anchor": "middle" }, "frame"));
    const line = shape("path", { stroke: "var(--cv-ink)", "stroke-width": 1.3, "data-cursor": "" });
    const dots = [[other, "compare"], [run, "run"]].map(([r, key]) => [r, shape("circle", { r: 4, fill: data.colours[key], stroke: "var(--cv-paper)", "stroke-width": 1.2 })]);
    picture.replaceChildren(...parts, line, ...dots.map(([, dot]) => dot));
    scale = { x, y, left, right, length, line, dots, bottom };
  }

  function point() {
    const t = Math.min(state.time, scale.length - 1), at = scale.x(t);
    scale.line.setAttribute("d", `M${at} 18V${scale.bottom}`);
    for (const [r, dot] of scale.dots) {
      const value = t < r.length ? r.j[t] : null;
      dot.setAttribute("visibility", value === null ? "hidden" : "visible");
      dot.setAttribute("cx", at);
      dot.setAttribute("cy", scale.y[0]((value || 0) / 1000));
    }
    cursor.max = scale.length - 1;
    cursor.value = t;
    count.textContent = t;
    lines.forEach(({ key, name, cells }, i) => {
      const r = i ? other : run;
      name.textContent = plain(i ? state.compare : state.selection[main.name]);
      const over = t >= r.length;
      const held = over ? [0] : heldAt(r, t);
      const share = sum(held) ? held[0] / sum(held) : 0;
      const hidden = r.hidden.some(([start, stop]) => t >= start && t < stop);
      const texts = [
        over ? "ended" : r.j[t] === null ? (hidden ? "hidden" : "–") : (r.j[t] / 1000).toFixed(2),
        over ? "–" : showBytes(inForce(r.bytes, t)[1]), over || !sum(held) ? "–" : `${Math.round(100 * share)} %`,
        r.mean === null ? "–" : r.mean.toFixed(3), r.rate === null ? "–" : r.rate.toPrecision(3),
      ];
      texts.forEach((text, k) => { cells[k].textContent = text; });
      box.dataset[`${key}Share`] = share;
    });
    box.dataset.time = t;
  }

  function update() {
    const index = runOf(data, state.selection);
    run = data.runs[index];
    other = data.runs[runOf(data, { ...state.selection, [main.name]: state.compare })];
    box.dataset.run = index;
    for (const [name, { values, input, output, row, text }] of Object.entries(rows)) {
      const at = values.indexOf(state.selection[name]);
      input.value = at;
      const idle = values.length > 1 && values.every((value) => runOf(data, { ...state.selection, [name]: value }) === index);
      row.style.opacity = idle ? 0.5 : 1;
      row.title = idle ? "has no effect on this run" : "";
      if (!text) output.textContent = idle ? "no effect" : values[at];
      input.setAttribute("aria-valuetext", `${values[at]}${idle ? ", no effect on this run" : ""}`);
    }
    against.value = main.values.indexOf(state.compare);
    born.textContent = `born in frame 1 … ${run.length - 1}`;
    draw();
    point();
  }

  function set(values, tell = true) {
    const moved = Object.keys(values).every((name) => name === "time");
    state = { ...state, ...values };
    if (moved) point();
    else update();
    if (tell) changed({ ...state });
  }

  let held = false;
  function drag(event) {
    const place = picture.getBoundingClientRect();
    const along = (event.clientX - place.left - scale.left) / (place.width - scale.left - scale.right);
    const time = Math.max(0, Math.min(scale.length - 1, Math.round(along * (scale.length - 1))));
    if (time !== state.time) set({ time });
  }
  picture.addEventListener("pointerdown", (event) => { held = true; picture.setPointerCapture(event.pointerId); drag(event); });
  picture.addEventListener("pointermove", (event) => { if (held) drag(event); });
  for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => { held = false; });

  // Text keeps its size on a narrow page: the picture is drawn anew for the room there is.
  const fit = () => {
    const style = getComputedStyle(box);
    const room = Math.max(220, Math.floor(box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)));
    if (room !== width) { width = room; update(); }
  };
  const watcher = new ResizeObserver(fit);
  watcher.observe(box);
  fit();
  return { set: (values) => set(values, false), remove: () => watcher.disconnect() };
}
