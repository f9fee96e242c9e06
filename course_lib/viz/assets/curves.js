// Measured curves behind dials. Every setting is in the data, so it works without a kernel.
//
// data: {alt, x: [numbers], xLabel, yLabel, limits: [low, high], mark: [x, text] or null, dials: [[name, [settings]], …],
//        curves: [[name, colour, per setting (last dial fastest) [numbers or null]], …], state: {at: [setting per dial]}}

const DASHES = ["", "7 4", "8 3 2 3", "2 3"];

function mountCurves(host, data, changed = () => {}) {
  const { x: xs, limits, curves, dials } = data;
  let state = { at: [...data.state.at] };
  let room = 0, scale = null, chosen = xs.length - 1;

  const digits = limits[1] - limits[0] > 20 ? 1 : limits[1] - limits[0] > 2 ? 2 : 3;
  const shown = (value) => (value === null ? "–" : minus((Number(value.toFixed(digits)) || 0).toFixed(digits)));  // no minus before a zero
  const setting = () => state.at.reduce((flat, index, d) => flat * dials[d][1].length + index, 0);
  const turn = (d, index) => set({ at: state.at.map((old, other) => (other === d ? index : old)) });
  const shows = [];
  const rows = dials.map(([name, settings], d) => {
    if (settings.length <= 3) {  // few settings are buttons
      const buttons = settings.map((text, index) => {
        const button = make("button", { type: "button", text, "data-dial": d, "data-setting": index });
        button.addEventListener("click", () => turn(d, index));
        return button;
      });
      shows.push((index) => buttons.forEach((button, i) => press(button, i === index)));
      return make("div", { class: "cv-bar", role: "group", "aria-label": name, style: "margin: .1rem 0; gap: .3rem" }, make("span", { text: name, style: "min-width: 7.4rem" }), ...buttons);
    }
    const input = make("input", { type: "range", min: 0, max: settings.length - 1, step: 1, "aria-label": name, "data-dial": d });
    const output = make("output");
    input.addEventListener("input", () => turn(d, Number(input.value)));
    shows.push((index) => {
      input.value = index;
      input.setAttribute("aria-valuetext", settings[index]);
      output.textContent = settings[index];
    });
    return make("label", { class: "cv-dial", style: "grid-template-columns: 7.4rem 1fr 6rem" }, make("span", { text: name }), input, output);
  });
  const picture = svgPage(data.alt, "touch-action: pan-y;");
  const values = [];
  const legend = make("ul", { class: "cv-key" }, ...curves.map(([name, colour], i) => {
    const stroke = shape("svg", { width: 26, height: 10, "aria-hidden": "true", style: "vertical-align: middle; margin-right: .35rem" });
    stroke.append(shape("path", { d: "M0 5H26", stroke: colour, "stroke-width": 2.6, "stroke-dasharray": DASHES[i % 4] }));
    const value = make("b", { style: "font-variant-numeric: tabular-nums; margin-left: .4rem", "data-value": i });
    values.push(value);
    return make("li", {}, stroke, name, value);
  }));
  const status = make("p", { class: "cv-status", role: "status" });
  const box = make("div", { class: "cv-box", role: "group", "aria-label": data.alt, "data-lm-suppress-shortcuts": "true", style: "width: 42rem" }, ...rows, picture, legend, status);
  place(host, box);

  function draw() {
    const at = setting(), wide = { x0: 46, x1: room - 14, top: 30, bottom: 210 };
    const { parts, x, y } = panel(wide, { title: data.yLabel, low: limits[0], high: limits[1], left: xs[0], right: xs[xs.length - 1], ticks: 5, xLabel: data.xLabel });
    if (data.mark) {
      parts.push(shape("path", { d: `M${x(data.mark[0])} ${wide.top}V${wide.bottom}`, stroke: "var(--cv-soft)", "stroke-width": 1.4 }));
      parts.push(shape("text", { x: x(data.mark[0]) + 5, y: wide.top + 12, fill: "var(--cv-soft)" }, data.mark[1]));
    }
    parts.push(shape("path", { d: `M${x(xs[chosen])} ${wide.top}V${wide.bottom}`, stroke: "var(--cv-ink)", "stroke-width": 1, "stroke-dasharray": "3 4" }));
    const height = (value) => y(within(value, limits[0], limits[1]));
    curves.forEach(([, colour, all], i) => {
      const runs = [[]];  // of neighbours that have a value
      all[at].forEach((value, k) => (value === null ? runs.push([]) : runs[runs.length - 1].push([x(xs[k]), height(value)])));
      for (const run of runs.filter((points) => points.length))
        parts.push(shape("path", { d: line(run), fill: "none", stroke: colour, "stroke-width": 2.4, "stroke-dasharray": DASHES[i % 4], "data-curve": i }));
      for (const [px, py] of runs.flat()) parts.push(shape("circle", { cx: px, cy: py, r: 2.8, fill: colour }));
    });
    scale = wide;
    picture.setAttribute("viewBox", `0 0 ${room} 250`);
    picture.setAttribute("width", room);
    picture.setAttribute("height", 250);
    picture.replaceChildren(...parts);
  }

  function update() {
    shows.forEach((show, d) => show(state.at[d]));
    const at = setting();
    curves.forEach(([, , all], i) => { values[i].textContent = shown(all[at][chosen]); });
    status.textContent = `Numbers are read at ${minus(xs[chosen])}, the dashed line. Point at the chart to read elsewhere.`;
    Object.assign(box.dataset, { at: state.at.join(" "), chosen });
    if (room) draw();
  }

  function set(change, tell = true) {
    state = { at: [...change.at] };
    update();
    if (tell) changed({ at: [...state.at] });
  }

  function point(event) {
    const across = within((event.clientX - picture.getBoundingClientRect().left - scale.x0) / (scale.x1 - scale.x0), 0, 1);
    const wanted = xs[0] + across * (xs[xs.length - 1] - xs[0]);
    const nearest = xs.reduce((best, value, i) => (Math.abs(value - wanted) < Math.abs(xs[best] - wanted) ? i : best), 0);
    if (nearest === chosen) return;
    chosen = nearest;
    update();
  }
  for (const name of ["pointerdown", "pointermove"]) picture.addEventListener(name, point);

  const watcher = followWidth(box, (wide) => { room = wide; update(); });
  return { set: (change) => set(change, false), remove: () => watcher.disconnect() };
}
