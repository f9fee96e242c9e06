// Scheduled sampling: how often a training step is fed the true mask instead of the network's own, and how many of its
// own masks in a row it therefore meets. Computed here, so it works without a kernel.
//
// data: {alt, epochs, unit, most: {slope, frames}, least: {slope: step of its dial}, luck: per draw and clip the numbers
//        0 … 999 of its steps, colours: {truth, own, curve}, presets: [[name, {start, slope, floor}], …],
//        state: {start, slope, floor, epoch, frames, draw}}

const truthShare = ({ start, slope, floor }, epoch) => (epoch <= start ? 1 : Math.max(floor, 1 - slope * (epoch - start)));

// Expected longest run of own masks among n choices, each own with probability q: sum over k of P(run of k or more).
function longestRun(n, q) {
  let expected = 0;
  for (let k = 1; k <= n; k++) {
    const none = [];  // none[m]: chance that m choices have no k own masks in a row
    for (let m = 0; m <= n; m++)
      none.push(m < k ? 1 : m === k ? 1 - q ** k : none[m - 1] - (1 - q) * q ** k * none[m - k - 1]);
    expected += 1 - none[n];
  }
  return expected;
}

// Whether steps 1 … frames - 1 are fed the truth; the first always is.
const fedTruth = (luck, share, frames) => Array.from({ length: frames - 1 }, (_, i) => i === 0 || luck[i] / 1000 < share);

function mountSampling(host, data, changed = () => {}) {
  const { epochs, unit } = data;
  let state = { ...data.state };
  let room = 0, scale = null;

  const dials = {};
  const plain = (value) => `${value}`;
  const rows = [
    ["epoch", unit, 0, epochs, 1, plain, true], ["start", "true masks until", 0, epochs, Math.max(1, Math.round(epochs / 75)), plain],
    ["slope", `fall per ${unit}`, 0, data.most.slope, data.least.slope, (value) => `${+value.toPrecision(3)}`],
    ["floor", "never below", 0, 1, 0.05, (value) => value.toFixed(2)], ["frames", "frames T", 3, data.most.frames, 1, plain],
  ].map(([name, label, min, max, step, show, bold]) => {
    const input = make("input", { type: "range", min, max, step, "aria-label": label, "data-dial": name });
    const output = make("output");
    dials[name] = (value) => { input.value = value; output.textContent = show(value); };
    input.addEventListener("input", () => set({ [name]: +Number(input.value).toPrecision(6) }));
    return make("label", { class: "cv-dial", style: `grid-template-columns: 7.4rem 1fr 3.4rem${bold ? "; font-weight: 600" : ""}` }, make("span", { text: label }), input, output);
  });
  const presets = data.presets.map(([name, values]) => {
    const button = make("button", { type: "button", text: name, "data-preset": name });
    button.addEventListener("click", () => set(values));
    return button;
  });
  const again = make("button", { type: "button", text: "other clips" });
  again.addEventListener("click", () => set({ draw: (state.draw + 1) % data.luck.length }));

  const cell = "padding: .12rem 0 .12rem .9rem; text-align: right; border: 0; font-variant-numeric: tabular-nums; color: var(--cv-ink); background: none";
  const numbers = {};
  const table = make("table", { style: "border-collapse: collapse; border: 0; font-size: 13px; margin: 0" }, make("tbody", {},
    ...[["share", "ε, chance of the true mask"], ["own", "steps fed their own mask"], ["run", "own masks in a row, longest"], ["test", "in a row when it is used"]].map(([name, text]) => {
      numbers[name] = make("td", { style: `${cell}; font-weight: 600; white-space: nowrap`, "data-number": name });
      return make("tr", { style: "background: none" }, make("td", { text, style: `${cell}; text-align: left; padding-left: 0` }), numbers[name]);
    })));
  const verdict = make("p", { class: "cv-status", role: "status" });
  const picture = svgPage(data.alt);
  const legend = make("ul", { class: "cv-key" },
    make("li", {}, make("i", { style: `background: ${data.colours.truth}` }), "y: the true mask is handed on"),
    make("li", {}, make("i", { style: `background: ${data.colours.own}` }), "ŷ: its own mask is handed on"),
    make("li", {}, make("i", { style: "background: none; border: 2px solid var(--cv-ink)" }), "longest stretch of its own"));
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Sampling dial", "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-bar", style: "margin: 0 0 .5rem; gap: .3rem" }, ...presets, again),
    make("div", { class: "cv-split" }, make("div", { class: "cv-panel" }, ...rows), make("div", { class: "cv-panel" }, table, verdict)), picture, legend);
  place(host, box);

  function drawCurve(parts) {
    const x1 = room - 22;
    const { parts: axes, x, y } = panel({ x0: 46, x1, top: 34, bottom: 138 }, {
      title: room < 480 ? "chance ε of the true mask" : "chance ε of being fed the true mask (click to choose when)", low: 0, high: 1.05, left: 0, right: epochs, ticks: 4, xLabel: unit,
    });
    parts.push(...axes);
    const knots = [0, state.start, ...(state.slope > 0 ? [Math.min(epochs, state.start + (1 - state.floor) / state.slope)] : []), epochs];
    const points = [...new Set(knots)].sort((a, b) => a - b).map((epoch) => [x(epoch), y(truthShare(state, epoch))]);
    parts.push(shape("path", { d: `${line(points)}V${y(0)}H${x(0)}Z`, fill: data.colours.truth, opacity: 0.16 }));
    parts.push(shape("path", { d: `${line(points)}V${y(1).toFixed(1)}H${x(0)}Z`, fill: data.colours.own, opacity: 0.16 }));
    parts.push(shape("path", { d: line(points), fill: "none", stroke: data.colours.curve, "stroke-width": 2.6, "data-curve": "" }));
    const share = truthShare(state, state.epoch), here = x(state.epoch);
    parts.push(shape("path", { d: `M${here} ${y(1)}V${y(0)}`, stroke: "var(--cv-ink)", "stroke-width": 1.2, "stroke-dasharray": "4 3" }));
    parts.push(shape("circle", { cx: here, cy: y(share), r: 6.5, fill: data.colours.curve, stroke: "var(--cv-paper)", "stroke-width": 2 }));
    const under = share > 0.8;  // the curve falls: below it on the left and above it on the right there is room
    const left = here - 46 > 80 && (under || x1 - here < 80);
    parts.push(shape("text", { x: here + (left ? -11 : 11), y: y(share) + (under ? 22 : -12), "text-anchor": left ? "end" : "start", fill: "var(--cv-ink)", "font-weight": 600 }, `ε = ${share.toFixed(2)}`));
    scale = { x0: 46, x1, top: 20, bottom: 150 };
  }

  function drawClips(parts, share) {
    const steps = state.frames - 1, left = room < 480 ? 52 : 84, gap = Math.min(52, (room - left - 14) / steps), tall = 22, top = 214;
    parts.push(shape("text", { x: 12, y: top - 24, fill: "var(--cv-ink)", "font-weight": 600 }, room < 480 ? "mask that each step is fed" : "which mask each step of a clip is fed: the one of the frame before"));
    for (let t = 1; t <= steps; t++)
      if (gap >= 15 || t === 1 || t % 5 === 0)
        parts.push(shape("text", { x: left + (t - 0.5) * gap, y: top - 6, "text-anchor": "middle", fill: "var(--cv-soft)" }, t === 1 && gap >= 24 ? "t=1" : t));
    const clips = data.luck[state.draw].map((luck) => fedTruth(luck, share, state.frames));
    const drawn = [...clips, fedTruth([], 0, state.frames)];
    drawn.forEach((fed, row) => {
      const test = row === clips.length, y = top + row * (tall + 4) + (test ? 14 : 0);
      if (test) parts.push(shape("path", { d: `M12 ${y - 9}H${left + steps * gap}`, stroke: "var(--cv-line)" }));
      parts.push(shape("text", { x: left - 8, y: y + 15, "text-anchor": "end", fill: "var(--cv-ink)", "font-weight": test ? 600 : 400 }, test ? (left < 80 ? "in use" : "when used") : `clip ${row + 1}`));
      let best = [0, 0];
      for (let i = 0, from = 0; i <= fed.length; i++)
        if (i === fed.length || fed[i]) {
          if (i - from > best[1] - best[0]) best = [from, i];
          from = i + 1;
        }
      fed.forEach((truth, i) => {
        parts.push(shape("rect", { x: left + i * gap + 0.75, y, width: gap - 1.5, height: tall, rx: 3, fill: truth ? data.colours.truth : data.colours.own, "data-row": row, "data-fed": truth ? "truth" : "own" }));
        if (gap >= 13) parts.push(shape("text", { x: left + (i + 0.5) * gap, y: y + 15.5, "text-anchor": "middle", fill: "#ffffff", "font-weight": 600 }, truth ? "y" : "ŷ"));
      });
      if (best[1] > best[0]) parts.push(shape("rect", { x: left + best[0] * gap - 0.5, y: y - 1.5, width: (best[1] - best[0]) * gap + 1, height: tall + 3, rx: 4, fill: "none", stroke: "var(--cv-ink)", "stroke-width": 2 }));
    });
    return top + drawn.length * (tall + 4) + 18;
  }

  function update() {
    for (const [name, show] of Object.entries(dials)) show(state[name]);
    for (const [i, button] of presets.entries()) press(button, Object.entries(data.presets[i][1]).every(([name, value]) => state[name] === value));
    const share = truthShare(state, state.epoch), choices = state.frames - 2, run = longestRun(choices, 1 - share);
    numbers.share.textContent = share.toFixed(2);
    numbers.own.textContent = `${(choices * (1 - share)).toFixed(1)} of ${state.frames - 1}`;
    numbers.run.textContent = `${run.toFixed(1)} on average`;
    numbers.test.textContent = `${choices}`;
    verdict.textContent = share === 1 ? "Only true masks: it never learns what its own mistakes look like."
      : share === 0 ? "Only its own masks, as in use. Early in training they are noise."
        : `In use it lives on ${choices} of its own masks in a row; here it meets about ${run.toFixed(1)}.`;
    Object.assign(box.dataset, { share, run, epoch: state.epoch, draw: state.draw });
    if (!room) return;
    const parts = [];
    drawCurve(parts);
    const end = drawClips(parts, share);
    picture.setAttribute("viewBox", `0 0 ${room} ${end}`);
    picture.setAttribute("width", room);
    picture.setAttribute("height", end);
    picture.replaceChildren(...parts);
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    update();
    if (tell) changed({ ...state });
  }

  let held = false;
  function drag(event) {
    const frame = picture.getBoundingClientRect(), y = event.clientY - frame.top;
    if (event.type === "pointerdown" && (y < scale.top || y > scale.bottom)) return;
    held = true;
    set({ epoch: Math.round(within((event.clientX - frame.left - scale.x0) / (scale.x1 - scale.x0), 0, 1) * epochs) });
  }
  picture.addEventListener("pointerdown", drag);
  picture.addEventListener("pointermove", (event) => { if (held) drag(event); });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) picture.addEventListener(name, () => { held = false; });

  const watcher = followWidth(box, (wide) => { room = wide; update(); });
  return { set: (values) => set(values, false), remove: () => watcher.disconnect() };
}
