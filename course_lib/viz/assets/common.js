// Small tools that the player, the microscope and the dials share.

// A DOM element: make("button", {class: "x", text: "Play"}, child, child).
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Label map from its run-length code: a value byte, then the run's length in groups of 7 bits, low group first.
function decodeLabels(code, size) {
  const bytes = Uint8Array.from(atob(code), (character) => character.charCodeAt(0));
  const labels = new Uint8Array(size);
  let at = 0;
  for (let i = 0; i < bytes.length; ) {
    const value = bytes[i++];
    let length = 0, shift = 0, group;
    do {
      group = bytes[i++];
      length |= (group & 127) << shift;
      shift += 7;
    } while (group & 128);
    labels.fill(value, at, at + length);
    at += length;
  }
  return labels;
}

// Pixel edges between members and the rest, as one path in canvas units of `scale` per pixel.
function outline(member, width, height, scale) {
  const path = new Path2D();
  for (let y = 0; y <= height; y++) {  // horizontal edges; equal neighbours join into one stroke
    for (let x = 0, start = -1; x <= width; x++) {
      const above = y > 0 && x < width && member(y * width - width + x);
      const below = y < height && x < width && member(y * width + x);
      const edge = x < width && y > 0 && y < height && above !== below;
      if (edge && start < 0) start = x;
      if (!edge && start >= 0) {
        path.moveTo(start * scale, y * scale);
        path.lineTo(x * scale, y * scale);
        start = -1;
      }
    }
  }
  for (let x = 1; x < width; x++) {
    for (let y = 0, start = -1; y <= height; y++) {
      const edge = y < height && member(y * width + x - 1) !== member(y * width + x);
      if (edge && start < 0) start = y;
      if (!edge && start >= 0) {
        path.moveTo(x * scale, start * scale);
        path.lineTo(x * scale, y * scale);
        start = -1;
      }
    }
  }
  return path;
}

// A dark casing under a light line shows on any background.
function strokeCased(context, path, colour, thickness) {
  context.lineCap = "square";
  context.strokeStyle = "rgba(0, 0, 0, 0.8)";
  context.lineWidth = 2.6 * thickness;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = 1.3 * thickness;
  context.stroke(path);
}

function lighten([red, green, blue]) {
  const mix = (value) => Math.round(0.35 * value + 0.65 * 255);
  return `rgb(${mix(red)}, ${mix(green)}, ${mix(blue)})`;
}
