// A bandit of two arms: what one REINFORCE sample of the gradient looks like, and what a baseline does to it. Computed
// here, so it works without a kernel; a browser test holds it to course_lib.methods.spatial_transformer.bandit.
//
// data: {alt, names: of the arms, range: [low, high] of rewards and baseline, most_noise, colours: [arm 0, arm 1],
//        state: {reward_0, reward_1, probability: of arm 0, baseline, noise}}

// Mean and variance of (onehot(a) - pi)_0 * (reward - b), a from pi, and what they depend on.
function banditMoments({ reward_0, reward_1, probability, baseline, noise }) {
  const p = probability, q = 1 - p;
  const samples = [q * (reward_0 - baseline), -p * (reward_1 - baseline)];
  const mean = p * samples[0] + q * samples[1];
  const variance = p * (samples[0] - mean) ** 2 + q * (samples[1] - mean) ** 2 + noise ** 2 * p * q;
  return { samples, mean, variance, expected: p * reward_0 + q * reward_1, best: q * reward_0 + p * reward_1 };
}

// Random numbers in [0, 1) that are the same for the same start.
function randomNumbers(start) {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function mountBandit(host, data, changed = () => {}) {
  const EPISODES = 400;
  const [low, high] = data.range;
  let state = { ...data.state };
  let width = 0, start = 1, scale = null, luck = [];

  function draws() {  // kept while dials turn, so that the histogram moves and does not flicker
    const random = randomNumbers(start);
    luck = Array.from({ length: EPISODES }, () => [random(), Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())]);
  }

  const dials = {};
  const step = (high - low) / 100;
  const rows = [
    ["reward_0", `reward of ${data.names[0]}`, low, high, step], ["reward_1", `reward of ${data.names[1]}`, low, high, step],
    ["probability", `π(${data.names[0]})`, 0.01, 0.99, 0.01], ["noise", "noise of rewards", 0, data.most_noise, data.most_noise / 50],
    ["baseline", "baseline b", low, high, step],
  ].map(([name, label, min, max, by]) => {
    const input = make("input", { type: "range", min, max, step: by, "aria-label": label, "data-dial": name });
    const output = make("output");
    input.addEventListener("input", () => set({ [name]: +Number(input.value).toPrecision(6) }));
    dials[name] = (value) => { input.value = value; output.textContent = minus(value.toFixed(2)); };
    return make("label", { class: "cv-dial", style: "grid-template-columns: 7.2rem 1fr 3rem" + (name === "baseline" ? "; font-weight: 600" : "") },
      make("span", { text: label }), input, output);
  });
  const presets = [
    ["b = 0", () => 0], ["b = expected reward", (found) => found.expected], ["b = best", (found) => found.best],
  ].map(([text, value]) => {
    const button = make("button", { type: "button", text });
    button.addEventListener("click", () => set({ baseline: value(banditMoments(state)) }));
    return button;
  });
  const again = make("button", { type: "button", text: `draw ${EPISODES} other episodes` });
  again.addEventListener("click", () => { start += 1; draws(); update(); });

  const cell = "padding: .12rem 0 .12rem .9rem; text-align: right; border: 0; font-variant-numeric: tabular-nums; color: var(--cv-ink); background: none";
  const numbers = {};
  const table = make("table", { style: "border-collapse: collapse; border: 0; font-size: 13px; margin: 0" }, make("tbody", {},
    ...[["mean", "mean: the gradient, whatever b is"], ["variance", "variance of one sample"], ["plain", "variance without a baseline"]].map(([name, text]) => {
      numbers[name] = make("td", { style: `${cell}; font-weight: 600`, "data-number": name });
      return make("tr", { style: "background: none" }, make("td", { text, style: `${cell}; text-align: left; padding-left: 0` }), numbers[name]);
    })));
  const worth = make("p", { class: "cv-status", role: "status" });
  const picture = svgPage(data.alt);
  const legend = make("ul", { class: "cv-key" },
    ...data.names.map((name, arm) => make("li", {}, make("i", { style: `background: ${data.colours[arm]}` }), `${name} was pulled`)),
    make("li", {}, make("i", { style: "width: 1.6em; height: 0; border: 0; border-top: 2px solid var(--cv-ink); vertical-align: .3em" }), "mean"),
    make("li", {}, make("i", { style: "background: var(--cv-line)" }), "mean ± one deviation"),
    make("li", {}, make("span", { text: "▽ ", style: "color: var(--cv-ink)" }), `mean of the ${EPISODES} drawn`));
  const box = make("div", { class: "cv-box", role: "group", "aria-label": "Bandit explorer", "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-split" }, make("div", { class: "cv-panel" }, ...rows),
      make("div", { class: "cv-panel" }, table, worth, make("div", { class: "cv-bar", style: "gap: .3rem" }, ...presets, again))),
    picture, legend);
  place(host, box);

  function draw(found) {
    const x0 = 46, x1 = width - 14;
    picture.setAttribute("viewBox", `0 0 ${width} 372`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", 372);

    // Its range does not depend on b, so that a spread that shrinks is seen to shrink.
    const reach = Math.max(...[low, high].flatMap((baseline) => banditMoments({ ...state, baseline }).samples.map(Math.abs)),
      3 * state.noise * Math.max(state.probability, 1 - state.probability), 1e-9);
    const edge = reach * 1.05, bins = Math.max(31, Math.floor((x1 - x0) / 9) | 1);
    const binOf = (value) => within(Math.floor(((value + edge) / (2 * edge)) * bins), 0, bins - 1);
    const heights = [0, 1].map(() => new Array(bins).fill(0));
    const drawn = luck.map(([choice, noise]) => {
      const arm = choice < state.probability ? 0 : 1;
      const score = arm === 0 ? 1 - state.probability : -state.probability;
      const value = found.samples[arm] + score * state.noise * noise;
      heights[arm][binOf(value)] += 1;
      return value;
    });
    const tallest = Math.max(...heights[0].map((n, i) => n + heights[1][i]));
    const top = panel({ x0, x1, top: 38, bottom: 168 }, {
      title: width < 500 ? `gradient samples, logit of ${data.names[0]}` : `${EPISODES} one-episode gradients for the logit of ${data.names[0]}: (1[a = ${data.names[0]}] − π)(r − b)`,
      low: 0, high: tallest * 1.08, left: -edge, right: edge, ticks: 2,
    });
    const parts = [...top.parts];
    const deviation = Math.sqrt(found.variance);
    const [from, to] = [found.mean - deviation, found.mean + deviation].map((v) => top.x(within(v, -edge, edge)));
    parts.push(shape("rect", { x: from, y: 38, width: Math.max(0, to - from), height: 130, fill: "var(--cv-line)", opacity: 0.6, "data-band": "" }));
    const wide = (x1 - x0) / bins;
    for (let i = 0; i < bins; i++) {
      for (const [arm, base] of [[0, 0], [1, heights[0][i]]]) {
        const n = heights[arm][i];
        if (n) parts.push(shape("rect", { x: x0 + i * wide + 0.5, y: top.y(base + n), width: wide - 1, height: top.y(base) - top.y(base + n), fill: data.colours[arm], "data-arm": arm }));
      }
    }
    const average = drawn.reduce((total, value) => total + value, 0) / EPISODES;
    parts.push(shape("path", { d: `M${top.x(found.mean)} 38V168`, stroke: "var(--cv-ink)", "stroke-width": 2 }));
    parts.push(shape("path", { d: `M${top.x(average)} 47l-6 -10h12z`, fill: "var(--cv-paper)", stroke: "var(--cv-ink)", "stroke-width": 1.4, "data-average": average }));

    // Variance against b: a parabola.
    const at = (baseline) => banditMoments({ ...state, baseline }).variance;
    const most = Math.max(at(low), at(high), 1e-9);
    const under = panel({ x0, x1, top: 228, bottom: 332 }, {
      title: "variance of one sample, for every baseline (click to choose one)", low: 0, high: most * 1.05, left: low, right: high, ticks: 3, xLabel: "baseline b",
    });
    parts.push(...under.parts);
    const marks = [["J", found.expected, -1], ["best", found.best, 1]];
    const together = Math.abs(found.expected - found.best) < (high - low) / 200;
    for (const [name, value, side] of marks) {
      if (value < low || value > high || (together && name === "best")) continue;
      parts.push(shape("path", { d: `M${under.x(value)} 228V332`, stroke: "var(--cv-soft)", "stroke-dasharray": "4 3" }));
      const right = together ? true : (found.best > found.expected) === (side > 0);
      parts.push(shape("text", { x: under.x(value) + (right ? 5 : -5), y: 240, "text-anchor": right ? "start" : "end", fill: "var(--cv-soft)" },
        together ? "best = expected reward J" : name === "J" ? "expected reward J" : "best"));
    }
    const curve = Array.from({ length: 81 }, (_, i) => low + ((high - low) * i) / 80).map((b) => [under.x(b), under.y(at(b))]);
    parts.push(shape("path", { d: line(curve), fill: "none", stroke: data.colours[0], "stroke-width": 2.2 }));
    parts.push(shape("circle", { cx: under.x(within(state.baseline, low, high)), cy: under.y(at(within(state.baseline, low, high))), r: 6, fill: data.colours[1], stroke: "var(--cv-paper)", "stroke-width": 1.5 }));
    picture.replaceChildren(...parts);
    scale = { x0, x1, top: 228 };
  }

  function update() {
    const found = banditMoments(state);
    const plain = banditMoments({ ...state, baseline: 0 }).variance;
    for (const [name, show] of Object.entries(dials)) show(state[name]);
    const said = (value) => minus(Math.abs(value) < 5e-5 ? "0" : Math.abs(value) < 0.1 ? value.toPrecision(2) : value.toFixed(value < 100 ? 3 : 1));
    numbers.mean.textContent = said(found.mean);
    numbers.variance.textContent = said(found.variance);
    numbers.plain.textContent = said(plain);
    const ratio = plain / found.variance;
    worth.textContent = found.variance < 1e-9 ? "Every episode gives the exact gradient."
      : state.baseline === 0 ? "Turn b and watch which number moves."
        : ratio >= 1.005 ? `One episode is now as good as ${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)} without a baseline.`
          : ratio <= 0.995 ? `This baseline harms: ${(1 / ratio).toFixed(1)} episodes are now as good as one without.` : "This baseline changes next to nothing.";
    box.dataset.mean = found.mean;
    box.dataset.variance = found.variance;
    box.dataset.baseline = state.baseline;
    draw(found);
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    update();
    if (tell) changed({ ...state });
  }

  let held = false;
  function drag(event) {
    const frame = picture.getBoundingClientRect();
    if (event.type === "pointerdown" && event.clientY - frame.top < scale.top - 10) return;
    held = true;
    const along = (event.clientX - frame.left - scale.x0) / (scale.x1 - scale.x0);
    set({ baseline: +within(low + along * (high - low), low, high).toPrecision(4) });
  }
  picture.addEventListener("pointerdown", drag);
  picture.addEventListener("pointermove", (event) => { if (held) drag(event); });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) picture.addEventListener(name, () => { held = false; });

  draws();
  const watcher = followWidth(box, (room) => { width = room; update(); });
  return { set: (values) => set(values, false), remove: () => watcher.disconnect() };
}
