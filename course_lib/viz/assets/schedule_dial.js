// A schedule to turn: which frames are segmented, carried or repaired; when network and flow work on them; and where
// that stands among finished rows. Computed here, so it works without a kernel; tests hold it to schedule_clock.py.
//
// data: {alt, frames, most: {key_every, cores}, interval, times: {segment: [[scale, ms]], refine, warp, flow, blend},
//        rows: [{name, short, state, kind, rate, mIoU}], baseline: a row, quoted: [[name, rate, mIoU]],
//        curves: [[scale, kind, mIoU after 0, 1, … steps or null]], colours: by kind of frame, dot, source,
//        state: {key_every, warp, refine, input_scale, cores, camera}}

function frameKind({ key_every, warp, refine }, step) {
  const place = step % key_every;
  if (place === 0) return key_every === 1 && warp && refine !== "off" && step > 0 ? "blend" : "key";
  if (!warp) return "copy";
  return refine === "all" || (refine === "last" && place === key_every - 1) ? "refine" : "warp";
}

const segmentTime = (times, scale) => times.segment.find(([known]) => known === scale)[1];

// One period: milliseconds of the network, of flow on one core, and frames per second.
function periodOf(state, times) {
  let network = 0, pairs = 0;
  for (let step = state.key_every; step < 2 * state.key_every; step++) {
    const kind = frameKind(state, step);
    if (kind === "key" || kind === "blend") network += segmentTime(times, state.input_scale) + (kind === "blend" ? times.blend : 0);
    if (kind === "warp" || kind === "refine") network += times.warp + (kind === "refine" ? times.refine : 0);
    if (kind !== "key" && kind !== "copy") pairs += 1;
  }
  const flow = pairs * times.flow;
  return { network, flow, rate: (1000 * state.key_every) / Math.max(network, flow / state.cores) };
}

function frameLives(state, times, length, interval) {
  let networkFree = 0, carriedUntil = 0;
  const free = new Array(state.cores).fill(0);
  return Array.from({ length }, (_, step) => {
    const kind = frameKind(state, step), arrived = step * interval;
    let network = null, flow = null, core = null, ready;
    if (kind !== "key" && kind !== "copy") {
      core = free.indexOf(Math.min(...free));
      const start = Math.max(arrived, free[core]);
      flow = [start, start + times.flow * (kind === "warp" ? 1 : 2)];
      free[core] = flow[1];
    }
    const begin = Math.max(arrived, carriedUntil, flow ? flow[1] : 0);
    if (kind === "key" || kind === "blend") {
      const start = Math.max(arrived, networkFree);
      network = [start, start + segmentTime(times, state.input_scale)];
      ready = Math.max(begin, network[1]) + (kind === "blend" ? times.blend : 0);
    } else if (kind === "refine") {
      const start = Math.max(begin + times.warp, networkFree);
      network = [start, start + times.refine];
      ready = network[1];
    } else ready = begin + (kind === "warp" ? times.warp : 0);
    if (network) networkFree = network[1];
    carriedUntil = ready;
    return { kind, arrived, network, flow, core, ready };
  });
}

// mIoU of each frame of a period, null where no row tells.
function scoresOf(state, curves) {
  const curve = (kind) => curves.find(([scale, name]) => scale === state.input_scale && name === kind)[2];
  const plain = curve(state.warp || state.key_every === 1 ? "warp" : "copy");
  return Array.from({ length: state.key_every }, (_, step) => {
    const kind = frameKind(state, state.key_every === 1 ? 1 : step);
    if (kind === "refine" || kind === "blend") return step < state.key_every - 1 || (state.refine === "all" && state.key_every > 2) ? null : curve("refined")[step];
    return plain[step];
  });
}

function mountSchedule(host, data, changed = () => {}) {
  const { times, colours } = data;
  const LETTER = { key: "S", blend: "B", refine: "R", warp: "w", copy: "=" };
  const SAID = { key: "segmented", blend: "segmented and blended with the past", refine: "carried and refined", warp: "carried along flow", copy: "the last answer again" };
  const all = [data.baseline, ...data.rows];
  let state = { ...data.state };
  let room = 0;

  const dial = (label, body, output) => make("div", { class: "cv-dial", style: "grid-template-columns: 8.4rem 1fr 1.6rem; min-height: 2.2rem" }, make("span", { text: label }), body, output ?? make("span"));
  const sliders = [["key_every", "S, key frame every", data.most.key_every], ["cores", "CPU cores for flow", data.most.cores]].map(([name, label, max]) => {
    const input = make("input", { type: "range", min: 1, max, step: 1, "aria-label": label, "data-dial": name });
    const output = make("output");
    input.addEventListener("input", () => set({ [name]: Number(input.value) }));
    return { name, row: dial(label, input, output), show: () => { input.value = state[name]; output.textContent = state[name]; } };
  });
  const choices = [
    ["warp", "W, in between", [["carry", true], ["repeat the last", false]]],
    ["refine", "R, repair", [["off", "off"], ["the last", "last"], ["all", "all"]]],
    ["input_scale", "D, input size", times.segment.map(([scale]) => [scale === 1 ? "full" : scale === 0.5 ? "half" : `× ${scale}`, scale])],
    ["camera", "frames come", [["all at once", false], ["30 a second", true]]],
  ].map(([name, label, options]) => {
    const buttons = options.map(([text, value]) => {
      const button = make("button", { type: "button", text, "data-set": `${name}=${value}`, style: "" });
      button.addEventListener("click", () => set({ [name]: value }));
      return { button, value };
    });
    const group = make("div", { role: "group", "aria-label": label, style: "display: flex; flex-wrap: wrap; gap: .3rem; grid-column: 2 / 4" }, ...buttons.map(({ button }) => button));
    const row = make("div", { class: "cv-dial", style: "grid-template-columns: 8.4rem 1fr 1.6rem; min-height: 2.2rem" }, make("span", { text: label }), group);
    const show = () => {
      for (const { button, value } of buttons) {
        const off = name === "refine" && !state.warp;
        press(button, off ? value === "off" : state[name] === value);
        button.disabled = off && value !== "off";
        if (button.disabled) button.style.opacity = 0.4;
      }
    };
    return { row, show };
  });
  const menu = make("select", { "aria-label": "a row of the table", "data-dial": "row" },
    make("option", { value: "", text: "own setting" }), ...all.map((row) => make("option", { value: row.name, text: row.name })));
  menu.addEventListener("change", () => { const row = all.find((one) => one.name === menu.value); if (row) set(row.state); });
  const menuRow = make("div", { class: "cv-dial", style: "grid-template-columns: 8.4rem 1fr 1.6rem" }, make("span", { text: "row of the table" }), menu);

  const cell = "padding: .12rem 0 .12rem .9rem; text-align: right; border: 0; font-variant-numeric: tabular-nums; color: var(--cv-ink); background: none";
  const numbers = {};
  const table = make("table", { style: "border-collapse: collapse; border: 0; font-size: 13px; margin: 0" }, make("tbody", {},
    ...[["rate", "frames per second"], ["speed", "times as fast as every frame"], ["last", "mIoU, last frame of a period"], ["mean", "mIoU, mean over a period"], ["cores", "cores that flow needs"], ["wait", "longest wait for an answer"]].map(([name, text]) => {
      numbers[name] = make("td", { style: `${cell}; font-weight: 600; white-space: nowrap`, "data-number": name });
      return make("tr", { style: "background: none" }, make("td", { text, style: `${cell}; text-align: left; padding-left: 0` }), numbers[name]);
    })));
  const verdict = make("p", { class: "cv-status", role: "status", style: "min-height: 2.9em" });
  const picture = svgPage(data.alt, "margin-top: .5rem"), plane = svgPage("Frames per second, on a logarithmic scale, against mIoU: the rows of the table, and this setting");
  const legend = make("ul", { class: "cv-key" }, ...Object.entries(SAID).map(([kind, text]) => make("li", {}, make("i", { style: `background: ${colours[kind]}` }), `${LETTER[kind]}: ${text}`)));
  const key = make("ul", { class: "cv-key" }, ...["● carried", "■ repeated", "▲ refined", "★ every frame", "hollow: half input"].map((text) => make("li", { text })),
    make("li", {}, make("i", { style: `background: ${data.dot}; border-radius: 50%` }), "this setting; hollow: guessed between rows"), ...(data.quoted.length ? [make("li", { text: "× other methods, on their machines" })] : []));
  const source = make("p", { class: "cv-help", text: data.source ? `Rows: ${data.source}. Click one to go there.` : "Click a row to go there." });
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Schedule dial", "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-split" },
      make("div", { class: "cv-panel", style: "flex: 1 1 20rem; max-width: none" }, sliders[0].row, ...choices.slice(0, 3).map(({ row }) => row), sliders[1].row, choices[3].row, menuRow),
      make("div", { class: "cv-panel", style: "flex: 1 1 15rem" }, table, verdict)),
    picture, legend, plane, key, source);
  place(host, box);

  function say(parts, x, y, text, attributes = {}) {
    parts.push(shape("text", { x, y, fill: "var(--cv-soft)", ...attributes }, text));
  }

  function drawFrames(parts, left) {
    const scores = scoresOf(state, data.curves), gap = (room - left - 12) / data.frames, top = 40, tall = 46, base = top + tall;
    const known = data.curves.flatMap(([, , curve]) => curve).filter((value) => value !== null);
    const low = Math.min(...known) - 8, high = Math.max(...known);
    say(parts, 12, 14, room < 520 ? "frames; height: mIoU" : "what happens to each frame; height: its mIoU", { fill: "var(--cv-ink)", "font-weight": 600 });
    for (let step = 0; step < data.frames; step++) {
      const kind = frameKind(state, step), score = scores[step % state.key_every];
      const height = score === null ? tall : Math.max(8, (tall * (score - low)) / (high - low)), x = left + step * gap;
      const bar = shape("rect", { x: x + 1, y: base - height, width: gap - 2, height, rx: 2, fill: colours[kind], "fill-opacity": score === null ? 0.25 : 1, stroke: colours[kind], "stroke-dasharray": score === null ? "3 2" : "none", "data-step": step, "data-kind": kind });
      bar.append(shape("title", {}, `frame ${step}: ${SAID[kind]}${score === null ? "" : `, mIoU ${score.toFixed(1)}`}`));
      parts.push(bar);
      if (gap >= 26 && step < state.key_every) say(parts, x + gap / 2, base - height - 5, score === null ? "?" : score.toFixed(1), { "text-anchor": "middle", "font-size": 11 });
      if (gap >= 13) say(parts, x + gap / 2, base - 5, LETTER[kind], { "text-anchor": "middle", fill: kind === "key" ? "#fff" : "#111", "font-weight": 600, "pointer-events": "none" });
    }
    return base + 12;
  }

  function drawLanes(parts, top, left) {
    const lives = frameLives(state, times, data.frames, state.camera ? data.interval : 0);
    const needs = lives.some(({ flow }) => flow), lanes = ["answers", "network", ...(needs ? Array.from({ length: state.cores }, (_, i) => (state.cores > 1 ? `flow, core ${i + 1}` : "flow, 1 core")) : [])];
    const tall = 18, gap = 23, end = Math.max(...lives.map(({ ready, flow, network }) => Math.max(ready, flow ? flow[1] : 0, network ? network[1] : 0)));
    const x = (ms) => left + (ms / end) * (room - left - 14), y = (lane) => top + 16 + lane * gap;
    say(parts, 12, top + 4, room < 520 ? "who works when (ms)" : "who works when, in milliseconds", { fill: "var(--cv-ink)", "font-weight": 600 });
    const bottom = y(lanes.length) - 2;
    for (const value of ticksOf(0, end, Math.max(2, Math.floor((room - left) / 80)))) {
      parts.push(shape("path", { d: `M${x(value)} ${y(0)}V${bottom}`, stroke: "var(--cv-line)" }));
      say(parts, x(value), bottom + 15, value, { "text-anchor": "middle" });
    }
    lanes.forEach((name, lane) => say(parts, left - 8, y(lane) + 13, room < 520 ? name.replace("flow, core ", "flow ").replace("flow, 1 core", "flow") : name, { "text-anchor": "end", fill: "var(--cv-ink)" }));
    lives.forEach(({ kind, arrived, network, flow, core, ready }, step) => {
      const work = (span, lane) => {
        const wide = Math.max(1.2, x(span[1]) - x(span[0]) - 1);
        parts.push(shape("rect", { x: x(span[0]) + 0.5, y: y(lane), width: wide, height: tall, rx: 2, fill: colours[kind], "data-lane": lane }));
        if (wide >= 16) say(parts, x(span[0]) + wide / 2 + 0.5, y(lane) + 13, step, { "text-anchor": "middle", fill: kind === "key" ? "#fff" : "#111" });
      };
      if (network) work(network, 1);
      if (flow) work(flow, 2 + core);
      parts.push(shape("path", { d: `M${x(ready)} ${y(0) + 1}v${tall - 2}`, stroke: colours[kind], "stroke-width": 2.6, "data-ready": ready }));
      if (state.camera) parts.push(shape("circle", { cx: x(arrived), cy: y(0) + tall / 2, r: 1.8, fill: "var(--cv-soft)" }));
    });
    if (state.camera && room >= 520) say(parts, room - 12, top + 4, "• a frame comes, | its answer", { "text-anchor": "end" });
    return { bottom: bottom + 24, lives };
  }

  function drawPlane() {
    const rates = all.map(({ rate }) => rate), scores = all.map(({ mIoU }) => mIoU);
    const here = periodOf(state, times).rate, left = Math.log10(Math.min(...rates) * 0.55), right = Math.log10(Math.max(...rates, here) * 1.35);
    const low = 5 * Math.floor((Math.min(...scores) - 3) / 5), high = 5 * Math.ceil((Math.max(...scores) + 3.5) / 5), tall = 340;
    const { parts, x, y } = panel({ x0: 46, x1: room - 16, top: 30, bottom: tall - 40 }, {
      title: "mIoU (%) against frames per second", low, high, left, right, ticks: 6, xTicks: [], xLabel: "frames per second",
    });
    for (const value of [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].filter((v) => Math.log10(v) >= left && Math.log10(v) <= right)) {
      parts.push(shape("path", { d: `M${x(Math.log10(value))} 30V${tall - 40}`, stroke: "var(--cv-line)" }));
      say(parts, x(Math.log10(value)), tall - 23, value, { "text-anchor": "middle" });
    }
    for (const [name, rate, mIoU] of data.quoted) {
      const across = Math.log10(rate);
      if (across < left || across > right || mIoU < low || mIoU > high) continue;
      say(parts, x(across), y(mIoU) + 4, "×", { "text-anchor": "middle" });
      say(parts, x(across) + 7, y(mIoU) + 4, name, { "font-size": 11 });
    }
    for (const row of all) {
      const cx = x(Math.log10(row.rate)), cy = y(row.mIoU), star = row === data.baseline;
      const path = star ? starPath(cx, cy, 8) : row.kind === "copy" ? `M${cx - 4.5} ${cy - 4.5}h9v9h-9Z` : row.kind === "refined" ? `M${cx} ${cy - 6}L${cx + 6} ${cy + 4.5}H${cx - 6}Z` : `M${cx - 5} ${cy}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z`;
      const mark = shape("path", { d: path, fill: row.state.input_scale < 1 ? "var(--cv-paper)" : "var(--cv-ink)", stroke: "var(--cv-ink)", "stroke-width": 1.5, "data-row": row.name, style: "cursor: pointer" });
      mark.append(shape("title", {}, `${row.name}: ${row.rate} frames per second, mIoU ${row.mIoU}`));
      mark.addEventListener("click", () => set(row.state));
      parts.push(mark);
      const [dx, dy, anchor] = star ? [1, -11, "end"] : row.kind === "refined" ? [0, 18, "middle"] : [8, -6, "start"];
      say(parts, cx + dx, cy + dy, row.short, { "text-anchor": anchor, "font-size": 11, fill: "var(--cv-ink)", "pointer-events": "none" });
    }
    const last = scoresOf(state, data.curves).at(-1), across = x(Math.log10(here));
    const row = matching();
    if (last === null) parts.push(shape("path", { d: `M${across} 30V${tall - 40}`, stroke: data.dot, "stroke-width": 2.5, "stroke-dasharray": "6 4", "data-dot": "" }));
    else parts.push(shape("circle", { cx: across, cy: y(within(last, low, high)), r: 9, fill: row ? data.dot : "none", "fill-opacity": 0.75, stroke: data.dot, "stroke-width": 3, "data-dot": "", "pointer-events": "none" }));
    plane.setAttribute("viewBox", `0 0 ${room} ${tall}`);
    plane.setAttribute("width", room);
    plane.setAttribute("height", tall);
    plane.replaceChildren(...parts);
  }
  const starPath = (cx, cy, size) => `${line(Array.from({ length: 10 }, (_, i) => [cx + (i % 2 ? 0.45 : 1) * size * Math.sin((i * Math.PI) / 5), cy - (i % 2 ? 0.45 : 1) * size * Math.cos((i * Math.PI) / 5)]))}Z`;
  // The row that is dialled: with one frame in a period it does not matter whether the next would be warped.
  const shown = (one) => [one.key_every, one.key_every > 1 || one.refine !== "off" ? one.warp : false, one.warp ? one.refine : "off", one.input_scale].join();
  const matching = () => all.find((row) => shown(row.state) === shown(state));

  function update() {
    for (const { show } of [...sliders, ...choices]) show();
    const row = matching();
    menu.value = row ? row.name : "";
    const period = periodOf(state, times), scores = scoresOf(state, data.curves), last = scores.at(-1);
    const mean = scores.includes(null) ? null : scores.reduce((sum, value) => sum + value, 0) / scores.length;
    const cores = period.flow / period.network, full = Math.max(...times.segment.map(([scale]) => scale)), about = (value) => (value === null ? "unknown" : value.toFixed(1));
    numbers.rate.textContent = period.rate.toFixed(period.rate < 20 ? 1 : 0);
    numbers.speed.textContent = `× ${((period.rate * segmentTime(times, full)) / 1000).toFixed(1)}`;
    numbers.last.textContent = last === null ? "no row tells" : `${row ? "" : "about "}${about(last)}`;
    numbers.mean.textContent = mean === null ? "no row tells" : `about ${about(mean)}`;
    numbers.cores.textContent = cores.toFixed(1);
    if (room) {
      const parts = [], left = room < 520 ? 66 : 92, next = drawFrames(parts, left), { bottom, lives } = drawLanes(parts, next + 14, left);
      picture.setAttribute("viewBox", `0 0 ${room} ${bottom}`);
      picture.setAttribute("width", room);
      picture.setAttribute("height", bottom);
      picture.replaceChildren(...parts);
      drawPlane();
      const wait = Math.max(...lives.map(({ ready, arrived }) => ready - arrived));
      numbers.wait.textContent = state.camera ? `${wait.toFixed(0)} ms` : "with a camera";
      numbers.wait.style.fontWeight = state.camera ? 600 : 400;
      const idle = state.camera && period.rate > 1000 / data.interval;
      verdict.textContent = cores > state.cores * 1.0001 ? `Flow holds the network up: it needs ${cores.toFixed(1)} cores and has ${state.cores}.`
        : idle ? `Fast enough for ${(period.rate * data.interval / 1000).toFixed(1)} cameras, but an answer still takes up to ${wait.toFixed(0)} ms: a rate is no delay.`
          : state.key_every === 1 ? (state.refine !== "off" && state.warp ? "Every frame segmented, and blended with what was carried to it." : "Every frame segmented: the best each frame can do alone.")
            : !state.warp ? "Nothing moves between key frames: the answer grows stale."
              : state.refine === "all" ? "The table has no such row: printed rates fit one repair in a period." : `In a period of ${period.network.toFixed(1)} ms, ${state.key_every} frames get their labels.`;
    }
    Object.assign(box.dataset, { rate: period.rate, last: last ?? "", mean: mean ?? "", cores, kinds: Array.from({ length: data.frames }, (_, step) => LETTER[frameKind(state, step)]).join(""), row: row ? row.name : "" });
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    update();
    if (tell) changed({ ...state });
  }

  const watcher = followWidth(box, (wide) => { room = wide; update(); });
  return { set: (values) => set(values, false), remove: () => watcher.disconnect() };
}
