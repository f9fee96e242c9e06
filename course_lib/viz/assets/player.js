// Pictures of a clip side by side in step, with a slider, a play button and the keyboard. Draws masks itself, so that
// outlines stay sharp at any size and tracks over the same frames share them.
//
// data: {alt, fps, width, height, scale, frames: [index in the clip], total, images: [[data URI, …], …], palette: {id: [r, g, b]},
//        tracks: [{name, images: row of `images`, labels: [code, …] or null}], captions: [text, …]}
function mountPlayer(host, data) {
  const count = data.frames.length;
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  const zoom = data.scale * ratio;
  const masks = data.tracks.some((track) => track.labels);
  let at = 0, timer = null, style = 0, live = true;
  const styles = ["tint", "outline", "hidden"];

  const pictures = data.images.map((row) => row.map((uri) => Object.assign(new Image(), { src: uri })));
  const tint = make("canvas");
  tint.width = data.width;
  tint.height = data.height;

  const canvases = data.tracks.map((track) => {
    const canvas = make("canvas", { role: "img", "aria-label": `${track.name}: ${data.alt}` });
    canvas.width = data.width * zoom;
    canvas.height = data.height * zoom;
    canvas.style.width = `${data.width * data.scale}px`;
    return canvas;
  });
  const tracks = make("div", { class: "cv-tracks" }, ...data.tracks.map((track, i) =>
    make("figure", { class: "cv-track", style: `max-width: ${data.width * data.scale}px` }, ...(track.name ? [make("figcaption", { text: track.name })] : []), canvases[i])));

  const play = make("button", { type: "button", class: "cv-play" });
  const slider = make("input", { type: "range", class: "cv-slider", min: 0, max: count - 1, step: 1, value: 0, "aria-label": "Frame" });
  const counter = make("span", { class: "cv-count" });
  const caption = make("div", { class: "cv-caption" });
  const toggle = make("button", { type: "button", class: "cv-masks" });
  const bar = make("div", { class: "cv-bar" }, play, slider, counter, ...(masks ? [toggle] : []));
  const help = make("p", { class: "cv-help" });
  help.innerHTML = "<kbd>space</kbd> play &nbsp;<kbd>←</kbd> <kbd>→</kbd> step &nbsp;<kbd>home</kbd> <kbd>end</kbd>"
    + (masks ? " &nbsp;<kbd>m</kbd> masks" : "");
  const box = make("div", {
    class: "cv-box", tabindex: 0, role: "group", "aria-label": `Player. ${data.alt}`, "data-lm-suppress-shortcuts": "true",
  }, tracks, ...(count > 1 ? [bar] : []), caption, ...(count > 1 ? [help] : []));
  host.querySelectorAll(":scope > .cv-box").forEach((old) => old.remove());
  host.append(box);

  function draw() {
    data.tracks.forEach((track, i) => {
      const context = canvases[i].getContext("2d");
      const picture = pictures[track.images][at];
      if (!picture.complete || !picture.naturalWidth) {
        picture.addEventListener("load", draw, { once: true });
        return;
      }
      context.imageSmoothingEnabled = data.scale < 2;
      context.drawImage(picture, 0, 0, canvases[i].width, canvases[i].height);
      if (track.labels && styles[style] !== "hidden") drawLabels(context, track.labels[at]);
    });
  }

  function drawLabels(context, code) {
    const labels = decodeLabels(code, data.width * data.height);
    const pixels = new ImageData(data.width, data.height);
    const ids = new Set(labels);
    labels.forEach((id, i) => {
      if (id === 0) return;
      const [red, green, blue] = data.palette[id];
      const hatch = id === 255 && (i + Math.floor(i / data.width)) % 4 < 2;
      pixels.data.set([red, green, blue, id === 255 ? (hatch ? 215 : 130) : 118], 4 * i);
    });
    if (styles[style] === "tint") {
      tint.getContext("2d").putImageData(pixels, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(tint, 0, 0, context.canvas.width, context.canvas.height);
    }
    for (const id of ids) {
      if (id === 0 || id === 255) continue;
      strokeCased(context, outline((i) => labels[i] === id, data.width, data.height, zoom), lighten(data.palette[id]), ratio);
    }
  }

  function show(frame) {
    at = Math.min(count - 1, Math.max(0, frame));
    slider.value = at;
    counter.textContent = `frame ${data.frames[at]} of ${data.total - 1}`;
    caption.textContent = data.captions ? data.captions[at] : "";
    slider.setAttribute("aria-valuetext", `${counter.textContent}. ${caption.textContent}`);
    box.dataset.frame = data.frames[at];
    draw();
  }

  function run(start) {
    clearInterval(timer);
    timer = start ? setInterval(() => {
      if (!live) return clearInterval(timer);
      show((at + 1) % count);
    }, 1000 / data.fps) : null;
    play.textContent = start ? "❚❚" : "▶";
    play.setAttribute("aria-label", start ? "Pause" : "Play");
    play.title = start ? "Pause (space)" : "Play (space)";
  }

  function look(next) {
    style = next % styles.length;
    toggle.textContent = `masks: ${styles[style]}`;
    draw();
  }

  play.addEventListener("click", () => run(timer === null));
  toggle.addEventListener("click", () => look(style + 1));
  slider.addEventListener("input", () => { run(false); show(Number(slider.value)); });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const button = event.target.tagName === "BUTTON";
    const actions = {
      ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1), Home: () => show(0), End: () => show(count - 1),
      ...(button ? {} : { " ": () => run(timer === null) }),  // on a button, space presses the button
      ...(masks ? { m: () => look(style + 1) } : {}),
    };
    const action = count > 1 && actions[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key !== " " && event.key !== "m") run(false);
    action();
  });
  run(false);
  look(0);
  show(0);
  return { show, run, remove: () => { live = false; run(false); box.remove(); }, position: () => at };
}
