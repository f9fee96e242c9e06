// Recorded episodes of an agent that looks for a good view, step by step; or the reader makes the moves. Views are made
// here from the originals (warp.js), so it works without a kernel.
//
// data: {alt, height, width, channels, pictures: [base64 of bytes, channel by channel], names: of the moves,
//        moves: [[9 numbers], …], fps, share: "true_iou" or "clipped_share", colours: {agent, own, frame, box},
//        scores: {what, symbol, low, high} or null, judge: judge.js or null,
//        episodes: [{title, actions, scores: [[per move], …], losses, rewards, shares, box: [4], label: class of the judge}],
//        state: {episode, step, mode: "watch" or "play", own: [moves]}}; what was not recorded is null.

function mountEpisode(host, data, changed = () => {}) {
  const { height, width, channels, names } = data;
  const steps = data.episodes[0].actions.length;
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  const judge = data.judge && decodeJudge(data.judge);
  const pixels = data.pictures.map(bytesOf);
  const paths = data.episodes.map(({ actions }) => matricesOf(data.moves, actions));
  const known = new Map();  // curves of the agent that had to be computed
  const number = (value) => minus(Math.abs(value) >= 99.5 ? Math.round(value) : value.toFixed(2));
  let state = { ...data.state, own: [...data.state.own] };
  let timer = null, room = 0;

  const chosen = () => data.episodes[state.episode];
  const playing = () => state.mode === "play";
  const path = () => (playing() ? matricesOf(data.moves, state.own) : paths[state.episode]);
  const last = () => (playing() ? state.own.length : steps);
  const look = (m) => sampleView(pixels[state.episode], channels, height, width, m);

  function screen(css, tall, label) {
    const canvas = make("canvas", { role: "img", "aria-label": label });
    canvas.width = css * ratio;
    canvas.height = tall * ratio;
    canvas.style.width = `${css}px`;
    return canvas;
  }
  const margin = Math.round(Math.max(height, width) / 4);  // a view may look beyond the edge
  const wide = width + 2 * margin, tall = height + 2 * margin;
  const side = (w, h, most) => [Math.round(Math.min(most, (most * w) / h)), Math.round(Math.min(most, (most * h) / w))];
  const original = screen(...side(wide, tall, 240), `${data.alt} Left: the original, with the frame of the view.`);
  const seen = screen(...side(width, height, 200), "Right: the view.");
  const title = make("figcaption"), caption = make("figcaption");
  const track = (canvas, text) => make("figure", { class: "cv-track", style: `flex: 0 1 ${canvas.style.width}; max-width: ${canvas.style.width}` }, text, canvas);

  const pick = data.episodes.map(({ title: text }, i) => {
    const button = make("button", { type: "button", text, "data-episode": i });
    button.addEventListener("click", () => { run(false); set({ episode: i, step: 0, own: [] }); });
    return button;
  });
  const modes = [["watch", "watch the agent"], ["play", "play yourself"]].map(([mode, text]) => {
    const button = make("button", { type: "button", text, "data-mode": mode });
    button.addEventListener("click", () => { run(false); set({ mode, step: 0, own: [] }); });
    return button;
  });

  const bars = names.map((name) => {
    const label = make("span", { style: "white-space: nowrap; overflow: hidden; text-overflow: ellipsis" });
    const zero = make("u", { style: "position: absolute; top: 0; bottom: 0; width: 1px; background: var(--cv-soft)" });
    const bar = make("i", { style: "position: absolute; height: 100%; border-radius: 2px" });
    const value = make("output");
    const row = make("div", { class: "cv-dial", style: "grid-template-columns: 6.2rem 1fr 3rem; margin: 0; line-height: 1.35", "data-move": name },
      label, make("div", { class: "cv-track-bar", style: "position: relative; border-radius: 2px", "aria-hidden": "true" }, bar, zero), value);
    return { row, label, bar, zero, value };
  });
  const heading = make("div", { class: "cv-head" });
  const scores = make("div", {}, ...bars.map(({ row }) => row));
  const keys = names.map((_, a) => (a < 9 ? String(a + 1) : a === 9 ? "0" : ""));
  const moves = names.map((name, a) => {
    const button = make("button", { type: "button", style: "text-align: left", "data-choose": a }, ...(keys[a] ? [make("kbd", { text: keys[a] }), ` ${name}`] : [name]));
    button.addEventListener("click", () => choose(a));
    return button;
  });
  const undo = make("button", { type: "button", text: "undo" }), restart = make("button", { type: "button", text: "start again" });
  undo.addEventListener("click", () => set({ own: state.own.slice(0, -1), step: Math.max(0, state.own.length - 1) }));
  restart.addEventListener("click", () => set({ own: [], step: 0 }));
  const board = make("div", { style: "display: grid; grid-template-columns: 1fr 1fr; gap: .25rem" }, ...moves, undo, restart);

  const play = make("button", { type: "button", class: "cv-play" });
  play.addEventListener("click", () => run(timer === null));
  const slider = make("input", { type: "range", class: "cv-slider", min: 0, step: 1, "aria-label": "step", "data-dial": "step" });
  slider.addEventListener("input", () => { run(false); set({ step: Number(slider.value) }); });
  const count = make("span", { class: "cv-count" });
  const said = make("p", { class: "cv-status" });
  const charts = make("div", { style: "display: flex; flex-wrap: wrap; gap: 0 1rem" });
  const legend = make("ul", { class: "cv-key" });
  const help = make("p", { class: "cv-help" });
  const box = make("div", { class: "cv-box", tabindex: 0, role: "group", "aria-label": `Episode player. ${data.alt}`, "data-lm-suppress-shortcuts": "true", style: "width: 46rem" },
    make("div", { class: "cv-bar", style: "margin: 0 0 .6rem; gap: .3rem 1.4rem" },
      make("div", { class: "cv-bar", style: "margin: 0; gap: .3rem" }, ...modes),
      ...(pick.length > 1 ? [make("div", { class: "cv-bar", style: "margin: 0; gap: .3rem", role: "group", "aria-label": "episode" }, ...pick)] : [])),
    make("div", { class: "cv-split", style: "gap: .8rem" }, track(original, title), track(seen, caption), make("div", { class: "cv-panel", style: "flex-basis: 14rem" }, heading, scores, board)),
    make("div", { class: "cv-bar" }, play, slider, count), said, charts, legend, help);
  place(host, box);

  function drawOriginal(list) {
    const context = original.getContext("2d"), zoom = original.width / wide;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#606060";
    context.fillRect(0, 0, original.width, original.height);
    paint(context, pixels[state.episode], channels, height, width, margin * zoom, margin * zoom, width * zoom, height * zoom);
    context.translate(margin * zoom, margin * zoom);
    const corners = (m) => frameCorners(m, height, width).map(([x, y]) => [x * zoom, y * zoom]);
    context.lineWidth = ratio;
    context.strokeStyle = data.colours.frame;
    context.globalAlpha = 0.3;
    for (const m of list.slice(0, state.step)) context.stroke(new Path2D(`${line(corners(m))}Z`));  // where it has been
    context.globalAlpha = 1;
    if (chosen().box) drawBox(context, chosen().box.map((value) => value * zoom));
    const now = corners(list[state.step]);
    strokeCased(context, new Path2D(`${line(now)}Z`), data.colours.frame, 1.3 * ratio);
    context.lineWidth = 4 * ratio;
    context.stroke(new Path2D(line(now.slice(0, 2))));  // which way is up
  }

  function drawBox(context, [x0, y0, x1, y1]) {
    context.setLineDash([4 * ratio, 3 * ratio]);
    context.strokeStyle = data.colours.box;
    context.lineWidth = 1.6 * ratio;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
  }

  function drawView(m) {
    const context = seen.getContext("2d"), zoom = seen.width / width;
    context.clearRect(0, 0, seen.width, seen.height);
    paint(context, look(m), channels, height, width, 0, 0, seen.width, seen.height);
    if (chosen().box) drawBox(context, transportBox(chosen().box, m, height, width).map((value) => value * zoom));
  }

  const shares = (list) => list.map((m) => shareOf(transportBox(chosen().box, m, height, width), height, width, data.share));
  const verdicts = (list) => list.map((m) => judgeView(judge, look(m), channels, height, width));
  const losses = (list) => verdicts(list).map((answer) => -answer[chosen().label]);
  function once(name, compute) {
    const key = `${name} ${state.episode}`;
    if (!known.has(key)) known.set(key, compute(paths[state.episode]));
    return known.get(key);
  }

  // Each: title, values of the agent, values of the reader (null where they cannot be known).
  function curves() {
    const { losses: recorded, rewards, shares: given, box: object } = chosen();
    const mine = playing() ? path() : null;
    const list = [];
    if (judge) list.push([`loss (${judge.name})`, once("loss", losses), mine && losses(mine)]);
    else if (recorded) list.push(["loss of the classifier", recorded, null]);
    if (object) list.push([`box and view: ${data.share === "true_iou" ? "IoU" : "share"}`, once("share", shares), mine && shares(mine)]);
    else if (given) list.push(["share of the view", given, null]);
    if (rewards) list.push(["reward so far", rewards.reduce((sums, reward) => [...sums, sums[sums.length - 1] + reward], [0]), null]);
    const comparable = list.filter(([, , own]) => own);
    return comparable.length ? comparable : list;
  }

  function drawChart([name, agent, own], total) {
    const across = Math.max(200, Math.floor((room - 16 * (total - 1)) / total));
    const picture = svgPage(`${name} over the steps`);
    picture.setAttribute("viewBox", `0 0 ${across} 138`);
    picture.setAttribute("width", across);
    picture.setAttribute("height", 138);
    const all = [...agent, ...(own || [])];
    let low = Math.min(0, ...all), high = Math.max(...all, low + 1e-6);
    const { parts, x, y } = panel({ x0: 38, x1: across - 8, top: 26, bottom: 98, titleAt: 4 },
      { title: name, low, high: high + 0.06 * (high - low), left: 0, right: steps, ticks: 3, xLabel: "step" });
    const at = Math.min(state.step, steps);
    parts.push(shape("path", { d: `M${x(at)} 26V98`, stroke: "var(--cv-ink)", "stroke-dasharray": "3 3" }));
    for (const [values, colour, dash] of [[agent, data.colours.agent, own ? "5 3" : "none"], [own, data.colours.own, "none"]]) {
      if (!values) continue;
      parts.push(shape("path", { d: line(values.map((value, t) => [x(t), y(value)])), fill: "none", stroke: colour, "stroke-width": 2.2, "stroke-dasharray": dash, "stroke-linejoin": "round" }));
      if (at < values.length) parts.push(shape("circle", { cx: x(at), cy: y(values[at]), r: 4, fill: colour, stroke: "var(--cv-paper)" }));
    }
    picture.append(...parts);
    return picture;
  }

  function drawScores() {
    const { actions, scores: all } = chosen();
    const over = state.step >= steps, now = all && !over ? all[state.step] : null;
    heading.textContent = playing() ? (state.step < steps ? `your move ${state.step + 1} of ${steps}` : "no move is left")
      : over ? "the episode is over" : all ? data.scores.what : "the move";
    scores.style.display = playing() ? "none" : "";
    board.style.display = playing() ? "grid" : "none";
    const { low, high } = data.scores || { low: 0, high: 1 };
    const along = (value) => (100 * (value - low)) / (high - low);
    bars.forEach(({ row, label, bar, zero, value }, a) => {
      const taken = !over && actions[state.step] === a, score = now ? now[a] : null;
      label.textContent = `${taken ? "▸ " : ""}${names[a]}`;
      row.style.fontWeight = taken ? "600" : "";
      row.style.opacity = over ? 0.4 : 1;
      zero.style.left = `${along(0)}%`;
      zero.style.display = low < 0 ? "" : "none";
      const from = Math.min(0, score || 0), to = Math.max(0, score || 0);
      bar.style.cssText += `; left: ${along(from)}%; width: ${along(to) - along(from)}%; background: ${taken ? data.colours.frame : data.colours.agent}`;
      value.textContent = score === null ? "" : number(score);
      row.toggleAttribute("data-taken", taken);
    });
    for (const button of moves) button.disabled = state.step >= steps;
    undo.disabled = restart.disabled = !state.own.length;
  }

  function sentence(list) {
    const { actions, scores: all } = chosen();
    if (playing()) {
      const told = curves().filter(([, , own]) => own).map(([name, agent, own]) => `${name}: you ${number(own[state.step])}, the agent ${number(agent[Math.min(state.step, steps)])}`);
      const start = state.own.length ? `After ${state.own.slice(0, state.step).map((a) => names[a]).join(", ") || "no move"}.` : `You have ${steps} moves, like the agent.`;
      return `${start} ${told.join("; ")}${told.length ? "." : ""}`;
    }
    if (state.step >= steps) return "The episode is over.";
    const action = actions[state.step], now = all && all[state.step];
    const first = now && now[action] >= Math.max(...now) - 1e-9;
    return `Next: ${names[action]}${now ? ` (${data.scores.symbol} = ${number(now[action])}${first ? "" : ", not the highest"})` : ""}.`;
  }

  function update() {
    state.step = within(state.step, 0, last());
    const list = path(), m = list[state.step];
    drawOriginal(list);
    drawView(m);
    drawScores();
    title.textContent = `original: ${chosen().title}`;
    caption.textContent = "what the network sees";
    if (judge) {
      const answer = judgeView(judge, look(m), channels, height, width);
      const best = answer.indexOf(Math.max(...answer));
      caption.textContent = `${judge.name}: ${judge.classes[best]} (${Math.round(100 * Math.exp(answer[best]))} %)`;
      box.dataset.loss = -answer[chosen().label];
    }
    if (chosen().box) box.dataset.share = shareOf(transportBox(chosen().box, m, height, width), height, width, data.share);
    slider.max = Math.max(1, last());
    slider.value = state.step;
    slider.disabled = !last();
    count.textContent = `step ${state.step} of ${last()}`;
    said.textContent = sentence(list);
    said.setAttribute("aria-live", playing() ? "polite" : "off");
    slider.setAttribute("aria-valuetext", `${count.textContent}. ${said.textContent}`);
    pick.forEach((button, i) => press(button, i === state.episode));
    for (const button of modes) press(button, button.dataset.mode === state.mode);
    const shown = curves(), total = Math.max(1, Math.min(shown.length, Math.floor((room + 16) / 216)));
    charts.replaceChildren(...(room ? shown.map((curve) => drawChart(curve, total)) : []));
    const key = (colour, text) => make("li", {}, make("i", { style: `background: ${colour}` }), text);
    legend.replaceChildren(key(data.colours.frame, "frame of the view, thick above"), ...(chosen().box ? [key(data.colours.box, "box of the object")] : []),
      ...(shown.length ? [key(data.colours.agent, "agent")] : []), ...(playing() && shown.some(([, , own]) => own) ? [key(data.colours.own, "you")] : []));
    help.innerHTML = `<kbd>space</kbd> play &nbsp;<kbd>←</kbd> <kbd>→</kbd> step${playing() ? ` &nbsp;<kbd>${keys[0]}</kbd> … move &nbsp;<kbd>backspace</kbd> undo` : ""}`;
    box.dataset.step = state.step;
    box.dataset.matrix = m.join(",");
  }

  function set(values, tell = true) {
    state = { ...state, ...values };
    update();
    if (tell) changed({ ...state, own: [...state.own] });
  }

  function choose(action) {  // from the step that is shown, so that a moment can be tried again
    run(false);
    if (state.step < steps) set({ own: [...state.own.slice(0, state.step), action], step: state.step + 1 });
  }

  function run(start) {
    clearInterval(timer);
    timer = null;
    if (start && last()) {
      if (state.step >= last()) set({ step: 0 });
      timer = setInterval(() => (state.step < last() ? set({ step: state.step + 1 }) : run(false)), 1000 / data.fps);
    }
    play.textContent = timer ? "❚❚" : "▶";
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
  }

  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = keys.indexOf(event.key);
    const actions = {
      ArrowLeft: () => set({ step: state.step - 1 }), ArrowRight: () => set({ step: state.step + 1 }),
      Home: () => set({ step: 0 }), End: () => set({ step: last() }),
      ...(event.target.tagName === "BUTTON" ? {} : { " ": () => run(timer === null) }),  // on a button, space presses it
      ...(playing() && state.own.length ? { Backspace: () => undo.click() } : {}),
      ...(playing() && move >= 0 ? { [event.key]: () => choose(move) } : {}),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key !== " ") run(false);
    actions[event.key]();
  });
  run(false);
  const watcher = followWidth(box, (wideNow) => { room = wideNow; update(); });
  return { set: (values) => { run(false); set(values, false); }, remove: () => { run(false); watcher.disconnect(); } };
}
