// A widget in a notebook: page and Python object follow each other. MOUNT and TRAITS are set above.
export default {
  render({ model, el }) {
    el.classList.add("course-viz");
    const state = () => Object.fromEntries(TRAITS.map((name) => [name, model.get(name)]));
    const shown = MOUNT(el, { ...model.get("content"), state: state() }, (values) => {
      for (const name of TRAITS) model.set(name, values[name]);
      model.save_changes();
    });
    for (const name of TRAITS) model.on(`change:${name}`, () => shown.set(state()));
    return () => shown.remove();
  },
};
