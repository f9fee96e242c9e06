// Small tools that the bandit, the episode player and the schedule editor share for their charts.

function shape(name, attributes, text) {  // an SVG element
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const bytesOf = (code) => Uint8Array.from(atob(code), (character) => character.charCodeAt(0));
const minus = (text) => String(text).replace("-", "−");
const within = (value, low, high) => Math.max(low, Math.min(high, value));
const svgPage = (label, style = "") => shape("svg", {
  role: "img", "aria-label": label, style: `display: block; max-width: 100%; user-select: none; font: 12px system-ui, sans-serif; ${style}`,
});

// About `count` numbers that read well, from low to high.
function ticksOf(low, high, count) {
  const unit = 10 ** Math.floor(Math.log10((high - low) / count || 1));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * unit).find((s) => (high - low) / s <= count * 1.001);
  const list = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) list.push(+(k * step).toPrecision(10));
  return list;
}

// Axes of one panel: title above, ticks, a grid. Returns shapes and the scales x(value), y(value).
function panel(place, { title, titleGap = 8, low, high, left, right, ticks, xTicks, xLabel = "" }) {
  const { x0, x1, top, bottom } = place;
  const x = (value) => x0 + ((value - left) / (right - left)) * (x1 - x0);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
  const ink = { fill: "var(--cv-soft)" };
  const parts = [shape("text", { x: place.titleAt ?? x0, y: top - titleGap, fill: "var(--cv-ink)", "font-weight": 600 }, title)];
  for (const value of ticksOf(low, high, ticks ?? 3)) {
    parts.push(shape("path", { d: `M${x0} ${y(value)}H${x1}`, stroke: "var(--cv-line)" }));
    parts.push(shape("text", { ...ink, x: x0 - 6, y: y(value) + 4, "text-anchor": "end" }, minus(value)));
  }
  for (const value of xTicks ?? ticksOf(left, right, Math.max(2, Math.round((x1 - x0) / 70)))) {
    parts.push(shape("path", { d: `M${x(value)} ${bottom}v4`, stroke: "var(--cv-soft)" }));
    parts.push(shape("text", { ...ink, x: x(value), y: bottom + 17, "text-anchor": "middle" }, minus(value)));
  }
  if (xLabel) parts.push(shape("text", { ...ink, x: (x0 + x1) / 2, y: bottom + 32, "text-anchor": "middle" }, xLabel));
  parts.push(shape("path", { d: `M${x0} ${top}V${bottom}H${x1}`, stroke: "var(--cv-soft)", fill: "none" }));
  return { parts, x, y };
}

const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function press(button, on) {
  button.setAttribute("aria-pressed", on);
  button.style.cssText = on ? "border-color: var(--cv-accent); box-shadow: inset 0 0 0 1px var(--cv-accent); font-weight: 600" : "";
}

// Text keeps its size on a narrow page: draw(width) is called anew for the room there is.
function followWidth(box, draw) {
  let width = 0;
  const fit = () => {
    const style = getComputedStyle(box);
    const room = Math.max(220, Math.floor(box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)));
    if (room !== width) draw(width = room);
  };
  const watcher = new ResizeObserver(fit);
  watcher.observe(box);
  fit();
  return watcher;
}

// Put a widget's box in the place of an earlier one.
function place(host, box) {
  host.querySelectorAll(":scope > .cv-box").forEach((old) => old.remove());
  host.append(box);
}
