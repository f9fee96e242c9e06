// The microscope in a notebook: its dials and the Python object follow each other.
export default {
  render({ model, el }) {
    el.classList.add("course-viz");
    const names = ["dx", "dy", "grow", "hole", "tolerance"];
    const state = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
    const microscope = mountMicroscope(el, { ...model.get("content"), state: state() }, (values) => {
      for (const name of names) model.set(name, values[name]);
      model.save_changes();
    });
    for (const name of names) model.on(`change:${name}`, () => microscope.set(state()));
  },
};
