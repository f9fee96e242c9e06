// The affinity explorer in a notebook: page and Python object follow each other.
export default {
  render({ model, el }) {
    el.classList.add("course-viz");
    const names = ["cell", "top_k", "metric"];
    const state = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
    const explorer = mountAffinity(el, { ...model.get("content"), state: state() }, (values) => {
      for (const name of names) model.set(name, values[name]);
      model.save_changes();
    });
    for (const name of names) model.on(`change:${name}`, () => explorer.set(state()));
  },
};
