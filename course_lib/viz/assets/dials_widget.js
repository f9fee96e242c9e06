// Dials that order a new clip from the kernel and show it in the player. One order is under way at a time; while it is,
// only the newest setting is kept, so a dial can be swept without a queue.
export default {
  render({ model, el }) {
    el.classList.add("course-viz");
    const content = model.get("content");
    let values = { ...model.get("values") };
    let waiting = false, again = false, player = null, timer = null;

    const stage = make("div");
    const result = make("div", { class: "cv-result", role: "status" });
    const status = make("p", { class: "cv-status", role: "status" });
    const inputs = {};
    const rows = content.dials.map((dial) => {
      const input = dial.options
        ? make("select", { "aria-label": dial.label, "data-dial": dial.name }, ...dial.options.map((o) => make("option", { value: o, text: o.replace("_", " ") })))
        : make("input", { type: "range", min: dial.min, max: dial.max, step: dial.step, "aria-label": dial.label, "data-dial": dial.name });
      const output = make("output");
      inputs[dial.name] = { dial, input, output };
      input.addEventListener("input", () => turn(dial, dial.options ? input.value : Number(input.value)));
      return make("label", { class: "cv-dial", title: dial.help }, make("span", { text: dial.label }), input, ...(dial.options ? [] : [output]));
    });
    const panel = make("div", { class: "cv-panel", "data-lm-suppress-shortcuts": "true" }, ...rows, result, status);
    el.append(make("div", { class: "cv-split" }, panel, stage));

    function turn(dial, value) {
      values = { ...values, [dial.name]: value };
      if (dial.name === "n_objects") values.lookalikes = Math.min(values.lookalikes, value - 1);
      if (dial.name === "corruption") values.severity = value === "none" ? 0 : values.severity || 3;
      if (dial.name === "severity") {
        if (value === 0) values.corruption = "none";
        else if (values.corruption === "none") values.corruption = "gaussian_noise";
      }
      refresh();
      clearTimeout(timer);
      timer = setTimeout(order, 120);
    }

    function refresh() {
      inputs.lookalikes.input.max = Math.max(0, values.n_objects - 1);
      for (const { dial, input, output } of Object.values(inputs)) {
        input.value = values[dial.name];
        output.textContent = values[dial.name];
      }
    }

    function order() {
      if (waiting) { again = true; return; }
      waiting = true;
      again = false;
      el.dataset.busy = "";
      status.textContent = "rendering …";
      status.dataset.kind = "";
      model.set("values", { ...values, order: (model.get("values").order || 0) + 1 });
      model.save_changes();
    }

    function receive() {
      const reply = model.get("reply");
      waiting = false;
      delete el.dataset.busy;
      result.textContent = reply.result;
      status.textContent = reply.error || "";
      status.dataset.kind = reply.error ? "error" : "";
      if (reply.clip) {
        const at = player ? player.position() : 0;
        if (player) player.remove();
        player = mountPlayer(stage, reply.clip);
        player.show(at);
      }
      el.dataset.replies = reply.number;
      if (again) order();
    }

    model.on("change:reply", receive);
    refresh();
    receive();
    return () => { clearTimeout(timer); if (player) player.remove(); };
  },
};
